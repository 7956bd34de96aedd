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
    /// What epochs are chosen by: the mean of both rankings' nDCG@10. The fused one is what is
    /// served; the vectors' own moves more, so that together they tell epochs apart better than
    /// either.
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
            let texts: Vec<&str> =
                batch.iter().map(|place| lessons.passages[*place].as_str()).collect();
            vectors.extend(encoder.embed(&texts)?.into_iter().flatten());
            on_progress(vectors.len() / dim);
        }
        Ok(Self { pool: pool.to_vec(), vectors, dim })
    }

    /// The vectors of the untuned embedder, where all are known.
    pub(super) fn stored(lessons: &Lessons, pool: &[usize]) -> Option<Self> {
        let dim = lessons.vectors.first().map(Vec::len).filter(|dim| *dim > 0)?;
        let vectors =
            pool.iter().map(|place| lessons.vectors.get(*place).filter(|row| row.len() == dim));
        let vectors: Vec<&Vec<f32>> = vectors.collect::<Option<_>>()?;
        Some(Self {
            pool: pool.to_vec(),
            vectors: vectors.into_iter().flatten().copied().collect(),
            dim,
        })
    }

    /// The same for some of its passages, in ascending order.
    pub(super) fn part(&self, pool: &[usize]) -> Self {
        let rows = self.pool.iter().zip(self.vectors.chunks_exact(self.dim));
        let some = rows.filter(|(place, _)| pool.binary_search(place).is_ok());
        let vectors = some.flat_map(|(_, row)| row).copied().collect();
        Self { pool: pool.to_vec(), vectors, dim: self.dim }
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
        let (mut qrels, mut vectors, mut fused) =
            (Qrels::default(), Run::default(), Run::default());
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

    /// The places of the passages that stand among the first `most` by vectors.
    pub(super) fn found(&self, most: usize) -> impl Iterator<Item = usize> {
        let lists = self.vectors.0.values();
        lists.flat_map(move |list| list.iter().take(most)).filter_map(|(name, _)| name.parse().ok())
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

/// The mean difference of nDCG@10 of two runs, `a` minus `b`, with its 95 % interval: paired
/// bootstrap over clusters of questions.
pub(super) fn difference(
    qrels: &Qrels,
    a: &Run,
    b: &Run,
    cluster: &dyn Fn(&str) -> String,
) -> Interval {
    let scores = |run: &Run| per_query(Ranking::Ndcg(10), qrels, run);
    let rows: Vec<(String, f64, f64)> = scores(a)
        .into_iter()
        .zip(scores(b).into_values())
        .map(|((query, a), b)| (cluster(&query), a, b))
        .collect();
    let rows: Vec<(&str, f64, f64)> =
        rows.iter().map(|(cluster, a, b)| (cluster.as_str(), *a, *b)).collect();
    Bootstrap::default().paired_difference(&rows).interval
}

/// As the store fuses its two lists, but that a passage which the list of words does not reach has
/// none of them.
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
    fused
        .into_iter()
        .map(|(chunk, explain)| (chunk.0.to_string(), f64::from(explain.fused)))
        .collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use lm::Precision;

    use super::*;

    fn lessons(lexical_weight: f32) -> Lessons {
        let passages =
            (0..40).map(|at| format!("text number {at} says {}", "word ".repeat(at % 7))).collect();
        let dev = (0..6).map(|at| Asked {
            id: format!("q{at}"),
            cluster: format!("c{}", at / 2),
            text: format!("number {at} word"),
            gold: vec![at, at + 6],
            by_words: vec![(at + 20, 3.0), (at, 2.0), (at + 6, 1.0)],
            ..Asked::default()
        });
        Lessons { passages, dev: dev.collect(), lexical_weight, ..Lessons::default() }
    }

    fn table(encoder: &Encoder, lessons: &Lessons) -> Table {
        let pool: Vec<usize> = (0..40).collect();
        Table::new(encoder, lessons, &pool, &AtomicBool::new(false), &mut |_| {}).unwrap()
    }

    #[test]
    fn the_share_of_words_decides_what_is_fused() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let encoder = Encoder::open_with(&model, Precision::F32).unwrap();
        let measured = |weight| {
            let lessons = lessons(weight);
            Rankings::new(&encoder, &lessons, &table(&encoder, &lessons)).unwrap().measured()
        };
        let (vectors, words) = (measured(0.0), measured(1.0));
        assert_eq!(vectors.fused, vectors.vectors);
        assert_eq!(words.vectors, vectors.vectors);
        // Both answers at ranks 2 and 3.
        let expected = (1.0 / 3f64.log2() + 0.5) / (1.0 + 1.0 / 3f64.log2());
        assert!((words.fused.ndcg_at_10 - expected).abs() < 1e-9, "{words:?}");
        assert_eq!((words.fused.mrr_at_10, words.fused.recall_at_10), (0.5, 1.0));
    }

    #[test]
    fn a_table_from_the_index_or_in_part_ranks_as_a_new_one() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let encoder = Encoder::open_with(&model, Precision::F32).unwrap();
        let mut lessons = lessons(0.5);
        let whole = table(&encoder, &lessons);
        assert!(Table::stored(&lessons, &[0, 1]).is_none());
        let texts: Vec<&str> = lessons.passages.iter().map(String::as_str).collect();
        lessons.vectors = encoder.embed(&texts).unwrap();
        let pool: Vec<usize> = (0..40).collect();
        let vector = encoder.embed(&["number 3"]).unwrap().remove(0);
        assert_eq!(
            Table::stored(&lessons, &pool).unwrap().nearest(&vector, 40),
            whole.nearest(&vector, 40)
        );
        let part = whole.part(&[3, 9, 30]);
        assert_eq!(part.cosine(&vector, 9), whole.cosine(&vector, 9));
        assert_eq!(part.cosine(&vector, 4), None);
        assert_eq!(part.nearest(&vector, 10).len(), 3);
        let rankings = Rankings::new(&encoder, &lessons, &whole).unwrap();
        let (by_vectors, fused) = rankings.differences(&rankings, &lessons.dev);
        assert_eq!((by_vectors.estimate, fused.lower, fused.upper), (0.0, 0.0, 0.0));
    }
}
