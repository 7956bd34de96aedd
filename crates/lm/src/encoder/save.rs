//! The folder of a trained model, in the layout that sentence-transformers loads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::config::BertTensors;
use super::parameters::ParameterLayout;
use crate::files::float_file::{self, Floats, Values};
use crate::files::{Shards, read_json};
use crate::{Error, Result};

/// Files of a model folder that stay as they are.
const KEPT: [&str; 6] = [
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// Writes `values` into `folder`, which is made when missing; everything else is that of `base`.
///
/// Weights are written in f32. The weights come last: a folder whose writing was interrupted is no
/// model.
pub(super) fn save(
    layout: &ParameterLayout,
    values: &[f32],
    base: &Path,
    max_tokens: usize,
    folder: &Path,
) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let weights = folder.join("model.safetensors");
    if weights.exists() {
        fs::remove_file(&weights).map_err(Error::io(&weights))?;
    }
    for name in KEPT {
        let (from, to) = (base.join(name), folder.join(name));
        if from.exists() {
            fs::copy(&from, &to).map_err(Error::io(&to))?;
        }
    }
    let config = base.join("config.json");
    let described = read_json(&config)?;
    let settings = folder.join("sentence_bert_config.json");
    if !settings.exists() {
        write_json(&settings, &json!({"max_seq_length": max_tokens, "do_lower_case": false}))?;
    }
    write_json(&folder.join("modules.json"), &modules())?;
    let pooling = folder.join("1_Pooling");
    fs::create_dir_all(&pooling).map_err(Error::io(&pooling))?;
    write_json(&pooling.join("config.json"), &pooling_of(&described["hidden_size"]))?;
    write_json(&folder.join("config.json"), &in_f32(described))?;

    let shards = Shards::open(base)?;
    let names = BertTensors::of(&shards, &config)?;
    let trained = layout.tensors().iter().map(|(name, shape, range)| Floats {
        name: names.full_name(name),
        shape: shape.clone(),
        values: Values::Single(&values[range.clone()]),
    });
    let mut all: Vec<Floats<'_>> = trained.collect();
    // What is not trained (a pooler that sentence vectors do not use) goes along unchanged; tensors
    // of whole numbers are constants that readers make themselves.
    let mut others = Vec::new();
    for name in shards.float_names().filter(|name| all.iter().all(|tensor| tensor.name != *name)) {
        others.extend(shards.tensor(name)?.map(|tensor| (name, tensor)));
    }
    all.extend(others.iter().map(|(name, tensor)| Floats {
        name: (*name).to_owned(),
        shape: tensor.shape.clone(),
        values: Values::Single(&tensor.data),
    }));
    float_file::write(&weights, &all, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))
}

/// The configuration, for weights in f32.
fn in_f32(mut config: Value) -> Value {
    for key in ["dtype", "torch_dtype"] {
        if let Some(kind) = config.get_mut(key) {
            *kind = json!("float32");
        }
    }
    config
}

/// The mean over all tokens.
fn pooling_of(width: &Value) -> Value {
    json!({
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": false,
        "pooling_mode_mean_tokens": true,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    })
}

/// Encoder, mean, unit length.
fn modules() -> Value {
    let module = |at: usize, path: &str, kind: &str| json!({"idx": at, "name": at.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}")});
    json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Normalize", "Normalize")
    ])
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).map_err(Error::io(path))
}
