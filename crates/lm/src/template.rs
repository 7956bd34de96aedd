//! The one renderer of prompts: serving, training and evaluation all pass through here.

use serde::{Deserialize, Serialize};

use crate::{Result, Tokenizer};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instruction that governs the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// Token ids of an example with a mask of the same length: 1 = trained (predicted from what stands before it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Prompt, completion, end token.
    pub ids: Vec<u32>,
    /// 0 on the prompt, 1 on the completion and its end token.
    pub mask: Vec<u8>,
}

/// A model's chat template (Jinja), compiled once, run without file access, with bounded work and output.
pub struct ChatTemplate {}

impl ChatTemplate {
    /// The text of a conversation, for people to read. Ids come from [`ChatTemplate::prompt_ids`].
    ///
    /// # Errors
    /// [`crate::Error::Template`] when the template refuses the conversation or exceeds its bounds.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let _ = (messages, add_generation_prompt);
        unimplemented!()
    }

    /// The ids that the model is given to answer `messages`: the template's text with the generation prompt.
    /// What looks like a special token inside a message's content is encoded as plain text, so no content can
    /// end its turn.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; [`crate::Error::Tokenizer`].
    pub fn prompt_ids(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>> {
        let _ = (tokenizer, messages);
        unimplemented!()
    }

    /// Ids and mask of an example whose last message is the assistant's: [`ChatTemplate::prompt_ids`] of what
    /// stands before it, then the completion and its end token. Earlier assistant turns are context only.
    ///
    /// # Errors
    /// [`crate::Error::NoTrainableToken`] when the last message is not the assistant's or is empty.
    pub fn example_ids(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Rendered> {
        let _ = (tokenizer, messages);
        unimplemented!()
    }
}
