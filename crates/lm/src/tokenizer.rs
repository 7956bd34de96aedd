//! Text to token ids and back.

use std::path::Path;

use crate::Result;

/// A tokenizer with the ids of its special tokens.
pub struct Tokenizer {}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// An unreadable or malformed file.
    pub fn from_file(path: &Path) -> Result<Self> {
        let _ = path;
        unimplemented!()
    }

    /// Ids of `text`; special tokens written out in it are recognised, none are added.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let _ = text;
        unimplemented!()
    }

    /// Ids of `text` as plain text: what looks like a special token is spelled out.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let _ = text;
        unimplemented!()
    }

    /// Text of `ids`, special tokens left out, bytes that are no UTF-8 replaced.
    pub fn decode(&self, ids: &[u32]) -> String {
        let _ = ids;
        unimplemented!()
    }

    /// The token as it stands in the vocabulary, for display.
    pub fn token(&self, id: u32) -> Option<String> {
        let _ = id;
        unimplemented!()
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        unimplemented!()
    }

    /// Ids that end a turn or a text.
    pub fn end_ids(&self) -> &[u32] {
        unimplemented!()
    }
}
