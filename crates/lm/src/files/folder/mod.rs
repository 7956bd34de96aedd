//! A Hugging Face model folder: `config.json`, `tokenizer.json`, chat template, safetensors; read,
//! and written.

mod config;

use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::{Value, json};

use crate::files::identity::Identity;
use crate::files::safetensors::Shards;
use crate::files::source::Tensor;
use crate::{ChatTemplate, Error, Result, Source, Tokenizer};

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
fn is_norm(name: &str) -> bool {
    name.ends_with("norm.weight")
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Malformed {
        path: path.to_owned(),
        format: "JSON",
        reason: e.to_string(),
    })
}

impl Source {
    /// Writes the model as a Hugging Face folder with f32 weights, which [`Source::open`] and
    /// transformers read.
    ///
    /// # Errors
    /// [`Error::Io`]; those of reading the tensors.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let write = |name: &str, json: &Value| {
            let path = folder.join(name);
            std::fs::write(&path, format!("{json:#}\n")).map_err(Error::io(&path))
        };
        let config = &self.config;
        let end = self.tokenizer.end_ids();
        let biases = self.find_tensor("model.layers.0.self_attn.q_proj.bias")?.is_some();
        let (json, norms_hold_one_less) = config::json(config, biases, end)?;
        write("config.json", &json)?;
        write(
            "tokenizer_config.json",
            &json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": self.tokenizer.begin_token(),
                "eos_token": end.first().and_then(|id| self.tokenizer.token(*id)),
                "chat_template": self.template.exists().then(|| self.template.source()),
            }),
        )?;
        self.tokenizer.save(&folder.join("tokenizer.json"))?;

        let mut tensors = Vec::new();
        for name in config.tensor_names() {
            let optional = name.ends_with(".bias");
            let tensor =
                if optional { self.find_tensor(&name)? } else { Some(self.tensor(&name)?) };
            if let Some(Tensor { shape, mut data }) = tensor {
                if norms_hold_one_less && is_norm(&name) {
                    data.iter_mut().for_each(|weight| *weight -= 1.0);
                }
                let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
                tensors.push((name, shape, bytes));
            }
        }
        let path = folder.join("model.safetensors");
        let fail = |e: safetensors::SafeTensorError| Error::Io {
            path: path.clone(),
            source: std::io::Error::other(e),
        };
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        serialize_to_file(views, None, &path).map_err(fail)
    }
}
