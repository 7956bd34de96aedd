//! What came of tuning an embedder: measures, epochs, verdict.

use std::path::PathBuf;

use eval::Interval;
use eval::ranking::{Qrels, Ranking, Run, average};
use serde::Serialize;

/// Measures of one ranking, each the mean over the dev questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RankingMeasures {
    /// nDCG@10
    pub ndcg_at_10: f64,
    /// recall@10
    pub recall_at_10: f64,
    /// recall@100
    pub recall_at_100: f64,
    /// MRR@10
    pub mrr_at_10: f64,
}

impl RankingMeasures {
    /// The means over the queries of a run.
    pub fn of(qrels: &Qrels, run: &Run) -> Self {
        Self {
            ndcg_at_10: average(Ranking::Ndcg(10), qrels, run),
            recall_at_10: average(Ranking::Recall(10), qrels, run),
            recall_at_100: average(Ranking::Recall(100), qrels, run),
            mrr_at_10: average(Ranking::ReciprocalRank(10), qrels, run),
        }
    }
}

/// An embedder on the dev questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EmbedderMeasures {
    /// By vectors alone.
    pub vectors: RankingMeasures,
    /// Fused with BM25.
    pub fused: RankingMeasures,
}

impl EmbedderMeasures {
    /// What the best epoch is chosen by: the mean of nDCG@10 of both rankings. The fused ranking is
    /// the one that is served; the one by vectors changes more from epoch to epoch. Together they
    /// tell epochs apart better than either alone.
    pub fn score(&self) -> f64 {
        (self.vectors.ndcg_at_10 + self.fused.ndcg_at_10) / 2.0
    }
}

/// The state after an epoch. Where there are many passages, its measures are taken over a sample of
/// them; those of [`TunedEmbedder`] never are.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct EmbedderEpoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss of its steps; `None` where the run was interrupted between them and the measures.
    pub loss: Option<f64>,
    /// nDCG@10 on dev by vectors alone.
    pub vectors: f64,
    /// nDCG@10 on dev, fused with BM25.
    pub fused: f64,
    /// Whether no earlier epoch was as good.
    pub best: bool,
}

/// Whether a tuned embedder should replace the one it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// More dev questions find their passages, and by more than chance explains: the difference in
    /// nDCG@10 of the fused ranking is above 0, and so is the lower end of its 95 % interval.
    Better,
    /// The dev measure rose, but its interval reaches to 0 or below.
    Undetermined,
    /// The dev measure did not rise.
    NotBetter,
}

impl Verdict {
    /// The verdict on a difference "tuned minus untuned".
    pub fn of(difference: &Interval) -> Self {
        match difference {
            Interval { estimate, .. } if *estimate <= 0.0 => Self::NotBetter,
            Interval { lower, .. } if *lower <= 0.0 => Self::Undetermined,
            _ => Self::Better,
        }
    }
}

/// What came of tuning an embedder; written beside its weights as `tuning.json`.
#[derive(Clone, Debug, Serialize)]
pub struct TunedEmbedder {
    /// The folder of the tuned embedder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Identity of the embedder it was made from.
    pub base: String,
    /// Its own identity.
    pub identity: String,
    /// Questions it learnt from.
    pub train: usize,
    /// Pairs of question and passage.
    pub pairs: usize,
    /// Questions left out of training because dev or test questions are nearly the same.
    pub left_out: usize,
    /// Dev questions.
    pub dev: usize,
    /// Passages the dev questions were ranked over.
    pub passages: usize,
    /// The BM25 weight of the fused rankings.
    pub lexical_weight: f32,
    /// The untuned embedder on dev.
    pub before: EmbedderMeasures,
    /// The tuned embedder on dev.
    pub after: EmbedderMeasures,
    /// Difference in nDCG@10 by vectors alone, tuned minus untuned, with its 95 % interval (paired
    /// bootstrap over questions, clustered by document).
    pub difference_vectors: Interval,
    /// The same for the fused rankings.
    pub difference_fused: Interval,
    /// What follows from it.
    pub verdict: Verdict,
    /// The epoch whose weights these are.
    pub best_epoch: usize,
    /// Every epoch.
    pub epochs: Vec<EmbedderEpoch>,
    /// The options, readable.
    pub options: String,
    /// Seconds of training, measures left out, since the run was last resumed.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_what_chance_does_not_explain() {
        let verdict = |estimate, lower| Verdict::of(&Interval { estimate, lower, upper: 1.0 });
        assert_eq!(verdict(0.02, 0.01), Verdict::Better);
        assert_eq!(verdict(0.02, 0.0), Verdict::Undetermined);
        assert_eq!(verdict(0.02, -0.01), Verdict::Undetermined);
        assert_eq!(verdict(0.0, 0.0), Verdict::NotBetter);
        assert_eq!(verdict(-0.01, -0.02), Verdict::NotBetter);
    }
}
