//! Two systems compared on the questions that both answered.

use serde::{Deserialize, Serialize};

use crate::{Interval, System};

/// A paired difference `a - b`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// Minuend.
    pub a: System,
    /// Subtrahend.
    pub b: System,
    /// Questions graded under both.
    pub questions: usize,
    /// Mean difference with its interval.
    pub difference: Interval,
    /// Questions on which `a` did better.
    pub a_better: usize,
    /// Questions on which `b` did better.
    pub b_better: usize,
    /// Mean squared difference: the discordance, for right/wrong measures.
    pub discordance: f64,
    /// Standard error of the difference: questions, clusters and the luck of training.
    #[serde(default)]
    pub standard_error: f64,
    /// Two-sided p-value, by the procedure that gives the interval ([`crate::stats::PairedTest`]).
    pub p: f64,
    /// The p-value, Holm-adjusted over all contrasts.
    pub p_holm: f64,
    /// Variance inflation by clusters against independent questions, at least 1.
    pub design_effect: f64,
}

impl Contrast {
    /// The same comparison as `b - a`.
    pub fn reversed(&self) -> Self {
        Self {
            a: self.b,
            b: self.a,
            difference: self.difference.negated(),
            a_better: self.b_better,
            b_better: self.a_better,
            ..*self
        }
    }
}
