//! A Hugging Face model folder, read: `config.json`, `tokenizer.json`, chat template, safetensors.

mod config;
mod family;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::identity::Identity;
use super::safetensors::Shards;
use super::tensor::Tensor;
use crate::{ChatTemplate, Error, Result, Tokenizer};

pub(super) use family::config_json;

/// An open folder.
pub(crate) struct Folder {
    path: PathBuf,
    config: Value,
    shards: Shards,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let config = read_json(&path.join("config.json"))?;
        Ok(Self { path: path.to_owned(), config, shards: Shards::open(path)? })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor of this name.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let mut tensor = self.shards.tensor(name)?;
        if let Some(tensor) =
            tensor.as_mut().filter(|_| self.norms_hold_one_less() && is_norm(name))
        {
            tensor.data.iter_mut().for_each(|weight| *weight += 1.0);
        }
        Ok(tensor)
    }

    /// Names of all tensors.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.shards.names()
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_file(&self.path.join("tokenizer.json"))
    }

    /// From `chat_template.jinja`, or else from `tokenizer_config.json`, where it is a text or a
    /// list of named ones.
    pub(crate) fn template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        let own_file = self.path.join("chat_template.jinja");
        if own_file.exists() {
            let template = std::fs::read_to_string(&own_file).map_err(Error::io(&own_file))?;
            return ChatTemplate::new(&template, tokenizer);
        }
        let path = self.path.join("tokenizer_config.json");
        let settings = read_json(&path)?;
        let template = match &settings["chat_template"] {
            Value::String(template) => Some(template.as_str()),
            Value::Array(named) => {
                let default = named.iter().find(|entry| entry["name"] == "default");
                default.and_then(|entry| entry["template"].as_str())
            }
            _ => None,
        };
        match template {
            Some(template) => ChatTemplate::new(template, tokenizer),
            None => Ok(ChatTemplate::absent()),
        }
    }

    /// Hash of everything that bears on an answer.
    pub(crate) fn identity(&self) -> Result<Identity> {
        let names =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
        let texts = names.map(|name| std::fs::read(self.path.join(name)).unwrap_or_default());
        Identity::of(texts.into(), self.shards.files())
    }
}

/// Whether a tensor of this name is the weight of a norm.
pub(super) fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(Error::malformed(path, "JSON"))
}
