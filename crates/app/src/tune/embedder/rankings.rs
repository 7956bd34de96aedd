//! Dev questions ranked by an embedder that is not the one in the index.

use eval::Interval;
use eval::ranking::{Qrels, Ranking, Run, per_query};
use eval::stats::Bootstrap;
use lm::Encoder;
use store::{ChunkId, fuse};

use super::lessons::{DEPTH, EmbedderLessons, JudgedQuestion};
use super::report::{EmbedderMeasures, RankingMeasures};
use super::vectors::{PassageVectors, embed_questions};
use crate::error::Result;

/// The rankings of the dev questions.
pub(super) struct DevRankings {
    qrels: Qrels,
    vectors: Run,
    fused: Run,
}

impl DevRankings {
    /// Ranks the passages whose vectors are given, for every dev question.
    pub(super) fn new(
        encoder: &Encoder,
        lessons: &EmbedderLessons,
        passages: &PassageVectors,
    ) -> Result<Self> {
        let (mut qrels, mut vectors, mut fused) =
            (Qrels::default(), Run::default(), Run::default());
        for (question, vector) in lessons.dev.iter().zip(embed_questions(encoder, &lessons.dev)?) {
            question.gold.iter().for_each(|gold| qrels.insert(&question.id, &name(*gold), 1));
            let by_meaning = passages.nearest(&vector, DEPTH);
            let cosine = |place| passages.cosine(&vector, place);
            let list = fused_list(&question.by_words, &by_meaning, lessons.lexical_weight, cosine);
            fused.0.insert(question.id.clone(), list);
            let list = by_meaning.iter().map(|(place, score)| (name(*place), f64::from(*score)));
            vectors.0.insert(question.id.clone(), list.collect());
        }
        Ok(Self { qrels, vectors, fused })
    }

    /// The places of the passages that stand among the first `most` by vectors.
    pub(super) fn found(&self, most: usize) -> impl Iterator<Item = usize> {
        let lists = self.vectors.0.values();
        lists.flat_map(move |list| list.iter().take(most)).filter_map(|(name, _)| name.parse().ok())
    }

    /// Measures of both rankings.
    pub(super) fn measured(&self) -> EmbedderMeasures {
        EmbedderMeasures {
            vectors: RankingMeasures::of(&self.qrels, &self.vectors),
            fused: RankingMeasures::of(&self.qrels, &self.fused),
        }
    }

    /// Differences of nDCG@10, `self` minus `other`: by vectors alone, and fused.
    pub(super) fn differences(&self, other: &Self, dev: &[JudgedQuestion]) -> (Interval, Interval) {
        let cluster = |id: &str| {
            dev.iter()
                .find(|question| question.id == id)
                .map_or_else(|| id.to_owned(), |question| question.cluster.clone())
        };
        (
            difference(&self.qrels, &self.vectors, &other.vectors, &cluster),
            difference(&self.qrels, &self.fused, &other.fused, &cluster),
        )
    }
}

/// The mean difference of nDCG@10 of two runs, `a` minus `b`, with its 95 % interval: paired
/// bootstrap over clusters of questions.
pub(crate) fn difference(
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

/// Fuses two lists as the store does, with one exception: a passage that is not in the BM25 list
/// counts as if its BM25 score were 0, as its words are not looked up.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use lm::Precision;

    use super::*;
    use crate::progress::Progress;

    fn lessons(lexical_weight: f32) -> EmbedderLessons {
        let passages =
            (0..40).map(|at| format!("text number {at} says {}", "word ".repeat(at % 7))).collect();
        let dev = (0..6).map(|at| JudgedQuestion {
            id: format!("q{at}"),
            cluster: format!("c{}", at / 2),
            text: format!("number {at} word"),
            gold: vec![at, at + 6],
            by_words: vec![(at + 20, 3.0), (at, 2.0), (at + 6, 1.0)],
            ..JudgedQuestion::default()
        });
        EmbedderLessons {
            passages,
            dev: dev.collect(),
            lexical_weight,
            ..EmbedderLessons::default()
        }
    }

    fn embedded(encoder: &Encoder, lessons: &EmbedderLessons) -> PassageVectors {
        let pool: Vec<usize> = (0..40).collect();
        let (never, mut ignore) = (AtomicBool::new(false), |_| {});
        let mut progress = Progress::new(&never, &mut ignore);
        PassageVectors::embed(encoder, lessons, &pool, &mut progress).unwrap()
    }

    #[test]
    fn the_bm25_weight_decides_what_is_fused() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let encoder = Encoder::open_with(&model, Precision::F32).unwrap();
        let measured = |weight| {
            let lessons = lessons(weight);
            DevRankings::new(&encoder, &lessons, &embedded(&encoder, &lessons)).unwrap().measured()
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
    fn vectors_from_the_index_or_in_part_rank_as_new_ones() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let encoder = Encoder::open_with(&model, Precision::F32).unwrap();
        let mut lessons = lessons(0.5);
        let whole = embedded(&encoder, &lessons);
        assert!(PassageVectors::stored(&lessons, &[0, 1]).is_none());
        let texts: Vec<&str> = lessons.passages.iter().map(String::as_str).collect();
        lessons.vectors = encoder.embed(&texts).unwrap();
        let pool: Vec<usize> = (0..40).collect();
        let vector = encoder.embed(&["number 3"]).unwrap().remove(0);
        assert_eq!(
            PassageVectors::stored(&lessons, &pool).unwrap().nearest(&vector, 40),
            whole.nearest(&vector, 40)
        );
        let part = whole.part(&[3, 9, 30]);
        assert_eq!(part.cosine(&vector, 9), whole.cosine(&vector, 9));
        assert_eq!(part.cosine(&vector, 4), None);
        assert_eq!(part.nearest(&vector, 10).len(), 3);
        let rankings = DevRankings::new(&encoder, &lessons, &whole).unwrap();
        let (by_vectors, fused) = rankings.differences(&rankings, &lessons.dev);
        assert_eq!((by_vectors.estimate, fused.lower, fused.upper), (0.0, 0.0, 0.0));
    }
}
