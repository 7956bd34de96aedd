//! The rule.

use crate::{Decision, DecisionInput, Error};

/// Decides between RAG, fine-tuning, both, or neither.
pub fn decide(_input: &DecisionInput) -> Result<Decision, Error> {
    unimplemented!()
}
