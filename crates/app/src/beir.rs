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

/// One line of `corpus.jsonl`.
#[derive(Deserialize)]
struct CorpusRow {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
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
    let corpus: Vec<CorpusRow> = rows(&options.folder.join("corpus.jsonl"))?;
    let queries: Vec<QueryRow> = rows(&options.folder.join("queries.jsonl"))?;
    let path = options.folder.join("qrels").join(format!("{}.tsv", options.split));
    let judgements = fs::read_to_string(&path).context("read", &path)?;
    let qrels = Qrels::parse(&judgements).map_err(|error| malformed(&path, None, error.to_string()))?;
    let mut store = Store::open(options.store)?;
    store.use_embedder(&Embedder { identity: encoder.identity().to_owned(), dimension: encoder.dim() })?;
    let start = Instant::now();
    index(&mut store, encoder, &corpus, stop, on_progress)?;
    let index_seconds = start.elapsed().as_secs_f64();

    let judged: Vec<&QueryRow> = queries.iter().filter(|query| qrels.0.contains_key(&query.id)).collect();
    let start = Instant::now();
    let mut vectors = Vec::with_capacity(judged.len());
    for batch in judged.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|query| query.text.as_str()).collect();
        vectors.extend(encoder.embed(&texts)?);
    }
    let mut seconds = start.elapsed().as_secs_f64();
    let mut ways = vec![("bm25", 1.0), ("vectors", 0.0)];
    ways.extend(options.lexical_weights.iter().map(|weight| ("fusion", *weight)));
    let mut runs = Vec::new();
    for (name, lexical_weight) in ways {
        let search = SearchOptions { k: DEPTH, candidates: DEPTH, lexical_weight };
        let start = Instant::now();
        let mut run = Run::default();
        for (query, vector) in judged.iter().zip(&vectors) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let hits = store.search(&query.text, vector, &search)?;
            let ranked = hits.into_iter().map(|hit| (hit.path, f64::from(hit.score))).collect();
            run.0.insert(query.id.clone(), ranked);
        }
        if name == "fusion" {
            seconds += start.elapsed().as_secs_f64() / options.lexical_weights.len() as f64;
        }
        runs.push(RunReport {
            name: name.to_owned(),
            lexical_weight,
            ndcg_at_10: ndcg_at(10, &qrels, &run),
            recall_at_10: recall_at(10, &qrels, &run),
            recall_at_100: recall_at(100, &qrels, &run),
            mrr_at_10: mrr_at(10, &qrels, &run),
        });
    }
    Ok(RetrievalReport {
        documents: corpus.len(),
        queries: judged.len(),
        runs,
        index_seconds,
        seconds_per_query: seconds / judged.len().max(1) as f64,
    })
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
        .map(|row| (format!("{} {}", row.title, row.text).trim().to_owned(), row))
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
