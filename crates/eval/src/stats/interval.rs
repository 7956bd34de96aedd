//! An estimate with its bounds.

use serde::{Deserialize, Serialize};

/// Halvings of an interval no wider than 2: what is left is below the rounding of its ends.
pub(super) const BISECTIONS: usize = 60;

/// An estimate between its two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate itself.
    pub estimate: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

impl Interval {
    /// The interval of `-x`.
    pub fn negated(self) -> Self {
        Self { estimate: -self.estimate, lower: -self.upper, upper: -self.lower }
    }

    /// This interval widened until it covers `other` too; the estimate stays.
    pub fn covering(self, other: Self) -> Self {
        Self { lower: self.lower.min(other.lower), upper: self.upper.max(other.upper), ..self }
    }

    /// Whether `value` lies within the bounds.
    pub fn contains(&self, value: f64) -> bool {
        self.lower <= value && value <= self.upper
    }

    /// The interval within `low..=high`.
    pub fn clamped(self, low: f64, high: f64) -> Self {
        Self {
            estimate: self.estimate.clamp(low, high),
            lower: self.lower.clamp(low, high),
            upper: self.upper.clamp(low, high),
        }
    }
}
