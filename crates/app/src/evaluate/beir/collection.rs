//! A collection as it lies on disk: documents, queries, and judgements of a split.

use std::fs;
use std::path::Path;

use eval::ranking::Qrels;
use serde::Deserialize;

use crate::error::{Error, IoContext, Problem, Result};

/// Documents and queries of a collection.
pub(super) struct BeirCollection {
    pub(super) corpus: Vec<CorpusRow>,
    queries: Vec<QueryRow>,
}

/// One line of `corpus.jsonl`.
#[derive(Deserialize)]
pub(super) struct CorpusRow {
    #[serde(rename = "_id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) title: String,
    pub(super) text: String,
}

impl CorpusRow {
    /// What is indexed and embedded.
    fn passage(&self) -> String {
        format!("{} {}", self.title, self.text).trim().to_owned()
    }
}

/// One line of `queries.jsonl`.
#[derive(Deserialize)]
struct QueryRow {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

impl BeirCollection {
    /// Reads documents and queries.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        Ok(Self {
            corpus: rows(&folder.join("corpus.jsonl"))?,
            queries: rows(&folder.join("queries.jsonl"))?,
        })
    }

    /// Id and text, as embedded, of the documents that hold any.
    pub(super) fn passages(&self) -> impl Iterator<Item = (&str, String)> {
        let all = self.corpus.iter().map(|row| (row.id.as_str(), row.passage()));
        all.filter(|(_, text)| !text.is_empty())
    }

    /// Id and text of the queries with judgements.
    pub(super) fn judged<'a>(
        &'a self,
        qrels: &'a Qrels,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let judged = self.queries.iter().filter(|query| qrels.0.contains_key(&query.id));
        judged.map(|query| (query.id.as_str(), query.text.as_str()))
    }
}

/// The judgements of a split: `qrels/SPLIT.tsv`.
pub(super) fn read_qrels(folder: &Path, split: &str) -> Result<Qrels> {
    let path = folder.join("qrels").join(format!("{split}.tsv"));
    let judgements = fs::read_to_string(&path).context("read", &path)?;
    Qrels::parse(&judgements).map_err(|error| malformed(&path, None, error.to_string()))
}

fn rows<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read_to_string(path).context("read", path)?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line)
                .map_err(|error| malformed(path, Some(index + 1), error.to_string()))
        })
        .collect()
}

fn malformed(path: &Path, line: Option<usize>, message: String) -> Error {
    Error::Problems(vec![Problem { file: path.to_owned(), line, field: None, message }])
}
