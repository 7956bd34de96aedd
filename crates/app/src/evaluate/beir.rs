//! Retrieval measured on a collection in BEIR layout: `corpus.jsonl`, `queries.jsonl`,
//! `qrels/SPLIT.tsv`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eval::ranking::{Qrels, Run, mrr_at, ndcg_at, recall_at};
use serde::{Deserialize, Serialize};
use store::{Embedder, Hit, SearchOptions, Store};

use lm::Encoder;

use crate::error::{Error, IoContext, Problem, Result};
use crate::models::hash_bytes;
use crate::project::config::Chunks;
use crate::search::chunks::{Pending, prepare};
use crate::search::rerank::{RERANKED, Rerank, RerankEffect, rerank_effects};

/// Documents embedded at a time.
const BATCH: usize = 128;
/// Depth of the rankings, in documents.
const DEPTH: usize = 100;
/// Chunks looked at for them.
const CHUNKS: usize = 3 * DEPTH;

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
    /// Chunks they were cut into.
    pub chunks: usize,
    /// Queries with judgements.
    pub queries: usize,
    /// One entry for each way of ranking.
    pub runs: Vec<RunReport>,
    /// What the reranker changed at each share of words, where there is one: nDCG@10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reranker: Vec<RerankEffect>,
    /// Seconds to embed and index what was not there yet.
    pub index_seconds: f64,
    /// Mean seconds for a query: embedding, then searching, by the fused ranking.
    pub seconds_per_query: f64,
}

/// Measures of one ranking.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// `bm25`, `vectors`, `fusion`, or `reranked`: the fusion with its first chunks put in order by
    /// the reranker.
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
    /// How documents are cut.
    pub chunks: Chunks,
    /// The fused rankings to measure, by their share of BM25.
    pub lexical_weights: &'a [f32],
    /// Measured beside none, at each of these shares.
    pub reranker: Option<&'a Rerank>,
    /// A folder to write each ranking into, in the form of TREC, where one is wanted.
    pub runs: Option<&'a Path>,
}

/// Indexes a collection as [`ingest`](crate::ingest::ingest) would and measures BM25, vectors and
/// their fusion; a document ranks as its best chunk does. `on_progress` gets (documents done,
/// documents).
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
    let ranked = collection.rank(options, &qrels, encoder, stop, on_progress)?;
    if let Some(folder) = options.runs {
        ranked.write(folder)?;
    }
    let mut report = ranked.report(&qrels);
    if let Some(reranker) = options.reranker {
        let runs = report.runs.iter();
        let measured: Vec<(&str, f32, f64)> =
            runs.map(|run| (run.name.as_str(), run.lexical_weight, run.ndcg_at_10)).collect();
        report.reranker = rerank_effects(&reranker.name, "nDCG@10", &measured);
    }
    Ok(report)
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
    chunks: usize,
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
    pub(crate) fn judged<'a>(
        &'a self,
        qrels: &'a Qrels,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
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
        store.use_embedder(&Embedder {
            identity: encoder.identity().to_owned(),
            dimension: encoder.dim(),
        })?;
        let start = Instant::now();
        index(&mut store, encoder, &self.corpus, &options.chunks, stop, on_progress)?;
        let chunks = store.documents()?.iter().map(|row| row.chunks).sum();
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
        if options.reranker.is_some() {
            ways.extend(options.lexical_weights.iter().map(|weight| (RERANKED, *weight)));
        }
        let mut ranked = Vec::new();
        for (name, lexical_weight) in ways {
            let search = SearchOptions {
                k: CHUNKS,
                candidates: CHUNKS,
                lexical_weight,
                ..SearchOptions::default()
            };
            let start = Instant::now();
            let reranker = options.reranker.filter(|_| name == RERANKED);
            let (store, queries) = (&mut store, judged.iter().zip(&vectors));
            // From outside, each search would be handed to these threads and waited for.
            let run = lm::on_computing_thread(move || {
                rank_by_search(store, queries, &search, reranker, stop)
            })?;
            if name == "fusion" {
                seconds += start.elapsed().as_secs_f64() / options.lexical_weights.len() as f64;
            }
            ranked.push(Way { name, lexical_weight, run });
        }
        Ok(Ranked {
            store,
            ways: ranked,
            documents: self.corpus.len(),
            chunks,
            queries: judged.len(),
            index_seconds,
            seconds_per_query: seconds / judged.len().max(1) as f64,
        })
    }
}

