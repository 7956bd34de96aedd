//! `config.json` of the Llama family, read. What would change the result and is not done here is
//! refused.

use serde_json::Value;

use super::Folder;
use super::family::Family;
use crate::{Activation, DecoderConfig, Error, Result, RopeScaling, Sliding};

/// Keys that change what a model computes, in ways that are not done here; `null`, `false` and 0
/// mean that they do not.
const UNSUPPORTED: [(&str, &str); 10] = [
    ("quantization_config", "quantised weights in safetensors"),
    ("attention_bias", "a bias on the output of attention"),
    ("mlp_bias", "a bias in the feed-forward part"),
    ("final_logit_softcapping", "soft-capping of logits"),
    ("attn_logit_softcapping", "soft-capping of attention scores"),
    ("use_bidirectional_attention", "attention to later tokens"),
    ("num_local_experts", "a mixture of experts"),
    ("num_experts", "a mixture of experts"),
    ("add_cross_attention", "cross-attention"),
    ("vision_config", "an image encoder"),
];

/// Parts of tensor names that no configuration mentions and nothing depends on.
const IGNORED: &str = "rotary_emb.inv_freq";

impl Folder {
    /// `config.json` as a decoder.
    pub(crate) fn decoder_config(&self) -> Result<DecoderConfig> {
        let family = self.family()?;
        for (key, what) in UNSUPPORTED {
            match &self.config[key] {
                Value::Null | Value::Bool(false) => {}
                Value::Number(number) if number.as_f64() == Some(0.0) => {}
                _ => return Err(self.unsupported(format!("{what} (`{key}`)"))),
            }
        }
        if self.rope("partial_rotary_factor").is_some_and(|factor| factor != 1.0) {
            return Err(self
                .unsupported("rotation of a part of each head (`partial_rotary_factor`)".into()));
        }
        let hidden = self.number("hidden_size")?;
        let heads = self.number("num_attention_heads")?;
        let layers = self.number("num_hidden_layers")?;
        let gemma = family == Family::Gemma3;
        let default_head = if gemma { 256 } else { hidden / heads.max(1) };
        let head_dim = self.number_or("head_dim", default_head)?;
        let config = DecoderConfig {
            hidden,
            layers,
            heads,
            kv_heads: self.number_or("num_key_value_heads", heads)?,
            head_dim,
            intermediate: self.number("intermediate_size")?,
            vocabulary: self.number("vocab_size")?,
            max_positions: self.number("max_position_embeddings")?,
            rms_norm_eps: self.float("rms_norm_eps").unwrap_or(1e-6),
            rope_theta: self.rope("rope_theta").unwrap_or(if gemma { 1e6 } else { 1e4 }),
            rope_scaling: self.rope_scaling()?,
            tied_embeddings: self.config["tie_word_embeddings"].as_bool().unwrap_or(gemma),
            activation: self.activation(family)?,
            query_key_norm: matches!(family, Family::Qwen3 | Family::Gemma3),
            post_norms: gemma,
            embedding_scale: if gemma { (hidden as f32).sqrt() } else { 1.0 },
            query_scalar: match self.float("query_pre_attn_scalar") {
                Some(scalar) if gemma => scalar,
                _ if gemma => 256.0,
                _ => head_dim as f32,
            },
            sliding: self.sliding(family, layers)?,
        };
        config.validate()?;
        self.check_names(&config)?;
        Ok(config)
    }

    /// Whether the files hold the weights of norms less one, as Gemma's do.
    pub(super) fn norms_hold_one_less(&self) -> bool {
        self.text("model_type") == Some("gemma3_text")
    }

    fn family(&self) -> Result<Family> {
        let name = self.text("model_type").unwrap_or("(none)");
        if name == "gemma3" {
            return Err(self.unsupported("Gemma 3 with images (its text model alone is)".into()));
        }
        Family::ALL
            .into_iter()
            .find(|family| family.names().0 == name)
            .ok_or_else(|| self.unsupported(format!("architecture `{name}`")))
    }

    fn activation(&self, family: Family) -> Result<Activation> {
        let key = if family == Family::Gemma3 { "hidden_activation" } else { "hidden_act" };
        match self.text(key) {
            None if family == Family::Gemma3 => Ok(Activation::GeluTanh),
            None | Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some(other) => Err(self.unsupported(format!("activation `{other}`"))),
        }
    }

