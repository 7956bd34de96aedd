//! What a run takes, what it reports of each step, and what each step holds.

/// What a run takes, known before it starts.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct EmbedderEstimate {
    /// Pairs of question and passage.
    pub pairs: usize,
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens of all texts of all steps.
    pub tokens: usize,
    /// Floating-point operations, what is computed twice included.
    pub operations: f64,
    /// Bytes of memory: weights, gradients, moments and activations.
    pub bytes: u64,
}

/// An optimiser step that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbedderStep {
    /// Steps made, this one included.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// Mean loss over the step's questions, before the update.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens of its texts.
    pub tokens: usize,
}

/// Texts of a step, as ids, and what belongs to what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlannedStep {
    /// One a pair.
    pub questions: Vec<Vec<u32>>,
    /// Each once.
    pub passages: Vec<Vec<u32>>,
    /// The passage of each question, as a place in `passages`.
    pub positives: Vec<usize>,
    /// Further passages that answer each question, left out of its negatives.
    pub also: Vec<Vec<usize>>,
}
