//! The ceiling gate: has RAG stopped improving, so that fine-tuning is worth its price?

use serde::{Deserialize, Serialize};

use crate::Trial;

/// What the gate is measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateOptions {
    /// Differences below this (0..1) don't matter to the user.
    pub margin: f64,
    /// Score (0..1) the user needs; without one, everything below `1 - margin` leaves something to gain.
    pub target: Option<f64>,
    /// Dev scores of the retrieval configurations tried, in the order they were tried, if there was a sweep.
    pub sweep: Vec<f64>,
    /// How many last configurations must each have improved by less than `epsilon` over the best before them.
    pub last: usize,
    /// Smallest improvement that counts.
    pub epsilon: f64,
    /// Two-sided level of the intervals.
    pub alpha: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Bootstrap seed.
    pub seed: u64,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            margin: 0.05,
            target: None,
            sweep: Vec::new(),
            last: 3,
            epsilon: 0.01,
            alpha: 0.05,
            resamples: 10_000,
            seed: 20_260_101,
        }
    }
}

/// One of the three conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The condition as a statement.
    pub statement: String,
    /// The figures that were measured.
    pub measurement: String,
    /// Whether it holds.
    pub holds: bool,
}

/// The gate's verdict: open when all three conditions hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Fine-tuning is due.
    pub open: bool,
    /// Retrieval exhausted, target missed, errors that passages can't cure.
    pub conditions: Vec<Condition>,
    /// Dev questions graded under `rag`.
    pub questions: usize,
}

/// Reads the gate from dev trials of at least `rag`; `oracle` for the first and third condition.
pub fn gate(_dev: &[Trial], _options: &GateOptions) -> Gate {
    unimplemented!()
}
