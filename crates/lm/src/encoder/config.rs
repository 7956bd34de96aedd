//! Shape and constants of a BERT model, and its tensors by name.

use std::path::Path;

use serde_json::Value;

use crate::files::Shards;
use crate::{Error, Result};

/// What `config.json` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BertConfig {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Width inside a feed-forward block.
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
    pub(super) types: usize,
    pub(super) eps: f32,
}

impl BertConfig {
    /// Reads `config`, the JSON at `path`.
    pub(super) fn read(config: &Value, path: &Path) -> Result<Self> {
        let unsupported = |what: String| Error::Unsupported { path: path.to_owned(), what };
        let expect = |key: &str, wanted: &str| match config[key].as_str() {
            None => Ok(()),
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(unsupported(format!("`{key}` = `{found}` (expected `{wanted}`)"))),
        };
        expect("model_type", "bert")?;
        expect("hidden_act", "gelu")?;
        expect("position_embedding_type", "absolute")?;
        let number = |key: &str| match config[key].as_u64() {
            Some(n) if (1..=1 << 20).contains(&n) => Ok(n as usize),
            _ => {
                Err(Error::Config(format!("`{key}`: expected 1 to 1048576, found {}", config[key])))
            }
        };
        let (hidden, heads) = (number("hidden_size")?, number("num_attention_heads")?);
        if !hidden.is_multiple_of(heads) {
            return Err(Error::Config(format!(
                "width {hidden} is not a multiple of {heads} heads"
            )));
        }
        Ok(Self {
            hidden,
            heads,
            inner: number("intermediate_size")?,
            layers: number("num_hidden_layers")?,
            vocabulary: number("vocab_size")?,
            positions: number("max_position_embeddings")?,
            types: number("type_vocab_size")?,
            eps: config["layer_norm_eps"].as_f64().unwrap_or(1e-12) as f32,
        })
    }
}

/// Reads the tensors of a model by their bare names.
pub(super) struct BertTensors<'a> {
    shards: &'a Shards,
    path: &'a Path,
    /// Some exports keep the name of the model in front.
    prefix: &'static str,
}

impl<'a> BertTensors<'a> {
    /// Of the files of the model whose `config.json` is at `path`.
    pub(super) fn of(shards: &'a Shards, path: &'a Path) -> Result<Self> {
        let bare = shards.tensor("embeddings.LayerNorm.weight")?.is_some();
        Ok(Self { shards, path, prefix: if bare { "" } else { "bert." } })
    }

    /// The name that a tensor has in the file.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The numbers of a tensor that must have this shape.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let name = self.full_name(name);
        match self.shards.tensor(&name)? {
            None => Err(Error::MissingTensor { path: self.path.to_owned(), name }),
            Some(tensor) if tensor.shape != shape => {
                Err(Error::Shape { name, expected: shape.to_vec(), found: tensor.shape })
            }
            Some(tensor) => Ok(tensor.data),
        }
    }
}
