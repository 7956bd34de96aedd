//! The statistics of paired comparisons, written out so that they can be audited.
//!
//! Right/wrong measures are compared by [`mcnemar_exact`]; everything else by the clustered
//! [`Bootstrap`]. Several comparisons are adjusted as one family by [`holm`];
//! [`required_questions`] and [`detectable_difference`] say what a number of questions can show.

mod bootstrap;
mod holm;
mod kappa;
mod mcnemar;
mod normal;
mod power;
mod random;
mod score_interval;

pub use bootstrap::{Bootstrap, Method, Resampled, Row};
pub use holm::holm;
pub use kappa::{MIN_JUDGE_KAPPA, MIN_JUDGE_LABELS, cohens_kappa, judge_is_trustworthy};
pub use mcnemar::mcnemar_exact;
pub use normal::{normal_cdf, normal_quantile, student_quantile};
pub use power::{detectable_difference, questions_for_non_inferiority, required_questions};
pub use random::Random;
pub use score_interval::{tango, wilson};

use serde::{Deserialize, Serialize};

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