/// Searches for each query, given its id, text and vector, and ranks the documents found.
fn rank_by_search<'a>(
    store: &mut Store,
    queries: impl Iterator<Item = (&'a (&'a str, &'a str), &'a Vec<f32>)>,
    search: &SearchOptions,
    reranker: Option<&Rerank>,
    stop: &AtomicBool,
) -> Result<Run> {
    let mut run = Run::default();
    for ((id, text), vector) in queries {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let mut hits = store.search(text, vector, search)?;
        if let Some(reranker) = reranker {
            reranker.order(text, &mut hits)?;
        }
        let mut seen = HashSet::new();
        let best = hits.into_iter().filter(|hit| seen.insert(hit.document)).take(DEPTH).enumerate();
        // Scores of a reranker and of the fusion do not compare; places do.
        let score = |place: usize, hit: &Hit| match reranker {
            Some(_) => -(place as f64),
            None => f64::from(hit.score),
        };
        let scored = best.map(|(place, hit)| {
            let score = score(place, &hit);
            (hit.path, score)
        });
        run.0.insert((*id).to_owned(), scored.collect());
    }
    Ok(run)
}

impl Ranked {
    /// Writes a file for each ranking, `NAME-WEIGHT.run`, as `trec_eval` reads it.
    fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).context("make", folder)?;
        for Way { name, lexical_weight, run } in &self.ways {
            let path = folder.join(format!("{name}-{lexical_weight}.run"));
            fs::write(&path, run.to_trec(name)).context("write", &path)?;
        }
        Ok(())
    }

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
            chunks: self.chunks,
            queries: self.queries,
            runs: self.ways.iter().map(measured).collect(),
            reranker: Vec::new(),
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
    limits: &Chunks,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let known: HashMap<String, String> =
        store.documents()?.into_iter().map(|row| (row.path, row.sha256)).collect();
    let mut done = 0;
    for batch in corpus.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let fresh = batch.iter().filter_map(|row| {
            let hash = hash_bytes(format!("{limits:?}\n{}\n{}", row.title, row.text).as_bytes());
            (known.get(&row.id) != Some(&hash)).then(|| cut(row, hash, limits)).flatten()
        });
        let mut fresh: Vec<Pending> = fresh.collect();
        let texts: Vec<&str> =
            fresh.iter().flat_map(|pending| &pending.texts).map(String::as_str).collect();
        let mut vectors = encoder.embed(&texts)?.into_iter();
        for chunk in fresh.iter_mut().flat_map(|pending| &mut pending.document.chunks) {
            chunk.vector = vectors.next();
        }
        if !fresh.is_empty() {
            store.put_documents(fresh.into_iter().map(|pending| pending.document))?;
            on_progress(done + batch.len(), corpus.len());
        }
        done += batch.len();
    }
    Ok(store.commit_index()?)
}

/// A row's document in chunks; `None` for one without any text, in which there is nothing to find.
fn cut(row: &CorpusRow, hash: String, limits: &Chunks) -> Option<Pending> {
    let (title, text) = (row.title.trim(), row.text.trim());
    let whole = if text.is_empty() { title } else { text };
    let mut document = text::read(Path::new("row.txt"), whole.as_bytes()).ok()?;
    document.title = (!title.is_empty()).then(|| title.to_owned());
    Some(prepare(limits, row.id.clone(), hash, document))
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
