//! A model written as a Hugging Face folder.

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::{Value, json};

use super::folder::{config_json, is_norm};
use super::source::Source;
use super::tensor::Tensor;
use crate::{Error, Result};

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
        let (json, norms_hold_one_less) = config_json(config, biases, end)?;
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
        self.save_weights(&folder.join("model.safetensors"), norms_hold_one_less)
    }

    /// Writes all tensors in f32.
    fn save_weights(&self, path: &Path, norms_hold_one_less: bool) -> Result<()> {
        let mut tensors = Vec::new();
        for name in self.config.tensor_names() {
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
        let fail = |e: safetensors::SafeTensorError| Error::Io {
            path: path.to_owned(),
            source: std::io::Error::other(e),
        };
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        serialize_to_file(views, None, path).map_err(fail)
    }
}
