//! Where a model comes from: a GGUF file or a Hugging Face folder, seen through one door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::gguf::Gguf;
pub(crate) use super::gguf::Stored;
use super::identity::Identity;
use super::tensor::Tensor;
use crate::{ChatTemplate, DecoderConfig, Error, Result, Tokenizer};

/// An opened model: configuration, tokenizer, chat template, and its tensors by name, read on
/// demand.
pub struct Source {
    /// Shape and constants of the decoder.
    pub config: DecoderConfig,
    /// The tokenizer that belongs to the weights.
    pub tokenizer: Tokenizer,
    /// The chat template that belongs to the weights.
    pub template: ChatTemplate,
    pub(crate) identity: Identity,
    weights: Weights,
}

pub(crate) enum Weights {
    Gguf(Gguf),
    Folder(Folder),
    Memory(BTreeMap<String, Tensor>),
}

impl Source {
    /// Opens a `.gguf` file or a folder with `config.json`, `tokenizer.json` and `*.safetensors`.
    ///
    /// # Errors
    /// Unreadable, malformed or unsupported files, with the reason.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).map_err(Error::of_model(path))
    }

    fn read(path: &Path) -> Result<Self> {
        let Parts { config, identity, weights } = Parts::open(path)?;
        let (tokenizer, template) = weights.language()?;
        Self::new(config, tokenizer, template, identity, weights)
    }

    /// SHA-256, in hex, of the file or of all files of the folder that bear on an answer. Computed
    /// when first asked for.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a file has been written since it was opened.
    pub fn identity(&self) -> Result<&str> {
        self.identity.get()
    }

    pub(crate) fn new(
        config: DecoderConfig,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        identity: Identity,
        weights: Weights,
    ) -> Result<Self> {
        check_vocabulary(&tokenizer, &config)?;
        Ok(Self { config, tokenizer, template, identity, weights })
    }

    /// The tensor with this Hugging Face name (`model.layers.0.self_attn.q_proj.weight`),
    /// dequantised, in Hugging Face layout whatever the file's own.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] when there is none; a malformed file.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.find_tensor(name)?.ok_or_else(|| self.weights.missing(name))
    }

    /// Like [`Source::tensor`], but `None` when the model has no tensor of this name (biases,
    /// `lm_head.weight`).
    ///
    /// # Errors
    /// A malformed file.
    pub fn find_tensor(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.weights.tensor(name, &self.config)?.map(Stored::into_tensor))
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }
}

/// What is known of a model before its tokenizer is built.
pub(crate) struct Parts {
    pub(crate) config: DecoderConfig,
    pub(crate) identity: Identity,
    pub(crate) weights: Weights,
}

impl Parts {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let folder = Folder::open(path)?;
            let (config, identity) = (folder.decoder_config()?, folder.identity()?);
            Ok(Self { config, identity, weights: Weights::Folder(folder) })
        } else {
            let file = Gguf::open(path)?;
            let (config, identity) = (file.decoder_config()?, file.identity()?);
            Ok(Self { config, identity, weights: Weights::Gguf(file) })
        }
    }
}

/// More tokens than rows would let a prompt name a row that does not exist; models pad the other
/// way.
pub(crate) fn check_vocabulary(tokenizer: &Tokenizer, config: &DecoderConfig) -> Result<()> {
    if tokenizer.vocabulary() > config.vocabulary {
        let (tokens, rows) = (tokenizer.vocabulary(), config.vocabulary);
        return Err(Error::Config(format!(
            "the tokenizer has {tokens} tokens, the embedding {rows} rows"
        )));
    }
    Ok(())
}

impl Weights {
    /// Tokenizer and chat template.
    pub(crate) fn language(&self) -> Result<(Tokenizer, ChatTemplate)> {
        let tokenizer = match self {
            Self::Gguf(file) => file.tokenizer()?,
            Self::Folder(folder) => folder.tokenizer()?,
            Self::Memory(_) => {
                return Err(Error::tokenizer("a model in memory has its own"));
            }
        };
        let template = match self {
            Self::Gguf(file) => file.template(&tokenizer)?,
            Self::Folder(folder) => folder.template(&tokenizer)?,
            Self::Memory(_) => ChatTemplate::absent(),
        };
        Ok((tokenizer, template))
    }

    /// Where the model was read from, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Gguf(file) => file.path().to_owned(),
            Self::Folder(folder) => folder.path().to_owned(),
            Self::Memory(_) => PathBuf::from("(memory)"),
        }
    }

    pub(crate) fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { path: self.path(), name: name.to_owned() }
    }

    /// The tensor with this Hugging Face name.
    pub(crate) fn tensor(&self, name: &str, config: &DecoderConfig) -> Result<Option<Stored<'_>>> {
        match self {
            Self::Gguf(file) => file.tensor(name, config),
            Self::Folder(folder) => Ok(folder.tensor(name)?.map(Stored::Floats)),
            Self::Memory(tensors) => Ok(tensors.get(name).cloned().map(Stored::Floats)),
        }
    }
}
