//! What holds RAG back: each of its errors gets one class and so one remedy.

use serde::{Deserialize, Serialize};

use crate::{Interval, Trial};

/// Why RAG got a question wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The gold evidence was not retrieved, and with it the base model is right.
    Retrieval,
    /// The gold evidence was retrieved, yet only without the other passages is the base model right.
    Distraction,
    /// No arm is right, but the gold answer stands in what RAG or the oracle arm said.
    Format,
    /// Wrong even with the gold passage, right for an arm that learnt from pairs.
    Learnable,
    /// No arm is right: a wrong label, a missing document, or a model that can't.
    Defect,
    /// Can't be told: the oracle arm is missing, or it is right and nobody knows whether evidence was retrieved.
    Unknown,
}

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Retrieval, Self::Distraction, Self::Format, Self::Learnable, Self::Defect, Self::Unknown];

    /// The class as a phrase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrieval => "retrieval-bound",
            Self::Distraction => "distraction-bound",
            Self::Format => "format-bound",
            Self::Learnable => "reasoning-bound, learnable",
            Self::Defect => "data or capability defect",
            Self::Unknown => "not attributable",
        }
    }

    /// What helps.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Retrieval => "chunking, hybrid weight, reranker, tuned embedder",
            Self::Distraction => "fewer passages, reranking, RAFT",
            Self::Format => "few-shot, constrained output, fine-tuning",
            Self::Learnable => "fine-tuning",
            Self::Defect => "fix labels or documents, larger model",
            Self::Unknown => "name the evidence of the questions and run the oracle arm",
        }
    }
}

/// RAG's errors by class, and how much each remedy could gain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attribution {
    /// Questions graded under `rag`.
    pub questions: usize,
    /// Of these, right.
    pub right: usize,
    /// Errors per class, in table order; classes without errors are present with 0.
    pub counts: Vec<(Class, usize)>,
    /// oracle - rag: what perfect retrieval would gain.
    pub retrieval: Option<Interval>,
    /// raft+oracle - oracle: what learning from pairs gains when retrieval is perfect.
    pub learnable: Option<Interval>,
    /// raft - rag: what fine-tuning on passages has gained.
    pub realised: Option<Interval>,
    /// Share of `rag` questions with known evidence for which it was retrieved.
    pub evidence_retrieved: Option<f64>,
}

impl Attribution {
    /// Errors of one class.
    pub fn count(&self, class: Class) -> usize {
        self.counts.iter().find(|(other, _)| *other == class).map_or(0, |(_, count)| *count)
    }

    /// RAG's errors.
    pub fn errors(&self) -> usize {
        self.questions - self.right
    }

    /// Share of errors in one class; 0 without errors.
    pub fn share(&self, class: Class) -> f64 {
        if self.errors() == 0 { 0.0 } else { self.count(class) as f64 / self.errors() as f64 }
    }
}

/// Classifies every question that `rag` got wrong, and measures the three headrooms.
///
/// `resamples` and `seed` drive the bootstrap of the headrooms; `alpha` is the two-sided level (0.05).
pub fn attribute(_trials: &[Trial], _alpha: f64, _resamples: usize, _seed: u64) -> Attribution {
    unimplemented!()
}
