//! Putting chunks in order by words and vectors, both at the same time.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::filter::Allowed;
use super::hit::Explain;
use crate::derived::lexical::Lexical;
use crate::derived::vectors::Vectors;
use crate::{Bm25, ChunkId, Error, Result};

/// Texts from which on two threads search words and vectors at the same time, even if the query's
/// vector is known. Waking another thread takes as long as searching both in a small collection.
const BESIDE_FROM: usize = 20_000;

/// What chunks are ranked by.
pub(crate) struct Ranking<'a> {
    /// `None` where words do not count.
    pub(crate) lexical: Option<&'a Lexical>,
    pub(crate) vectors: Option<&'a Vectors>,
    /// The chunks that may be found; `None` for all.
    pub(crate) allowed: Option<&'a Allowed>,
    /// Chunks wanted by words, and as many by vectors.
    pub(crate) count: usize,
    /// Weight of BM25 in the fused score, 0 to 1.
    pub(crate) lexical_weight: f32,
    pub(crate) bm25: Bm25,
}

impl Ranking<'_> {
    /// The chunks that fit best by words or by vectors, best first. `embed` gives the query's
    /// vector, which takes long where it `embeds` the query first.
    pub(crate) fn ranked<E: From<Error> + Send>(
        &self,
        query: &str,
        embed: Option<impl FnOnce() -> std::result::Result<Vec<f32>, E> + Send>,
        embeds: bool,
    ) -> std::result::Result<Vec<(ChunkId, Explain)>, E> {
        if embeds || self.lexical.is_some_and(|lexical| lexical.texts() >= BESIDE_FROM) {
            rayon::scope(|_| self.ranked_by(query, embed, embeds, true))
        } else {
            self.ranked_by(query, embed, embeds, false)
        }
    }

    /// As [`Ranking::ranked`], on two threads where it is to be done `beside` each other.
    fn ranked_by<E: From<Error> + Send>(
        &self,
        query: &str,
        embed: Option<impl FnOnce() -> std::result::Result<Vec<f32>, E> + Send>,
        embeds: bool,
        beside: bool,
    ) -> std::result::Result<Vec<(ChunkId, Explain)>, E> {
        let scoring = OnceLock::new();
        let words = || -> Result<_> {
            let Some(lexical) = self.lexical else { return Ok(None) };
            if scoring.get().is_none() {
                let fresh =
                    lexical.scoring(query, self.bm25, self.count, |chunk| self.keeps(chunk))?;
                // Another thread may have been faster.
                let _ = scoring.set(fresh);
            }
            Ok(scoring.get())
        };
        let all_words = || words().map(|words| words.map_or((), |words| words.run()));

        let (mut embed, mut vector) = (embed, None);
        // In a large collection every thread embeds first, and every thread searches then. In a
        // small one the words are one window, which takes less time than embedding: one thread
        // scores them meanwhile.
        if embeds && self.lexical.is_some_and(|lexical| lexical.has_windows()) {
            vector = embed.take().map(|embed| embed()).transpose()?;
        }
        let by_vectors = || {
            let vector = match embed {
                Some(embed) => Some(embed()?),
                None => vector,
            };
            let near = vector.as_ref().map(|vector| self.near(vector)).unwrap_or_default();
            // BM25 scores of chunks that may not be in the list of words.
            let scores =
                words()?.map(|words| words.of(near.iter().map(|(chunk, _)| *chunk), beside));
            // The thread that is done with vectors helps with the words.
            all_words()?;
            Ok::<_, E>((vector, near, scores.unwrap_or_default()))
        };
        let (by_vectors, scored) = both(beside, by_vectors, all_words);
        let (vector, by_vectors, scores) = by_vectors?;
        scored?;

        let by_words = scoring.into_inner().map(|words| words.best()).unwrap_or_default();
        let bm25_of = |chunk| scores.get(&chunk).copied();
        let cosine_of = |chunk| self.vectors?.cosine(vector.as_ref()?, chunk);
        Ok(fuse(&by_words, &by_vectors, self.lexical_weight, bm25_of, cosine_of))
    }

    /// The chunks whose vectors are the nearest to a query's, best first; none where vectors do not
    /// count.
    fn near(&self, vector: &[f32]) -> Vec<(ChunkId, f32)> {
        match (self.vectors.filter(|_| self.lexical_weight < 1.0), self.allowed) {
            (Some(vectors), Some(allowed)) => {
                vectors.nearest_where(vector, self.count, |chunk| allowed.contains(chunk))
            }
            (Some(vectors), None) => vectors.nearest(vector, self.count),
            (None, _) => Vec::new(),
        }
    }

    fn keeps(&self, chunk: ChunkId) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(chunk))
    }
}

