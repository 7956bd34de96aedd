//! How an encoder is trained.

use crate::{Error, Precision, Result};

/// How an encoder is trained. The defaults suit some hundred to some thousand questions;
/// `docs/log.md` says how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedderOptions {
    /// Times every pair of question and passage is seen, at most; the learning rate falls to zero
    /// over as many.
    pub epochs: usize,
    /// Pairs of a step. The other pairs' passages are a question's in-batch negatives.
    pub batch: usize,
    /// Mined negatives that each question brings into a step, drawn anew in each epoch.
    pub negatives: usize,
    /// Highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// Share of all steps spent warming up, 0 to 1.
    pub warmup: f64,
    /// What cosines are multiplied with before the softmax: the inverse of its temperature.
    pub scale: f32,
    /// Whether the loss also ranks a step's questions for each passage.
    pub symmetric: bool,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Largest Euclidean norm of a step's gradient.
    pub clip: f64,
    /// Seeds the order of pairs and the choice of negatives.
    pub seed: u64,
    /// How products with weights are computed: in `F32`, or with their factors rounded to `Bf16`
    /// and sums in f32. Weights, gradients and everything else are f32.
    pub precision: Precision,
    /// Most tokens run through the model at once; a longer text is not cut for it. Bounds memory
    /// and changes nothing but the order of sums.
    pub pack_tokens: usize,
    /// Bytes of activations kept from the forward to the backward pass. What does not fit is
    /// computed twice, with the same result (gradient caching, Gao et al. 2021): a step of any size
    /// fits into memory.
    pub kept_bytes: usize,
}

impl Default for EmbedderOptions {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch: 32,
            negatives: 1,
            learning_rate: 5e-5,
            warmup: 0.1,
            scale: 20.0,
            symmetric: false,
            weight_decay: 0.0,
            clip: 1.0,
            seed: 1,
            precision: Precision::Auto,
            pack_tokens: 2048,
            kept_bytes: 1 << 30,
        }
    }
}

impl EmbedderOptions {
    /// Refuses options no run can have.
    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |name, reason: String| Err(Error::Option { name, reason });
        for (name, value) in
            [("epochs", self.epochs), ("batch", self.batch), ("pack_tokens", self.pack_tokens)]
        {
            if value == 0 {
                return wrong(name, "is 0, expected at least 1".into());
            }
        }
        let rates = [
            ("learning_rate", self.learning_rate),
            ("clip", self.clip),
            ("scale", self.scale.into()),
        ];
        for (name, value) in rates {
            if !(value.is_finite() && value > 0.0) {
                return wrong(name, format!("is {value}, expected a number above 0"));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return wrong("weight_decay", format!("is {}, expected 0 or more", self.weight_decay));
        }
        if self.precision == Precision::Int8 {
            return wrong("precision", "is int8, expected auto, bf16 or f32".into());
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", format!("is {}, expected a share from 0 to 1", self.warmup));
        }
        Ok(())
    }
}
