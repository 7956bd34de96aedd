//! One example of a dataset.

use crate::language::Message;

/// One training example: a conversation whose last message, from the assistant, is what the model
/// learns to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// At least one message, the last one from the assistant and not empty.
    pub messages: Vec<Message>,
    /// The row's own `id`, if it has one.
    pub id: Option<String>,
    /// Rows of one group must stay on one side of a split (same source document, same customer, …).
    pub group: Option<String>,
    /// Line in the file, counted from 1.
    pub line: usize,
}
