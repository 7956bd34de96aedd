//! Retrieval measured on a collection in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eval::ranking::{Qrels, Run, mrr_at, ndcg_at, recall_at};
use serde::{Deserialize, Serialize};
use store::{Embedder, NewChunk, NewDocument, SearchOptions, Store};

use lm::Encoder;

use crate::error::{Error, IoContext, Problem, Result};
use crate::models::hash_bytes;

/// Documents embedded at a time.
const BATCH: usize = 128;
/// Depth of the rankings.
const DEPTH: usize = 100;

/// Documents and queries of a collection.
pub(crate) struct Collection {
    corpus: Vec<CorpusRow>,
    queries: Vec<QueryRow>,
}

/// One line of `corpus.jsonl`.
#[derive(Deserialize)]
struct CorpusRow {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
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

/// What [`measure`] found.
#[derive(Clone, Debug, Serialize)]
pub struct RetrievalReport {
    /// Documents in the collection.
    pub documents: usize,
    /// Queries with judgements.
    pub queries: usize,
    /// One entry for each way of ranking.
    pub runs: Vec<RunReport>,
    /// Seconds to embed and index what was not there yet.
    pub index_seconds: f64,
    /// Mean seconds for a query: embedding, then searching, by the fused ranking.
    pub seconds_per_query: f64,
}

/// Measures of one ranking.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// `bm25`, `vectors` or `fusion`.
    pub name: String,
    /// Share of BM25 in the fused score.
    pub lexical_weight: f32,
    /// nDCG@10
    pub ndcg_at_10: f64,
    /// recall@10
    pub recall_at_10: f64,
    /// recall@100
    pub recall_at_100: f64,
    /// MRR@10
    pub mrr_at_10: f64,
}

/// How a collection is measured.
#[derive(Clone, Debug)]
pub struct BeirOptions<'a> {
    /// The collection's folder.
    pub folder: &'a Path,
    /// The split whose judgements hold.
    pub split: &'a str,
    /// Where the index is kept, so that a second run embeds nothing.
    pub store: &'a Path,
    /// The fused rankings to measure, by their share of BM25.
    pub lexical_weights: &'a [f32],
}

/// Indexes a collection (each of its documents as one chunk, cut where the encoder's window ends) and measures BM25, vectors and
/// their fusion. `on_progress` gets (documents done, documents).
///
/// # Errors
/// Files that are missing or malformed, with their line; the store's and the encoder's own.
pub fn measure(
    options: &BeirOptions,
    encoder: &Encoder,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<RetrievalReport> {
    let collection = Collection::read(options.folder)?;
    let qrels = read_qrels(options.folder, options.split)?;
    Ok(collection.rank(options, &qrels, encoder, stop, on_progress)?.report(&qrels))
}

/// The judgements of a split.
pub(crate) fn read_qrels(folder: &Path, split: &str) -> Result<Qrels> {
    let path = folder.join("qrels").join(format!("{split}.tsv"));
    let judgements = fs::read_to_string(&path).context("read", &path)?;
    Qrels::parse(&judgements).map_err(|error| malformed(&path, None, error.to_string()))
}

/// Rankings of the judged queries.
pub(crate) struct Ranked {
    /// The index they come from.
    pub(crate) store: Store,
    pub(crate) ways: Vec<Way>,
    documents: usize,
    queries: usize,
    index_seconds: f64,
    seconds_per_query: f64,
}

/// One way of ranking.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Share of BM25.
    pub(crate) lexical_weight: f32,
    pub(crate) run: Run,
}

