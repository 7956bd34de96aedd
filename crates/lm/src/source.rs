//! Where a model comes from: a GGUF file or a Hugging Face folder, seen through one door.

use std::path::Path;

use crate::{ChatTemplate, DecoderConfig, Result, Tokenizer};

/// A tensor in f32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first: `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub data: Vec<f32>,
}

/// An opened model: configuration, tokenizer, chat template, and its tensors by name, read on demand.
pub struct Source {
    /// Shape and constants of the decoder.
    pub config: DecoderConfig,
    /// The tokenizer that belongs to the weights.
    pub tokenizer: Tokenizer,
    /// The chat template that belongs to the weights.
    pub template: ChatTemplate,
    /// SHA-256, in hex, of the file or of all files of the folder.
    pub identity: String,
}

impl Source {
    /// Opens a `.gguf` file or a folder with `config.json`, `tokenizer.json` and `*.safetensors`.
    ///
    /// # Errors
    /// Unreadable, malformed or unsupported files, with the reason.
    pub fn open(path: &Path) -> Result<Self> {
        let _ = path;
        unimplemented!()
    }

    /// The tensor with this Hugging Face name (`model.layers.0.self_attn.q_proj.weight`), dequantised, in
    /// Hugging Face layout whatever the file's own.
    ///
    /// # Errors
    /// [`crate::Error::MissingTensor`] when there is none; a malformed file.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let _ = name;
        unimplemented!()
    }

    /// Like [`Source::tensor`], but `None` when the model has no tensor of this name (biases, `lm_head.weight`).
    ///
    /// # Errors
    /// A malformed file.
    pub fn find_tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let _ = name;
        unimplemented!()
    }

    /// A tiny seeded model held in memory, for tests: byte vocabulary, ChatML template, 2 layers, width 32.
    pub fn tiny(seed: u64) -> Self {
        let _ = seed;
        unimplemented!()
    }
}
