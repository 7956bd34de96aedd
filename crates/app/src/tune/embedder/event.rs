//! What tuning an embedder reports on its way.

use lm::{EmbedderEstimate, EmbedderStep};

use super::report::{EmbedderEpoch, EmbedderMeasures};

/// What happens during a run.
#[derive(Clone, Debug)]
pub enum EmbedderEvent {
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
        estimate: EmbedderEstimate,
        /// The untuned embedder on dev, over the passages that every epoch is measured over.
        before: EmbedderMeasures,
    },
    /// The run goes on from the state of an interrupted one.
    Resumed {
        /// Steps made.
        step: usize,
    },
    /// A step was made.
    Step {
        /// The step.
        step: EmbedderStep,
        /// Tokens a second since training began, evaluations left out.
        tokens_per_second: f64,
    },
    /// An epoch is over, and what came out was measured on dev.
    Epoch(EmbedderEpoch),
}
