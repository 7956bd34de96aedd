//! What templates do about system prompts, and what is done about that.

use std::borrow::Cow;

use super::{Message, Role};
use crate::Result;

/// The system prompt of a conversation that has none, for templates that would otherwise write one
/// of their own, in which the model's maker introduces the model by its name.
pub const NEUTRAL_SYSTEM: &str = "You are a helpful assistant.";

/// What a template does about the system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemPrompts {
    /// It writes the one that is given, and none where none is.
    Kept,
    /// It writes one of its own where none is given.
    Supplied,
    /// It takes none.
    Refused,
}

/// Words that no template holds.
const INSTRUCTION: &str = "zq-instruction-zq";
const QUESTION: &str = "zq-question-zq";

impl SystemPrompts {
    /// Finds out by rendering a question with and without a system prompt.
    pub(super) fn of(render: impl Fn(&[Message]) -> Result<String>) -> Self {
        let messages =
            [Message::new(Role::System, INSTRUCTION), Message::new(Role::User, QUESTION)];
        let Ok(without) = render(&messages[1..]) else { return Self::Kept };
        let Ok(with) = render(&messages) else { return Self::Refused };
        let Some((before, after)) = with.split_once(INSTRUCTION) else { return Self::Kept };
        // Whatever then stands in the place of the system prompt is the template's own.
        let own = without.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        if own.is_some_and(|own| !own.trim().is_empty()) { Self::Supplied } else { Self::Kept }
    }

    /// The conversation to render for `messages`.
    pub(super) fn complete(self, messages: &[Message]) -> Cow<'_, [Message]> {
        match (self, messages) {
            (Self::Supplied, [first, ..]) if first.role != Role::System => {
                let neutral = Message::new(Role::System, NEUTRAL_SYSTEM);
                Cow::Owned([&[neutral][..], messages].concat())
            }
            (Self::Refused, [system, user, rest @ ..])
                if system.role == Role::System && user.role == Role::User =>
            {
                let both = format!("{}\n\n{}", system.content, user.content);
                Cow::Owned([&[Message::new(Role::User, both)][..], rest].concat())
            }
            _ => Cow::Borrowed(messages),
        }
    }
}
