//! Rankings of the documents of a collection, for the queries that have judgements.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eval::ranking::{Qrels, Run};
use lm::Encoder;
use store::{Embedder, Hit, SearchOptions, Store};

use super::collection::BeirCollection;
use super::index::{Indexed, index};
use super::options::BeirOptions;
use crate::error::{Error, Result};
use crate::evaluate::methods::{FUSION, ranking_methods};
use crate::progress::Progress;
use crate::search::rerank::{RERANKED, Rerank};

/// Queries embedded at a time.
const BATCH: usize = 128;
/// Depth of the rankings, in documents.
const DEPTH: usize = 100;
/// Chunks looked at for them.
const CHUNKS: usize = 3 * DEPTH;

/// Rankings of the judged queries.
pub(super) struct BeirRankings {
    /// The index they come from.
    pub(super) store: Store,
    pub(super) runs: Vec<RankedRun>,
    pub(super) documents: usize,
    pub(super) chunks: usize,
    pub(super) queries: usize,
    pub(super) index_seconds: f64,
    pub(super) seconds_per_query: f64,
}

/// The rankings of all queries by one method.
pub(super) struct RankedRun {
    pub(super) name: &'static str,
    /// BM25 weight, 0 to 1.
    pub(super) lexical_weight: f32,
    pub(super) run: Run,
}

/// A query that has judgements.
struct JudgedQuery<'a> {
    id: &'a str,
    text: &'a str,
    vector: Vec<f32>,
}

/// How one ranking is made.
struct Method<'a> {
    search: SearchOptions,
    reranker: Option<&'a Rerank>,
}

/// Indexes what is not there yet and ranks for the queries of `qrels`.
///
/// # Errors
/// The store's and the encoder's own; [`Error::Interrupted`].
pub(super) fn rank(
    collection: &BeirCollection,
    options: &BeirOptions<'_>,
    qrels: &Qrels,
    encoder: &Encoder,
    progress: &mut Progress<'_, Indexed>,
) -> Result<BeirRankings> {
    let mut store = Store::open(options.store)?;
    store.use_embedder(&Embedder {
        identity: encoder.identity().to_owned(),
        dimension: encoder.dim(),
    })?;
    let start = Instant::now();
    index(&mut store, encoder, collection, &options.chunks, progress)?;
    let chunks = store.documents()?.iter().map(|row| row.chunks).sum();
    let index_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let queries = embedded(collection.judged(qrels).collect(), encoder)?;
    let mut seconds = start.elapsed().as_secs_f64();
    let stop = progress.stop();
    let mut runs = Vec::new();
    for (name, lexical_weight) in
        ranking_methods(options.lexical_weights, options.reranker.is_some())
    {
        let search = SearchOptions {
            k: CHUNKS,
            candidates: CHUNKS,
            lexical_weight,
            ..SearchOptions::default()
        };
        let start = Instant::now();
        let method = Method { search, reranker: options.reranker.filter(|_| name == RERANKED) };
        let (store, queries) = (&mut store, &queries);
        // From another thread, every search would be sent to the computing threads and waited for.
        let run = lm::on_computing_thread(move || method.rank(store, queries, stop))?;
        if name == FUSION {
            seconds += start.elapsed().as_secs_f64() / options.lexical_weights.len() as f64;
        }
        runs.push(RankedRun { name, lexical_weight, run });
    }
    Ok(BeirRankings {
        store,
        runs,
        documents: collection.corpus.len(),
        chunks,
        queries: queries.len(),
        index_seconds,
        seconds_per_query: seconds / queries.len().max(1) as f64,
    })
}

/// Queries, given by id and text, with their vectors.
fn embedded<'a>(
    queries: Vec<(&'a str, &'a str)>,
    encoder: &Encoder,
) -> Result<Vec<JudgedQuery<'a>>> {
    let mut all = Vec::with_capacity(queries.len());
    for batch in queries.chunks(BATCH) {
        let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
        let vectors = encoder.embed(&texts)?;
        let queries = batch.iter().zip(vectors);
        all.extend(queries.map(|(&(id, text), vector)| JudgedQuery { id, text, vector }));
    }
    Ok(all)
}

impl Method<'_> {
    /// Searches for each query and ranks the documents found.
    fn rank(
        &self,
        store: &mut Store,
        queries: &[JudgedQuery<'_>],
        stop: &AtomicBool,
    ) -> Result<Run> {
        let mut run = Run::default();
        for JudgedQuery { id, text, vector } in queries {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let mut hits = store.search(text, vector, &self.search)?;
            if let Some(reranker) = self.reranker {
                reranker.order(text, &mut hits)?;
            }
            let mut seen = HashSet::new();
            let best = hits.into_iter().filter(|hit| seen.insert(hit.document));
            // A reranker's scores cannot be compared with those of the fusion below them; places
            // can.
            let score = |place: usize, hit: &Hit| match self.reranker {
                Some(_) => -(place as f64),
                None => f64::from(hit.score),
            };
            let scored = best.take(DEPTH).enumerate().map(|(place, hit)| {
                let score = score(place, &hit);
                (hit.path, score)
            });
            run.0.insert((*id).to_owned(), scored.collect());
        }
        Ok(run)
    }
}
