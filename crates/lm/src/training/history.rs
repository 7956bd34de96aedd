//! What a run reports while it goes, and what it leaves behind.

use crate::adapter::Lora;

/// What happens during training, in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrainEvent {
    /// A checkpoint was found and the run goes on from it.
    Resumed {
        /// Steps already made.
        step: usize,
    },
    /// An optimiser step was made.
    Step {
        /// Steps made, this one included.
        step: usize,
        /// Steps of the whole run.
        steps: usize,
        /// Epoch of this step, counted from 1.
        epoch: usize,
        /// Mean negative log-likelihood over the step's trained tokens, before the update.
        loss: f64,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// Tokens a second since this process started training, evaluations left out.
        tokens_per_second: f64,
        /// Expected seconds to the end of the last epoch, evaluations included.
        seconds_left: f64,
    },
    /// The dev examples were evaluated.
    Evaluated {
        /// Steps made.
        step: usize,
        /// Mean negative log-likelihood over the trained tokens of all dev examples.
        dev_loss: f64,
        /// No earlier evaluation was as good.
        best: bool,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps made.
        step: usize,
    },
    /// The dev loss has not improved for `patience` evaluations.
    StoppedEarly {
        /// Steps made.
        step: usize,
        /// Steps after which the dev loss was best.
        best_step: usize,
    },
}

/// One optimiser step, as kept in the history.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepRecord {
    /// Mean negative log-likelihood over the trained tokens.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// One evaluation on the dev examples.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Steps made before it.
    pub step: usize,
    /// Mean negative log-likelihood over the trained tokens.
    pub dev_loss: f64,
}

/// The course of a run.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// Step 1 first.
    pub steps: Vec<StepRecord>,
    /// In order of step.
    pub evaluations: Vec<Evaluation>,
}

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The weights with the lowest dev loss; the last ones when there are no dev examples.
    pub lora: Lora,
    /// Steps after which `lora` was taken.
    pub best_step: usize,
    /// Dev loss of `lora`, when it was evaluated.
    pub dev_loss: Option<f64>,
    /// Every step and evaluation, those before a resume included.
    pub history: History,
    /// Wall-clock seconds of training, those before a resume included.
    pub seconds: f64,
    /// Tokens of the examples seen, over all steps.
    pub tokens: usize,
    /// Tokens of these that carried loss.
    pub trained_tokens: usize,
    /// The `stop` flag ended the run before its end; the checkpoint can be resumed.
    pub interrupted: bool,
    /// `patience` ended the run before its end.
    pub stopped_early: bool,
}
