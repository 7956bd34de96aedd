//! A Hugging Face model folder: `config.json`, `tokenizer.json`, chat template, safetensors; read, and written.

use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::{Value, json};

use crate::safetensors::Shards;
use crate::source::{Tensor, fingerprint};
use crate::{ChatTemplate, DecoderConfig, Error, Result, RopeScaling, Source, Tokenizer};

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
        self.shards.tensor(name)
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_file(&self.path.join("tokenizer.json"))
    }

    /// From `chat_template.jinja`, or else from `tokenizer_config.json`, where it is a text or a list of named ones.
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
        let missing =
            || Error::Unsupported { path, what: "a model without a chat template (a base model?)".into() };
        ChatTemplate::new(template.ok_or_else(missing)?, tokenizer)
    }

    /// Hash of everything that bears on an answer.
    pub(crate) fn identity(&self) -> String {
        let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
        let texts = names.map(|name| std::fs::read(self.path.join(name)).unwrap_or_default());
        fingerprint(texts.iter().map(Vec::as_slice).chain(self.shards.bytes()))
    }

    /// `config.json` as a decoder.
    pub(crate) fn decoder_config(&self) -> Result<DecoderConfig> {
        let unsupported =
            |what: String| Err(Error::Unsupported { path: self.path.join("config.json"), what });
        match self.text("model_type") {
            Some("llama" | "mistral" | "qwen2") => {}
            other => return unsupported(format!("architecture `{}`", other.unwrap_or("(none)"))),
        }
        match self.text("hidden_act") {
            None | Some("silu") => {}
            Some(other) => return unsupported(format!("activation `{other}`")),
        }
        let hidden = self.number("hidden_size")?;
        let heads = self.number("num_attention_heads")?;
        let window = match (&self.config["use_sliding_window"], &self.config["sliding_window"]) {
            (Value::Bool(false), _) => usize::MAX,
            (_, Value::Number(window)) => window.as_u64().map_or(usize::MAX, |n| n as usize),
            _ => usize::MAX,
        };
        let config = DecoderConfig {
            hidden,
            layers: self.number("num_hidden_layers")?,
            heads,
            kv_heads: self.number_or("num_key_value_heads", heads)?,
            head_dim: self.number_or("head_dim", hidden / heads.max(1))?,
            intermediate: self.number("intermediate_size")?,
            vocabulary: self.number("vocab_size")?,
            // Within the window, sliding attention is full attention: a shorter context keeps it exact.
            max_positions: self.number("max_position_embeddings")?.min(window),
            rms_norm_eps: self.float("rms_norm_eps").unwrap_or(1e-6),
            rope_theta: self.rope("rope_theta").unwrap_or(10_000.0),
            rope_scaling: self.rope_scaling()?,
            tied_embeddings: self.config["tie_word_embeddings"].as_bool().unwrap_or(false),
        };
        config.validate()?;
        Ok(config)
    }

    /// A rotary setting: in `rope_parameters` since transformers 5, in `rope_scaling` or at the top before.
    fn rope(&self, key: &str) -> Option<f32> {
        let places = [&self.config["rope_parameters"], &self.config["rope_scaling"], &self.config];
        places.into_iter().find_map(|place| place[key].as_f64()).map(|x| x as f32)
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let places = [&self.config["rope_parameters"], &self.config["rope_scaling"]];
        let kind =
            places.into_iter().find_map(|place| place["rope_type"].as_str().or(place["type"].as_str()));
        let value = |key: &str| {
            self.rope(key).ok_or_else(|| {
                Error::Config(format!("rope scaling `{}` without `{key}`", kind.unwrap_or("")))
            })
        };
        match kind {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear(value("factor")?)),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: value("factor")?,
                low_frequency: value("low_freq_factor")?,
                high_frequency: value("high_freq_factor")?,
                original: value("original_max_position_embeddings")?,
            }),
            Some(other) => Err(Error::Unsupported {
                path: self.path.join("config.json"),
                what: format!("rope scaling `{other}`"),
            }),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config[key].as_str()
    }

    fn number(&self, key: &str) -> Result<usize> {
        let number = self.config[key].as_u64().and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| Error::Malformed {
            path: self.path.join("config.json"),
            format: "config.json",
            reason: format!("`{key}`: expected a whole number, found {}", self.config[key]),
        })
    }

    fn number_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.config[key].is_null() { Ok(default) } else { self.number(key) }
    }

    fn float(&self, key: &str) -> Option<f32> {
        self.config[key].as_f64().map(|x| x as f32)
    }
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
    /// Writes the model as a Hugging Face folder with f32 weights, which [`Source::open`] and transformers read.
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
        write(
            "config.json",
            &json!({
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "hidden_act": "silu",
                "hidden_size": config.hidden,
                "num_hidden_layers": config.layers,
                "num_attention_heads": config.heads,
                "num_key_value_heads": config.kv_heads,
                "head_dim": config.head_dim,
                "intermediate_size": config.intermediate,
                "vocab_size": config.vocabulary,
                "max_position_embeddings": config.max_positions,
                "rms_norm_eps": config.rms_norm_eps,
                "rope_theta": config.rope_theta,
                "rope_scaling": scaling_json(&config.rope_scaling)?,
                "tie_word_embeddings": config.tied_embeddings,
                "eos_token_id": end,
                "torch_dtype": "float32",
            }),
        )?;
        write(
            "tokenizer_config.json",
            &json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": self.tokenizer.begin_token(),
                "eos_token": end.first().and_then(|id| self.tokenizer.token(*id)),
                "chat_template": self.template.source(),
            }),
        )?;
        self.tokenizer.save(&folder.join("tokenizer.json"))?;

        let mut tensors = Vec::new();
        for name in config.tensor_names() {
            let optional = name.ends_with(".bias");
            let tensor = if optional { self.find_tensor(&name)? } else { Some(self.tensor(&name)?) };
            if let Some(Tensor { shape, data }) = tensor {
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
            .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        serialize_to_file(views, None, &path).map_err(fail)
    }
}

fn scaling_json(scaling: &RopeScaling) -> Result<Value> {
    Ok(match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear(factor) => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_frequency, high_frequency, original } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency,
            "high_freq_factor": high_frequency,
            "original_max_position_embeddings": original,
        }),
        RopeScaling::Factors(_) => {
            return Err(Error::Config("rope factors of a GGUF file have no form in config.json".into()));
        }
    })
}
