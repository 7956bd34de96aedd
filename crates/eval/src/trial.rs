//! One system answering one question.

use serde::{Deserialize, Serialize};

use crate::System;

/// One system's answer to one question, graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Question.
    pub qid: String,
    /// What the question shares with others that would be right or wrong together: the source
    /// document, or the near-duplicate group. Intervals resample clusters. A question alone is its
    /// own cluster.
    pub cluster: String,
    /// Who answered.
    #[serde(alias = "arm")]
    pub system: System,
    /// Training seed of the adapter; 0 for systems without one.
    #[serde(default)]
    pub seed: u64,
    /// Primary measure in 0..=1; `None` when the grader failed. A missing trial is never a zero.
    pub score: Option<f64>,
    /// The gold answer stands somewhere in the answer (see [`lenient`](crate::lenient)).
    pub lenient: bool,
    /// Whether the gold evidence was among the passages in the prompt; `None` when the question
    /// names no evidence or the system uses no passages.
    pub evidence_retrieved: Option<bool>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Seconds from question to last token.
    pub latency_seconds: f64,
    /// Seconds from question to first token.
    pub first_token_seconds: f64,
    /// The answer was cut at its greatest length, which makes it wrong.
    #[serde(default)]
    pub cut: bool,
    /// What is wrong with the form of the answer, or why its grader failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The system declined to answer.
    pub abstained: bool,
    /// The answer as given.
    pub answer: String,
}

/// From this score on an answer counts as right where a yes or no is needed (attribution, example
/// answers). Right/wrong measures give 0 or 1, so this matters to token F1 and ROUGE-L alone.
pub const RIGHT: f64 = 0.5;

impl Trial {
    /// An empty, ungraded trial of `system`, to be filled in.
    pub fn new(system: impl Into<System>) -> Self {
        let system = system.into();
        Self {
            qid: String::new(),
            cluster: String::new(),
            system,
            seed: 0,
            score: None,
            lenient: false,
            evidence_retrieved: None,
            prompt_tokens: 0,
            completion_tokens: 0,
            latency_seconds: 0.0,
            first_token_seconds: 0.0,
            cut: false,
            problem: None,
            abstained: false,
            answer: String::new(),
        }
    }

    /// Right, wrong, or not graded.
    pub fn right(&self) -> Option<bool> {
        self.score.map(|score| score >= RIGHT)
    }
}
