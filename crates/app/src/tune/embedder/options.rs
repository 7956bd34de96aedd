//! The options of a run.

use lm::{EmbedderOptions, Precision};

/// How an embedder is tuned.
#[derive(Clone, Debug)]
pub struct EmbedderTuneOptions {
    /// Epochs, batch, learning rate and the like.
    pub training: EmbedderOptions,
    /// Epochs without a better dev measure after which training stops.
    pub patience: usize,
    /// Go on from the state of an interrupted run of the same kind, if there is one.
    pub resume: bool,
    /// The number format in which the measures are taken: the one in which the embedder will serve.
    pub precision: Precision,
}

impl Default for EmbedderTuneOptions {
    fn default() -> Self {
        let training = EmbedderOptions::default();
        Self { training, patience: 2, resume: false, precision: Precision::Auto }
    }
}

/// The options as a line to read.
pub(super) fn describe(options: &EmbedderOptions) -> String {
    let EmbedderOptions {
        epochs,
        batch,
        negatives,
        learning_rate,
        warmup,
        scale,
        symmetric,
        seed,
        ..
    } = options;
    format!(
        "epochs {epochs}, batch {batch}, negatives {negatives}, learning rate {learning_rate}, \
         warm-up {warmup}, scale {scale}, symmetric {symmetric}, seed {seed}"
    )
}