    /// Which layers slide: those that `layer_types` names; before there was such a list, all of
    /// Mistral's, those of Qwen's from `max_window_layers` on, and five of six of Gemma's.
    fn sliding(&self, family: Family, layers: usize) -> Result<Option<Sliding>> {
        let switched_off = matches!(family, Family::Qwen2 | Family::Qwen3)
            && !self.config["use_sliding_window"].as_bool().unwrap_or(false);
        if self.config["sliding_window"].is_null() || switched_off || family == Family::Llama {
            let listed = self.config["layer_types"].as_array().is_some_and(|types| {
                types.iter().any(|kind| kind.as_str() == Some("sliding_attention"))
            });
            return match listed {
                true => {
                    Err(self
                        .unsupported("`layer_types` with sliding attention but no window".into()))
                }
                false => Ok(None),
            };
        }
        let limited = self.sliding_layers(family, layers)?;
        let rope_theta = (family == Family::Gemma3).then(|| {
            let nested = &self.config["rope_parameters"]["sliding_attention"];
            let theta =
                nested["rope_theta"].as_f64().or(self.config["rope_local_base_freq"].as_f64());
            theta.map_or(1e4, |theta| theta as f32)
        });
        let scaled = self.config["rope_parameters"]["sliding_attention"]["rope_type"].as_str();
        if let Some(kind) = scaled.filter(|kind| *kind != "default") {
            return Err(
                self.unsupported(format!("rope scaling `{kind}` in layers with a sliding window"))
            );
        }
        let any = limited.contains(&true) || limited.len() != layers;
        let window = self.number("sliding_window")?;
        Ok(any.then_some(Sliding { window, layers: limited, rope_theta }))
    }

    /// For each layer, whether it slides.
    fn sliding_layers(&self, family: Family, layers: usize) -> Result<Vec<bool>> {
        Ok(match (&self.config["layer_types"], family) {
            (Value::Array(types), _) => types
                .iter()
                .map(|kind| match kind.as_str() {
                    Some("sliding_attention") => Ok(true),
                    Some("full_attention") => Ok(false),
                    _ => Err(self.unsupported(format!("layer type {kind}"))),
                })
                .collect::<Result<Vec<bool>>>()?,
            (_, Family::Qwen2 | Family::Qwen3) => {
                let first = self.number_or("max_window_layers", 28)?;
                (0..layers).map(|layer| layer >= first).collect()
            }
            (_, Family::Gemma3) => {
                let (new, old) = ("_sliding_window_pattern", "sliding_window_pattern");
                let pattern = self.number_or(new, self.number_or(old, 6)?)?;
                if pattern == 0 {
                    return Err(self.unsupported(format!("a `{old}` of 0")));
                }
                (0..layers).map(|layer| (layer + 1) % pattern != 0).collect()
            }
            _ => vec![true; layers],
        })
    }

    /// Where rotary settings stand: in `rope_parameters` since transformers 5 (there by the kind of
    /// layer where kinds differ), in `rope_scaling` or at the top before.
    fn rope_places(&self) -> [&Value; 4] {
        let parameters = &self.config["rope_parameters"];
        [&parameters["full_attention"], parameters, &self.config["rope_scaling"], &self.config]
    }

    fn rope(&self, key: &str) -> Option<f32> {
        self.rope_places().into_iter().find_map(|place| place[key].as_f64()).map(|x| x as f32)
    }

    fn rope_scaling(&self) -> Result<RopeScaling> {
        let mut places = self.rope_places().into_iter().take(3);
        let kind = places.find_map(|place| place["rope_type"].as_str().or(place["type"].as_str()));
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
            Some(other) => Err(self.unsupported(format!("rope scaling `{other}`"))),
        }
    }

    /// A tensor that the decoder would never ask for is a part of the model that it does not have.
    fn check_names(&self, config: &DecoderConfig) -> Result<()> {
        let mut known = config.tensor_names();
        known.sort_unstable();
        let unknown = |name: &&str| {
            let tied_copy = config.tied_embeddings && *name == "lm_head.weight";
            known.binary_search_by(|known| known.as_str().cmp(name)).is_err()
                && !tied_copy
                && !name.contains(IGNORED)
        };
        match self.names().find(unknown) {
            Some(name) => {
                let what = format!(
                    "tensor `{name}` in a model of type `{}`",
                    self.text("model_type").unwrap_or("")
                );
                Err(Error::Unsupported { path: self.path.clone(), what })
            }
            None => Ok(()),
        }
    }

    fn unsupported(&self, what: String) -> Error {
        Error::Unsupported { path: self.path.join("config.json"), what }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config[key].as_str()
    }

    fn number(&self, key: &str) -> Result<usize> {
        let number = self.config[key].as_u64().and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| {
            let found = &self.config[key];
            let reason = format!("`{key}`: expected a whole number, found {found}");
            Error::malformed(&self.path.join("config.json"), "config.json")(reason)
        })
    }

    fn number_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.config[key].is_null() { Ok(default) } else { self.number(key) }
    }

    fn float(&self, key: &str) -> Option<f32> {
        self.config[key].as_f64().map(|x| x as f32)
    }
}
