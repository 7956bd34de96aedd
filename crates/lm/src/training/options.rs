//! How an adapter is trained, with the defaults.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::adapter::LoraConfig;
use crate::optim::Decay;
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
    /// Most tokens (prompt and completion) of an optimiser step; a longer example makes a step of
    /// its own.
    pub batch_tokens: usize,
    /// Most tokens run through the model at once, a prefix that examples share counted once. Bounds
    /// memory and changes nothing else.
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
    /// Set from outside to interrupt: a checkpoint is written and
    /// [`TrainingRun::train`](super::TrainingRun::train) returns with `interrupted`.
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

/// The `stop` flag of runs that nobody stops.
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
    pub(super) fn validate(&self) -> Result<()> {
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
