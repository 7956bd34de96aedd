//! Learning curves: does more training data still help, and how much would it help?

use serde::{Deserialize, Serialize};

use crate::Interval;

/// One point of a learning curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Training pairs used.
    pub examples: usize,
    /// Score reached, 0..1.
    pub score: f64,
    /// Standard error of that score.
    pub standard_error: f64,
}

/// A fitted learning curve `score(n) = ceiling - a n^-b` and what it foresees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The measured points, by number of examples.
    pub points: Vec<CurvePoint>,
    /// Score with unlimited data.
    pub ceiling: f64,
    /// Scale `a >= 0`.
    pub scale: f64,
    /// Exponent `b > 0`.
    pub exponent: f64,
    /// Foreseen gain (0..1) from twice the data.
    pub gain_of_doubling: Interval,
    /// Foreseen score at 2, 4 and 8 times the data: (examples, score).
    pub forecast: Vec<(usize, Interval)>,
}
