//! A question and how it is to be answered.

use eval::Arm;
use lm::{GenerateOptions, Message};
use store::Filter;

use crate::project::config::SetConfig;
use crate::project::keys::Access;

/// A threshold below which no relevance is.
pub const NEVER_ABSTAIN: f32 = -1.0;

/// A question and how to answer it.
#[derive(Clone, Debug, Default)]
pub struct AskRequest<'a> {
    /// The question.
    pub question: &'a str,
    /// The question set whose instruction, limits and winning arm hold; `None` answers from the
    /// documents.
    pub set: Option<&'a SetConfig>,
    /// The arm; `None` takes the winner of the set, and retrieval without one.
    pub arm: Option<Arm>,
    /// Turns of the conversation before the question, the oldest first.
    pub history: &'a [Message],
    /// Overrides the set's instruction.
    pub instruction: Option<&'a str>,
    /// Overrides the configured number of passages.
    pub passages: Option<usize>,
    /// Which documents may be found, of those that the set may.
    pub filter: Filter,
    /// Overrides the threshold for abstaining; [`NEVER_ABSTAIN`] answers everything.
    pub abstain_below: Option<f32>,
    /// What the asker may read. Nothing else reaches the answer, not even through examples or
    /// adapters.
    pub access: Access,
    /// Overrides the set's longest answer.
    pub max_tokens: Option<usize>,
    /// How tokens are drawn; its `max_tokens` and `scope` are not looked at.
    pub sampling: GenerateOptions,
}
