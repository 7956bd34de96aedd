//! What a system costs, and when a dearer start pays off.

use serde::{Deserialize, Serialize};

use crate::{Arm, System};

/// Measured costs of one system. Seconds of this machine are the currency: they need no price list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Whose costs.
    #[serde(alias = "arm")]
    pub system: System,
    /// Seconds to train one adapter (0 without one).
    pub training_seconds: f64,
    /// Seconds to build the index (0 where no passage is retrieved).
    pub index_seconds: f64,
    /// Mean seconds per question; `None` takes the mean latency of the trials, and where the system
    /// is foreign its cost is unknown.
    pub seconds_per_query: Option<f64>,
    /// Mean price per question, in the user's currency, of a foreign system that says it.
    #[serde(default)]
    pub price_per_query: Option<f64>,
    /// Peak memory while answering.
    pub peak_memory_bytes: Option<u64>,
    /// Seconds from an edited document to the first correct answer.
    pub freshness_seconds: Option<f64>,
    /// Points (0..1) lost on a general set against the base model.
    pub forgetting: Option<f64>,
    /// Answers carry citations.
    pub cites: bool,
    /// Answers need a network.
    pub remote: bool,
}

impl Costs {
    /// A system without training, index or known extras; passages in the prompt allow citations.
    pub fn new(system: impl Into<System>) -> Self {
        let system = system.into();
        Self {
            system,
            training_seconds: 0.0,
            index_seconds: 0.0,
            seconds_per_query: None,
            price_per_query: None,
            peak_memory_bytes: None,
            freshness_seconds: None,
            forgetting: None,
            cites: system.arm().is_some_and(Arm::uses_passages),
            remote: false,
        }
    }

    /// Seconds before the first question can be answered.
    pub fn fixed_seconds(&self) -> f64 {
        self.training_seconds + self.index_seconds
    }
}

/// Number of queries from which fine-tuning is cheaper than RAG: `training / (rag per query - tuned
/// per query)`, or `None` ("never") when the denominator is not positive. All arguments in the same
/// unit, here seconds.
pub fn break_even(training: f64, rag_per_query: f64, tuned_per_query: f64) -> Option<f64> {
    let saving = rag_per_query - tuned_per_query;
    let queries = training / saving;
    (saving > 0.0 && queries.is_finite()).then_some(queries.max(0.0))
}

/// Cost of one correct answer over `queries` questions: `(fixed + queries x per query) / (queries x
/// mean score)`. `None` when nothing is ever right or nothing is asked.
pub fn cost_per_correct(fixed: f64, per_query: f64, queries: u64, mean_score: f64) -> Option<f64> {
    let queries = queries as f64;
    let correct = queries * mean_score;
    let cost = (fixed + queries * per_query) / correct;
    (correct > 0.0 && cost.is_finite()).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn break_even_by_hand() {
        assert_eq!(break_even(600.0, 1.5, 0.5), Some(600.0));
        assert_eq!(break_even(600.0, 0.5, 0.5), None);
        assert_eq!(break_even(600.0, 0.4, 0.5), None);
        assert_eq!(break_even(0.0, 1.5, 0.5), Some(0.0));
        assert_eq!(break_even(f64::NAN, 1.5, 0.5), None);
    }

    #[test]
    fn cost_per_correct_by_hand() {
        assert_eq!(cost_per_correct(100.0, 1.0, 100, 0.5), Some(4.0));
        assert_eq!(cost_per_correct(100.0, 1.0, 100, 0.0), None);
        assert_eq!(cost_per_correct(100.0, 1.0, 0, 0.5), None);
    }
}
