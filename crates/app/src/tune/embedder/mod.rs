//! Fine-tuning the embedder: questions with the passages that answer them -> negatives -> epochs ->
//! measures on dev -> a folder and a verdict.
//!
//! The index is never changed here. The tuned embedder is a model folder like any other; whoever
//! adopts it embeds all passages anew.

pub mod beir;
mod lessons;
mod measure;
mod mining;
mod project;
mod training;

use std::path::PathBuf;

use eval::Interval;
use lm::{EmbedderEstimate, EmbedderOptions, EmbedderStep, Precision};
use serde::Serialize;

pub use lessons::{Asked, Lessons};
pub use measure::{Measured, Measures};
pub use project::tune_for_set;
pub use training::tune;

/// How an embedder is tuned.
#[derive(Clone, Debug)]
pub struct TuneOptions {
    /// Epochs, batch, learning rate and the like.
    pub training: EmbedderOptions,
    /// Epochs without a better dev measure after which training stops.
    pub patience: usize,
    /// Go on from the state of an interrupted run of the same kind, if there is one.
    pub resume: bool,
    /// The number format in which the measures are taken: the one in which the embedder will serve.
    pub precision: Precision,
}

impl Default for TuneOptions {
    fn default() -> Self {
        let training = EmbedderOptions::default();
        Self { training, patience: 2, resume: false, precision: Precision::Auto }
    }
}

/// What happens during a run.
#[derive(Debug)]
pub enum TuneEvent<'a> {
    /// Passages are being embedded, to find negatives or to measure.
    Embedding {
        /// Passages done.
        done: usize,
        /// Passages in all.
        passages: usize,
    },
    /// The work is known.
    Planned {
        /// Questions to learn from.
        train: usize,
        /// Questions left out of training because dev or test questions are nearly the same.
        left_out: usize,
        /// Dev questions.
        dev: usize,
        /// Negatives found, over all questions.
        negatives: usize,
        /// Steps, tokens, operations, memory.
        estimate: &'a EmbedderEstimate,
        /// Measures of the untuned embedder on dev, over the passages that epochs are measured
        /// over.
        before: &'a Measured,
    },
    /// The run goes on from the state of an interrupted one.
    Resumed {
        /// Steps made.
        step: usize,
    },
    /// A step was made.
    Step {
        /// The step.
        step: &'a EmbedderStep,
        /// Tokens a second since training began, evaluations left out.
        tokens_per_second: f64,
    },
    /// An epoch is over, and what came out was measured on dev.
    Epoch(&'a Epoch),
}

/// The state after an epoch. Its measures are taken over a sample where there are many passages,
/// those of [`Tuned`] are not.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Epoch {
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
pub struct Tuned {
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
    /// The share of BM25 in the fused rankings.
    pub lexical_weight: f32,
    /// The untuned embedder on dev.
    pub before: Measured,
    /// The tuned embedder on dev.
    pub after: Measured,
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
    pub epochs: Vec<Epoch>,
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