impl Collection {
    /// Reads documents and queries.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        Ok(Self {
            corpus: rows(&folder.join("corpus.jsonl"))?,
            queries: rows(&folder.join("queries.jsonl"))?,
        })
    }

    /// Id and text, as embedded, of the documents that hold any.
    pub(crate) fn passages(&self) -> impl Iterator<Item = (&str, String)> {
        let all = self.corpus.iter().map(|row| (row.id.as_str(), row.passage()));
        all.filter(|(_, text)| !text.is_empty())
    }

    /// Id and text of the queries with judgements.
    pub(crate) fn judged<'a>(&'a self, qrels: &'a Qrels) -> impl Iterator<Item = (&'a str, &'a str)> {
        let judged = self.queries.iter().filter(|query| qrels.0.contains_key(&query.id));
        judged.map(|query| (query.id.as_str(), query.text.as_str()))
    }

    /// Indexes what is not there yet and ranks for the queries of `qrels`.
    pub(crate) fn rank(
        &self,
        options: &BeirOptions,
        qrels: &Qrels,
        encoder: &Encoder,
        stop: &AtomicBool,
        on_progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Ranked> {
        let mut store = Store::open(options.store)?;
        store
            .use_embedder(&Embedder { identity: encoder.identity().to_owned(), dimension: encoder.dim() })?;
        let start = Instant::now();
        index(&mut store, encoder, &self.corpus, stop, on_progress)?;
        let index_seconds = start.elapsed().as_secs_f64();

        let judged: Vec<(&str, &str)> = self.judged(qrels).collect();
        let start = Instant::now();
        let mut vectors = Vec::with_capacity(judged.len());
        for batch in judged.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
            vectors.extend(encoder.embed(&texts)?);
        }
        let mut seconds = start.elapsed().as_secs_f64();
        let mut ways = vec![("bm25", 1.0), ("vectors", 0.0)];
        ways.extend(options.lexical_weights.iter().map(|weight| ("fusion", *weight)));
        let mut ranked = Vec::new();
        for (name, lexical_weight) in ways {
            let search = SearchOptions { k: DEPTH, candidates: DEPTH, lexical_weight };
            let start = Instant::now();
            let mut run = Run::default();
            for ((id, text), vector) in judged.iter().zip(&vectors) {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let hits = store.search(text, vector, &search)?;
                let list = hits.into_iter().map(|hit| (hit.path, f64::from(hit.score))).collect();
                run.0.insert((*id).to_owned(), list);
            }
            if name == "fusion" {
                seconds += start.elapsed().as_secs_f64() / options.lexical_weights.len() as f64;
            }
            ranked.push(Way { name, lexical_weight, run });
        }
        Ok(Ranked {
            store,
            ways: ranked,
            documents: self.corpus.len(),
            queries: judged.len(),
            index_seconds,
            seconds_per_query: seconds / judged.len().max(1) as f64,
        })
    }
}

impl Ranked {
    /// The measures.
    pub(crate) fn report(&self, qrels: &Qrels) -> RetrievalReport {
        let measured = |way: &Way| RunReport {
            name: way.name.to_owned(),
            lexical_weight: way.lexical_weight,
            ndcg_at_10: ndcg_at(10, qrels, &way.run),
            recall_at_10: recall_at(10, qrels, &way.run),
            recall_at_100: recall_at(100, qrels, &way.run),
            mrr_at_10: mrr_at(10, qrels, &way.run),
        };
        RetrievalReport {
            documents: self.documents,
            queries: self.queries,
            runs: self.ways.iter().map(measured).collect(),
            index_seconds: self.index_seconds,
            seconds_per_query: self.seconds_per_query,
        }
    }
}

/// Stores the documents that are not there yet.
fn index(
    store: &mut Store,
    encoder: &Encoder,
    corpus: &[CorpusRow],
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let known: std::collections::HashMap<String, String> =
        store.documents()?.into_iter().map(|row| (row.path, row.sha256)).collect();
    // A collection may hold documents without any text: there is nothing to find in them.
    let fresh: Vec<(String, String, &CorpusRow)> = corpus
        .iter()
        .map(|row| (row.passage(), row))
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, row)| (hash_bytes(text.as_bytes()), text, row))
        .filter(|(hash, _, row)| known.get(&row.id) != Some(hash))
        .collect();
    let mut done = corpus.len() - fresh.len();
    for batch in fresh.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let texts: Vec<&str> = batch.iter().map(|(_, text, _)| text.as_str()).collect();
        let vectors = encoder.embed(&texts)?;
        let documents = batch.iter().zip(vectors).map(|((hash, text, row), vector)| NewDocument {
            path: row.id.clone(),
            sha256: hash.clone(),
            format: "jsonl".to_owned(),
            title: None,
            text: text.clone(),
            receipt_json: "{}".to_owned(),
            chunks: vec![NewChunk { span: 0..text.len(), vector: Some(vector), ..NewChunk::default() }],
        });
        store.put_documents(documents)?;
        done += batch.len();
        on_progress(done, corpus.len());
    }
    Ok(store.commit_index()?)
}

fn rows<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read_to_string(path).context("read", path)?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| malformed(path, Some(index + 1), error.to_string()))
        })
        .collect()
}

fn malformed(path: &Path, line: Option<usize>, message: String) -> Error {
    Error::Problems(vec![Problem { file: path.to_owned(), line, field: None, message }])
}
