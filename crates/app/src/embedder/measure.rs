//! Rankings of an embedder that is not in the index, and their measures.

use std::sync::atomic::{AtomicBool, Ordering};

use eval::Interval;
use eval::ranking::{Qrels, Ranking, Run, average, per_query};
use eval::stats::Bootstrap;
use lm::Encoder;
use serde::Serialize;
use store::{ChunkId, fuse};

use super::{Asked, Lessons};
use crate::error::{Error, Result};

/// Passages embedded at a time.
const BATCH: usize = 128;

/// Depth of the rankings.
pub(super) const DEPTH: usize = 100;

/// Measures of one way of ranking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// nDCG@10
    pub ndcg_at_10: f64,
    /// recall@10
    pub recall_at_10: f64,
    /// recall@100
    pub recall_at_100: f64,
    /// MRR@10
    pub mrr_at_10: f64,
}

impl Measures {
    /// Of a run.
    pub fn of(qrels: &Qrels, run: &Run) -> Self {
        Self {
            ndcg_at_10: average(Ranking::Ndcg(10), qrels, run),
            recall_at_10: average(Ranking::Recall(10), qrels, run),
            recall_at_100: average(Ranking::Recall(100), qrels, run),
            mrr_at_10: average(Ranking::ReciprocalRank(10), qrels, run),
        }
    }
}

/// An embedder's measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// By vectors alone.
    pub vectors: Measures,
    /// Fused with BM25.
    pub fused: Measures,
}

impl Measured {
    /// What epochs are chosen by: the mean of both rankings' nDCG@10. The fused one is what is served; the vectors' own moves
    /// more, so that together they tell epochs apart better than either.
    pub fn score(&self) -> f64 {
        (self.vectors.ndcg_at_10 + self.fused.ndcg_at_10) / 2.0
    }
}

/// Vectors of the passages of a pool.
pub(super) struct Table {
    /// Places of the passages.
    pool: Vec<usize>,
    /// `[pool, dim]`.
    vectors: Vec<f32>,
    dim: usize,
}

impl Table {
    /// Embeds the passages at the places of `pool`; `on_progress` gets how many are done.
    pub(super) fn new(
        encoder: &Encoder,
        lessons: &Lessons,
        pool: &[usize],
        stop: &AtomicBool,
        on_progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        let dim = encoder.dim();
        let mut vectors = Vec::with_capacity(pool.len() * dim);
        for batch in pool.chunks(BATCH) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let texts: Vec<&str> = batch.iter().map(|place| lessons.passages[*place].as_str()).collect();
            vectors.extend(encoder.embed(&texts)?.into_iter().flatten());
            on_progress(vectors.len() / dim);
        }
        Ok(Self { pool: pool.to_vec(), vectors, dim })
    }

    /// The passages nearest to a vector, best first, with their cosines.
    pub(super) fn nearest(&self, vector: &[f32], most: usize) -> Vec<(usize, f32)> {
        let rows = self.vectors.chunks_exact(self.dim);
        let mut scored: Vec<(usize, f32)> =
            self.pool.iter().zip(rows).map(|(place, row)| (*place, dot(vector, row))).collect();
        let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if scored.len() > most {
            scored.select_nth_unstable_by(most, order);
            scored.truncate(most);
        }
        scored.sort_unstable_by(order);
        scored
    }

    /// The cosine of a vector and the passage at `place`; `None` when it is not in the pool.
    pub(super) fn cosine(&self, vector: &[f32], place: usize) -> Option<f32> {
        let at = self.pool.binary_search(&place).ok()?;
        Some(dot(vector, &self.vectors[at * self.dim..][..self.dim]))
    }
}

/// Vectors of questions.
pub(super) fn embed_questions(encoder: &Encoder, asked: &[Asked]) -> Result<Vec<Vec<f32>>> {
    let texts: Vec<&str> = asked.iter().map(|asked| asked.text.as_str()).collect();
    Ok(encoder.embed(&texts)?)
}

/// The rankings of the dev questions.
pub(super) struct Rankings {
    qrels: Qrels,
    vectors: Run,
    fused: Run,
}

impl Rankings {
    /// Ranks the passages of `table` for the dev questions.
    pub(super) fn new(encoder: &Encoder, lessons: &Lessons, table: &Table) -> Result<Self> {
        let (mut qrels, mut vectors, mut fused) = (Qrels::default(), Run::default(), Run::default());
        for (asked, vector) in lessons.dev.iter().zip(embed_questions(encoder, &lessons.dev)?) {
            asked.gold.iter().for_each(|gold| qrels.insert(&asked.id, &name(*gold), 1));
            let by_meaning = table.nearest(&vector, DEPTH);
            let cosine = |place| table.cosine(&vector, place);
            let list = fused_list(&asked.by_words, &by_meaning, lessons.lexical_weight, cosine);
            fused.0.insert(asked.id.clone(), list);
            let list = by_meaning.iter().map(|(place, score)| (name(*place), f64::from(*score)));
            vectors.0.insert(asked.id.clone(), list.collect());
        }
        Ok(Self { qrels, vectors, fused })
    }

    pub(super) fn measured(&self) -> Measured {
        Measured {
            vectors: Measures::of(&self.qrels, &self.vectors),
            fused: Measures::of(&self.qrels, &self.fused),
        }
    }

    /// Differences of nDCG@10, `self` minus `other`: by vectors alone, and fused.
    pub(super) fn differences(&self, other: &Self, dev: &[Asked]) -> (Interval, Interval) {
        let cluster = |id: &str| {
            dev.iter()
                .find(|asked| asked.id == id)
                .map_or_else(|| id.to_owned(), |asked| asked.cluster.clone())
        };
        (
            difference(&self.qrels, &self.vectors, &other.vectors, &cluster),
            difference(&self.qrels, &self.fused, &other.fused, &cluster),
        )
    }
}

/// The mean difference of nDCG@10 of two runs, `a` minus `b`, with its 95 % interval: paired bootstrap over clusters of questions.
pub(super) fn difference(qrels: &Qrels, a: &Run, b: &Run, cluster: &dyn Fn(&str) -> String) -> Interval {
    let scores = |run: &Run| per_query(Ranking::Ndcg(10), qrels, run);
    let rows: Vec<(String, f64, f64)> = scores(a)
        .into_iter()
        .zip(scores(b).into_values())
        .map(|((query, a), b)| (cluster(&query), a, b))
        .collect();
    let rows: Vec<(&str, f64, f64)> = rows.iter().map(|(cluster, a, b)| (cluster.as_str(), *a, *b)).collect();
    Bootstrap::default().paired_difference(&rows).interval
}

/// As the store fuses its two lists, but that a passage which the list of words does not reach has none of them.
fn fused_list(
    by_words: &[(usize, f32)],
    by_meaning: &[(usize, f32)],
    weight: f32,
    cosine: impl Fn(usize) -> Option<f32>,
) -> Vec<(String, f64)> {
    let chunks = |list: &[(usize, f32)]| -> Vec<(ChunkId, f32)> {
        list.iter().take(DEPTH).map(|(place, score)| (ChunkId(*place as i64), *score)).collect()
    };
    let place = |chunk: ChunkId| usize::try_from(chunk.0).ok();
    let cosine_of = |chunk| place(chunk).and_then(&cosine);
    let fused = fuse(&chunks(by_words), &chunks(by_meaning), weight, |_| None, cosine_of);
    fused.into_iter().map(|(chunk, explain)| (chunk.0.to_string(), f64::from(explain.fused))).collect()
}

fn name(place: usize) -> String {
    place.to_string()
}

/// Inner product in eight partial sums, which the compiler keeps in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
