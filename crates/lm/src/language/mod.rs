//! Which token ids does a text become, and which text do ids spell?
//!
//! In go texts and conversations; out come ids, by the tokenizer and the chat template that belong
//! to a model. Content that spells out a special token stays content on the whole way.

pub(crate) mod template;
pub(crate) mod tokenizer;

pub use template::{ChatTemplate, Message, NEUTRAL_SYSTEM, Rendered, Role};
pub use tokenizer::{TextStream, Tokenizer};
