//! LoRA training: rendered examples in, an adapter out.
//!
//! The loss of a step is the mean negative log-likelihood over all trained tokens of the step,
//! however the step is cut into packs. Two runs with equal data, options and model give equal
//! weights bit for bit, and so does a run that was interrupted and resumed.

pub(crate) mod checkpoint;
pub(crate) mod dataset;
mod estimate;
mod fingerprint;
mod memory;
mod pace;
pub(crate) mod packing;
mod plan;
mod run;

#[cfg(test)]
mod against_peft;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

pub use estimate::Estimate;
pub use memory::{MemoryEstimate, available_memory};

use crate::adapter::lora::{Lora, LoraConfig};
use crate::decoder::Decoder;
use crate::language::template::Rendered;
use crate::optim::schedule::Decay;
use crate::{Error, Result};

/// What to train, for how long, and how. `TrainOptions::default()` suits a model of about 135M
/// parameters and a few hundred to a few thousand examples; `docs/log.md` says how the values were
/// found.
#[derive(Debug, Clone)]
pub struct TrainOptions<'a> {
    /// Times every example is seen, at most.
    pub epochs: usize,
    /// Upper limit of optimiser steps, whatever `epochs` says. The schedule spans the limited run.
    pub max_steps: Option<usize>,
    /// Highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// Factor on the learning rate of every `B` (LoRA+, Hayou et al., 2024); 1 = plain LoRA.
    pub b_rate_scale: f64,
    /// Share of all steps spent warming up, 0 to 1.
    pub warmup: f64,
    /// How the rate falls afterwards.
    pub decay: Decay,
    /// Tokens (prompt and completion) per optimiser step, at most; a longer example makes a step of
    /// its own.
    pub batch_tokens: usize,
    /// Tokens run through the model at once, at most, what examples begin with in common counted
    /// once: bounds memory, changes nothing else.
    pub pack_tokens: usize,
    /// Longest example in tokens; a longer one is refused.
    pub max_length: usize,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Largest Euclidean norm of a step's gradient.
    pub clip: f64,
    /// Seeds the initial `A` matrices and the order of examples.
    pub seed: u64,
    /// Dev evaluations without a new best after which training stops; `None` = never early.
    pub patience: Option<usize>,
    /// Steps between dev evaluations, besides those at the end of each epoch.
    pub eval_every: Option<usize>,
    /// Rank, alpha and target projections.
    pub lora: LoraConfig,
    /// Where to keep a checkpoint; `None` = nothing is kept, an interrupted run is lost.
    pub checkpoint: Option<Checkpointing>,
    /// Set from outside to interrupt: a checkpoint is written and [`TrainingRun::train`] returns
    /// with `interrupted`.
    pub stop: &'a AtomicBool,
}

/// Where and how often a run's resumable state is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointing {
    /// Folder of the checkpoint, made when missing.
    pub folder: PathBuf,
    /// Steps between checkpoints, besides those at evaluations and interruptions.
    pub every: Option<usize>,
    /// Continue from the folder's checkpoint if there is one; otherwise one that is there is
    /// overwritten.
    pub resume: bool,
}

/// Nobody sets it.
static NEVER: AtomicBool = AtomicBool::new(false);

impl Default for TrainOptions<'_> {
    fn default() -> Self {
        TrainOptions {
            epochs: 6,
            max_steps: None,
            learning_rate: 1e-3,
            b_rate_scale: 1.0,
            warmup: 0.05,
            decay: Decay::Cosine,
            batch_tokens: 1024,
            pack_tokens: 512,
            max_length: 1536,
            weight_decay: 0.01,
            clip: 1.0,
            seed: 0,
            patience: Some(3),
            eval_every: None,
            lora: LoraConfig::default(),
            checkpoint: None,
            stop: &NEVER,
        }
    }
}

impl TrainOptions<'_> {
    /// Refuses options no run can have.
    fn validate(&self) -> Result<()> {
        let wrong = |name, reason: String| Err(Error::Option { name, reason });
        let positive = [
            ("epochs", self.epochs),
            ("batch_tokens", self.batch_tokens),
            ("pack_tokens", self.pack_tokens),
            ("max_length", self.max_length),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("patience", self.patience.unwrap_or(1)),
            ("eval_every", self.eval_every.unwrap_or(1)),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return wrong(name, "is 0, expected at least 1".into());
        }
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("b_rate_scale", self.b_rate_scale),
            ("clip", self.clip),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return wrong(name, format!("is {value}, expected a number above 0"));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return wrong("weight_decay", format!("is {}, expected 0 or more", self.weight_decay));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", format!("is {}, expected a share from 0 to 1", self.warmup));
        }
        Ok(())
    }
}

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

/// A training run over borrowed data: first [`TrainingRun::estimate`], then [`TrainingRun::train`].
#[derive(Clone, Copy)]
pub struct TrainingRun<'a> {
    /// The frozen model.
    pub decoder: &'a Decoder,
    /// Names the model in checkpoints (a hash of its file).
    pub identity: &'a str,
    /// Examples to learn from; at least one.
    pub train: &'a [Rendered],
    /// Examples for evaluation; may be empty.
    pub dev: &'a [Rendered],
    /// How.
    pub options: &'a TrainOptions<'a>,
}