/// Does both, at the same time where they are to be done `beside` each other.
fn both<A: Send, B: Send>(
    beside: bool,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if beside { rayon::join(first, second) } else { (first(), second()) }
}

/// Fuses two ranked lists, best first: the BM25 score by `lexical_weight` and the cosine by the
/// rest of 1, each divided by the best of its kind.
///
/// `bm25_of` and `cosine_of` give the score of a chunk that only the other list has: that it was
/// not among the best does not make it 0. Both kinds have 0 as their least score, and dividing by
/// the best keeps the distance to it. The least score of a list would depend on how long the list
/// happens to be (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
/// 2023: normalisation by the theoretical minimum).
pub fn fuse(
    by_words: &[(ChunkId, f32)],
    by_meaning: &[(ChunkId, f32)],
    lexical_weight: f32,
    bm25_of: impl Fn(ChunkId) -> Option<f32>,
    cosine_of: impl Fn(ChunkId) -> Option<f32>,
) -> Vec<(ChunkId, Explain)> {
    let mut found: HashMap<ChunkId, Explain> = HashMap::new();
    for (rank, (chunk, score)) in (1..).zip(by_words) {
        let explain = found.entry(*chunk).or_default();
        (explain.bm25, explain.bm25_rank) = (Some(*score), Some(rank));
    }
    for (rank, (chunk, score)) in (1..).zip(by_meaning) {
        let explain = found.entry(*chunk).or_default();
        (explain.cosine, explain.cosine_rank) = (Some(*score), Some(rank));
    }
    let mut fused: Vec<(ChunkId, Explain)> = found.into_iter().collect();
    for (chunk, explain) in &mut fused {
        explain.bm25 = explain.bm25.or_else(|| bm25_of(*chunk));
        explain.cosine = explain.cosine.or_else(|| cosine_of(*chunk));
    }
    let best = |score: fn(&Explain) -> Option<f32>| {
        fused.iter().filter_map(|(_, explain)| score(explain)).fold(0.0, f32::max)
    };
    let (best_bm25, best_cosine) = (best(|explain| explain.bm25), best(|explain| explain.cosine));
    let share = |score: Option<f32>, best: f32| {
        if best > 0.0 { score.unwrap_or(0.0).max(0.0) / best } else { 0.0 }
    };
    for (_, explain) in &mut fused {
        explain.bm25_norm = share(explain.bm25, best_bm25);
        explain.cosine_norm = share(explain.cosine, best_cosine);
        explain.fused =
            lexical_weight * explain.bm25_norm + (1.0 - lexical_weight) * explain.cosine_norm;
    }
    fused.sort_unstable_by(|a, b| b.1.fused.total_cmp(&a.1.fused).then(a.0.cmp(&b.0)));
    fused
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::DocumentId;
    use crate::database::packed::{pack, unit};
    use crate::derived::lexical::{Searched, Stamp};

    /// 900 chunks of three texts a document, which lie together or, where they are `scattered`,
    /// apart.
    fn words(folder: &std::path::Path, scattered: bool) -> Lexical {
        let mut number = 7u64;
        let mut random = move |below: u64| {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % below
        };
        Lexical::build(folder, Stamp::new("store", 1), |take| {
            (1..=900).try_for_each(|chunk| {
                let document = DocumentId(if scattered { chunk % 300 } else { chunk / 3 } + 1);
                let words: Vec<String> =
                    (0..8).map(|_| format!("w{}", random(40).min(random(40)))).collect();
                take(Searched {
                    chunk: ChunkId(chunk),
                    document,
                    language: "xx",
                    text: &words.join(" "),
                })
            })
        })
        .unwrap()
    }

    /// However the work is cut and whoever does it, the ranking is that of one thread which does
    /// one thing after the other.
    #[test]
    fn threads_change_nothing() {
        let vector = |at: i64| unit((0..8).map(|i| ((at * 31 + i * 17) as f32).sin()).collect());
        let mut table = Vectors::new(8);
        (1..=900).for_each(|chunk| assert!(table.push(ChunkId(chunk), &pack(&vector(chunk)))));
        let mut third = Allowed::default();
        (1..=900).step_by(3).for_each(|chunk| third.insert(chunk));
        let pools = [1, 2, 4]
            .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
        for scattered in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut lexical = words(folder.path(), scattered);
            for (weight, allowed) in [(0.0, None), (0.4, None), (0.4, Some(&third)), (1.0, None)] {
                let ranked = |lexical: &Lexical, embeds: bool, beside: bool| {
                    let lexical = Some(lexical).filter(|_| weight > 0.0);
                    let vectors = Some(&table);
                    let ranking = Ranking {
                        lexical,
                        vectors,
                        allowed,
                        count: 12,
                        lexical_weight: weight,
                        bm25: Bm25::default(),
                    };
                    let embed = || Ok::<_, Error>(vector(5000));
                    ranking.ranked_by("w3 w30 w1 w17", Some(embed), embeds, beside).unwrap()
                };
                lexical.score_together(usize::MAX);
                let expected = ranked(&lexical, false, false);
                assert!(expected.len() >= 12);
                for texts in [1, 10, 100, 1000] {
                    lexical.score_together(texts);
                    for pool in &pools {
                        for (embeds, beside) in
                            [(false, false), (true, false), (false, true), (true, true)]
                        {
                            let found = pool.install(|| ranked(&lexical, embeds, beside));
                            assert_eq!(
                                found, expected,
                                "{scattered} {weight} {texts} {embeds} {beside}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn shares_of_the_best_are_added_by_weight() {
        let words = [(ChunkId(1), 9.0), (ChunkId(2), 4.5)];
        let meaning = [(ChunkId(3), 0.8), (ChunkId(2), 0.6)];
        let bm25_of = |chunk: ChunkId| (chunk.0 == 3).then_some(0.9);
        let cosine_of = |chunk: ChunkId| (chunk.0 == 1).then_some(-0.4);
        let fused = fuse(&words, &meaning, 0.75, bm25_of, cosine_of);
        let scores: Vec<(i64, f32)> = fused.iter().map(|(chunk, e)| (chunk.0, e.fused)).collect();
        // The cosine of 1 is below nothing at all.
        assert_eq!(scores[0], (1, 0.75));
        assert!((scores[1].1 - (0.75 * 0.5 + 0.25 * 0.75)).abs() < 1e-6 && scores[1].0 == 2);
        assert!((scores[2].1 - (0.75 * 0.1 + 0.25)).abs() < 1e-6 && scores[2].0 == 3);
        let third = fused[2].1;
        assert_eq!((third.bm25, third.bm25_rank, third.cosine_rank), (Some(0.9), None, Some(1)));
        let alone = fuse(&[(ChunkId(7), 3.0)], &[], 1.0, |_| None, |_| None);
        assert_eq!((alone[0].1.fused, alone[0].1.cosine), (1.0, None));
    }
}
