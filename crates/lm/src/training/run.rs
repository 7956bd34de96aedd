//! A training run: model, data and options together.

use super::options::TrainOptions;
use crate::decoder::Decoder;
use crate::language::Rendered;

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
