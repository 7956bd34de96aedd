//! Sentence embeddings with a BERT encoder.

use std::path::Path;

use crate::Result;

/// A BERT encoder with mean pooling and unit-length output.
pub struct Encoder {}

impl Encoder {
    /// Opens a folder with `config.json`, `tokenizer.json` and `model.safetensors`.
    ///
    /// # Errors
    /// Unreadable, malformed or unsupported files, with the reason.
    pub fn open(folder: &Path) -> Result<Self> {
        let _ = folder;
        unimplemented!()
    }

    /// One vector of [`Encoder::dim`] values and length 1 for each text, in the order of the texts. A text is cut
    /// at [`Encoder::max_tokens`].
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`].
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let _ = texts;
        unimplemented!()
    }

    /// Number of values of a vector.
    pub fn dim(&self) -> usize {
        unimplemented!()
    }

    /// Longest text in tokens, the two framing tokens included.
    pub fn max_tokens(&self) -> usize {
        unimplemented!()
    }

    /// SHA-256, in hex, of the weights and the tokenizer.
    pub fn identity(&self) -> &str {
        unimplemented!()
    }
}
