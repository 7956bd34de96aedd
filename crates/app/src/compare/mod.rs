//! Arms x questions -> trials -> measures: what a decision is made from.
//!
//! Dev first: retrieval is tuned on one half of it, and `rag` and `oracle` run on the other, from
//! which the ceiling gate is read. The fine-tuned arms are trained when it opens or the user asks.
//! Only then is the test split opened, which the store logs with what is frozen from then on, and
//! every arm runs on it, beside two baselines on the training answers. Trials are kept under a hash
//! of all they depend on, so a repeated comparison costs nothing and a changed input runs again.

mod bench;
pub mod check;
mod control;
mod costs;
mod curve;
pub mod decide;
mod estimate;
mod event;
mod floor;
mod foreign;
mod forgetting;
mod halves;
mod labels;
mod length;
mod looks;
mod pairs;
mod plan;
mod problems;
mod record;
#[cfg(test)]
mod tests;
mod training;
mod trials;
mod tuning;

pub use bench::Bench;
pub use event::{CompareEvent, CompareOptions, TrialDone};
pub use halves::DevUse;
pub use labels::ArmLabels;
pub use length::{AnswerLength, LengthSource};
pub use plan::{ArmChoice, ComparisonEstimate};
pub use problems::AnswerProblem;
pub use record::{Comparison, RerankFinding, TrainingRecord};
pub use trials::EngineSpeed;

#[cfg(test)]
pub(crate) fn question(text: &str, answer: &str) -> crate::questions::Question {
    crate::questions::Question {
        id: text.to_owned(),
        instruction: String::new(),
        text: text.to_owned(),
        answers: vec![answer.to_owned()],
        patterns: Vec::new(),
        evidence: Vec::new(),
        paraphrases: Vec::new(),
        slice: None,
        completion: answer.to_owned(),
        group: None,
        split: crate::questions::Split::Train,
        place: crate::questions::Place::default(),
    }
}
