//! The text of ids that arrive one by one.

use super::Tokenizer;

/// Turns ids that arrive one by one into text, holding back characters whose bytes are not yet
/// complete.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// The ids from here on give the text that decoding needs as context.
    context: usize,
    /// The ids before this one have been handed out.
    done: usize,
}

impl<'a> TextStream<'a> {
    /// An empty stream.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, ids: Vec::new(), context: 0, done: 0 }
    }

    /// The text that `id` completes; often empty inside a character of several bytes.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        self.take(false)
    }

    /// What was held back, with replacement characters for bytes that never became complete.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> String {
        let before = self.tokenizer.decode(&self.ids[self.context..self.done]);
        let now = self.tokenizer.decode(&self.ids[self.context..]);
        if now.ends_with(char::REPLACEMENT_CHARACTER) && !all {
            return String::new();
        }
        let new = now.strip_prefix(before.as_str()).unwrap_or_default().to_owned();
        if !new.is_empty() {
            self.context = self.done;
            self.done = self.ids.len();
        }
        new
    }
}
