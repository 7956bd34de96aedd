//! A GGUF file as a model: its metadata read as configuration and template, its tensors by their
//! Hugging Face names.

use std::collections::BTreeSet;

use super::coded::paired_row;
use super::header::Value;
use super::{Gguf, Stored};
use crate::{Activation, ChatTemplate, DecoderConfig, Result, RopeScaling, Sliding, Tokenizer};

/// Metadata of an architecture that is read, or that says nothing about the result. Any other would
/// be a part of the model that is not done here.
const KNOWN: [&str; 19] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
];

/// The tensor that holds a divisor for each rotary frequency.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// One in so many layers of Gemma 3 sees everything; files do not say so.
const GEMMA3_PATTERN: usize = 6;
/// Rotary base of Gemma 3's layers with a sliding window; files do not say so.
const GEMMA3_SLIDING_THETA: f32 = 10_000.0;
/// Layers of Gemma 3's largest model, which alone scales attention scores by another number than
/// the head's width.
const GEMMA3_27B_LAYERS: usize = 62;

impl Gguf {
    /// Sizes and constants, from the keys `ARCHITECTURE.*`.
    pub(crate) fn decoder_config(&self) -> Result<DecoderConfig> {
        let architecture = self.architecture()?;
        self.check_keys(architecture)?;
        if self.number_or(&self.key("expert_count")?, 0)? > 0 {
            return Err(self.unsupported("a mixture of experts"));
        }
        let hidden = self.number(&self.key("embedding_length")?)?;
        let heads = self.number(&self.key("attention.head_count")?)?;
        if heads == 0 {
            return Err(self.malformed("no attention heads"));
        }
        let head_dim = self.head_dim(hidden / heads)?;
        let vocabulary = self.embedding_rows(hidden)?;
        let layers = self.number(&self.key("block_count")?)?;
        let gemma = architecture == "gemma3";
        let config = DecoderConfig {
            hidden,
            layers,
            heads,
            kv_heads: self.number_or(&self.key("attention.head_count_kv")?, heads)?,
            head_dim,
            intermediate: self.number(&self.key("feed_forward_length")?)?,
            vocabulary,
            max_positions: self.number(&self.key("context_length")?)?,
            rms_norm_eps: self
                .float(&self.key("attention.layer_norm_rms_epsilon")?)?
                .unwrap_or(1e-5),
            rope_theta: self.float(&self.key("rope.freq_base")?)?.unwrap_or(if gemma {
                1e6
            } else {
                1e4
            }),
            rope_scaling: self.rope_scaling(architecture)?,
            tied_embeddings: self.shape("output.weight").is_none(),
            activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
            query_key_norm: matches!(architecture, "qwen3" | "gemma3"),
            post_norms: gemma,
            embedding_scale: if gemma { (hidden as f32).sqrt() } else { 1.0 },
            query_scalar: match gemma && layers == GEMMA3_27B_LAYERS {
                true => (hidden / heads) as f32,
                false => head_dim as f32,
            },
            sliding: None,
        };
        // The number of layers is within its bound before a list of them is made.
        config.validate()?;
        let config = DecoderConfig { sliding: self.sliding(architecture, layers)?, ..config };
        config.validate()?;
        self.check_names(&config)?;
        Ok(config)
    }

    /// Width of a head: that of its keys, values and rotation, which must agree.
    fn head_dim(&self, default: usize) -> Result<usize> {
        let head_dim = self.number_or(&self.key("attention.key_length")?, default)?;
        let value_dim = self.number_or(&self.key("attention.value_length")?, head_dim)?;
        let rotary_dim = self.number_or(&self.key("rope.dimension_count")?, head_dim)?;
        if value_dim != head_dim || rotary_dim != head_dim {
            return Err(self.unsupported(format!(
                "a head with {head_dim} key, {value_dim} value and {rotary_dim} rotary dimensions"
            )));
        }
        Ok(head_dim)
    }

    /// Rows of the embedding, whose columns must be `hidden`.
    fn embedding_rows(&self, hidden: usize) -> Result<usize> {
        match self.shape("token_embd.weight") {
            Some([rows, columns]) if *columns == hidden => Ok(*rows),
            Some(shape) => {
                let reason =
                    format!("the embedding has shape {shape:?}, expected rows of {hidden}");
                Err(self.malformed(reason))
            }
            None => Err(self.malformed("no tensor `token_embd.weight`")),
        }
    }

    fn sliding(&self, architecture: &str, layers: usize) -> Result<Option<Sliding>> {
        let key = format!("{architecture}.attention.sliding_window");
        if self.value(&key).is_none() {
            return Ok(None);
        }
        let window = self.number(&key)?;
        match architecture {
            "gemma3" => Ok(Some(Sliding {
                window,
                layers: (1..=layers).map(|layer| !layer.is_multiple_of(GEMMA3_PATTERN)).collect(),
                rope_theta: Some(GEMMA3_SLIDING_THETA),
            })),
            // Mistral, whose layers are all alike.
            "llama" => Ok(Some(Sliding { window, layers: vec![true; layers], rope_theta: None })),
            _ => Err(self.unsupported(format!("`{key}`, which does not say which layers slide,"))),
        }
    }

    fn check_keys(&self, architecture: &str) -> Result<()> {
        let own = self
            .metadata
            .keys()
            .filter_map(|key| key.strip_prefix(architecture)?.strip_prefix('.'));
        match own.into_iter().find(|key| !KNOWN.contains(key)) {
            Some(key) => Err(self.unsupported(format!("metadata `{architecture}.{key}`"))),
            None => Ok(()),
        }
    }

    /// A tensor that the decoder would never ask for is a part of the model that it does not have.
    fn check_names(&self, config: &DecoderConfig) -> Result<()> {
        let asked = |name: String| stored_name(&name, config.post_norms);
        let known: BTreeSet<String> = config.tensor_names().into_iter().filter_map(asked).collect();
        match self.tensors.keys().find(|name| !known.contains(*name) && *name != ROPE_FACTORS) {
            Some(name) => {
                Err(self.unsupported(format!("tensor `{name}` in a model of this architecture")))
            }
            None => Ok(()),
        }
    }

    fn rope_scaling(&self, architecture: &str) -> Result<RopeScaling> {
        // Llama 3.1 files carry their scaling as one divisor for each frequency.
        if let Some(factors) = self.read(ROPE_FACTORS) {
            return Ok(RopeScaling::Factors(factors.into_tensor().data));
        }
        match self.text(&format!("{architecture}.rope.scaling.type")) {
            None | Some("none") => Ok(RopeScaling::None),
            Some("linear") => {
                let factor = self.float(&format!("{architecture}.rope.scaling.factor"))?;
                Ok(RopeScaling::Linear(factor.unwrap_or(1.0)))
            }
            Some(other) => Err(self.unsupported(format!("rope scaling `{other}`"))),
        }
    }

    /// The chat template stored in the file.
    pub(crate) fn template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        match self.text("tokenizer.chat_template") {
            Some(template) => ChatTemplate::new(template, tokenizer),
            None => Ok(ChatTemplate::absent()),
        }
    }

    /// The tensor with this Hugging Face name, in Hugging Face layout.
    pub(crate) fn tensor(&self, name: &str, config: &DecoderConfig) -> Result<Option<Stored<'_>>> {
        let Some(stored) = stored_name(name, config.post_norms) else { return Ok(None) };
        let Some(mut tensor) = self.read(&stored) else { return Ok(None) };
        let heads = match stored.split('.').nth(2) {
            Some("attn_q") => config.heads,
            Some("attn_k") => config.kv_heads,
            _ => 0,
        };
        if heads > 0 && self.architecture()? == "llama" {
            let rows = tensor.shape().first().copied().unwrap_or(0);
            if rows != heads * config.head_dim {
                return Err(
                    self.malformed(format!("tensor `{stored}` has {rows} rows for {heads} heads"))
                );
            }
            match &mut tensor {
                Stored::Coded(coded) => coded.head_dim = Some(config.head_dim),
                Stored::Floats(tensor) => {
                    let columns = tensor.data.len() / rows;
                    let row =
                        |row| &tensor.data[paired_row(row, config.head_dim) * columns..][..columns];
                    tensor.data = (0..rows).flat_map(row).copied().collect();
                }
            }
        }
        Ok(Some(tensor))
    }

    fn architecture(&self) -> Result<&str> {
        match self.text("general.architecture") {
            Some(name @ ("llama" | "qwen2" | "qwen3" | "gemma3")) => Ok(name),
            Some(other) => Err(self.unsupported(format!("architecture `{other}`"))),
            None => Err(self.malformed("no `general.architecture`")),
        }
    }

    fn key(&self, suffix: &str) -> Result<String> {
        Ok(format!("{}.{suffix}", self.architecture()?))
    }

    pub(super) fn number(&self, key: &str) -> Result<usize> {
        match self.value(key) {
            Some(Value::Integer(n)) => {
                usize::try_from(*n).map_err(|_| self.malformed(format!("metadata `{key}` is {n}")))
            }
            Some(other) => Err(self.malformed(format!(
                "metadata `{key}`: expected a number, found {}",
                other.describe()
            ))),
            None => Err(self.malformed(format!("no metadata `{key}`"))),
        }
    }

    pub(super) fn number_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.value(key).is_none() { Ok(default) } else { self.number(key) }
    }

    fn float(&self, key: &str) -> Result<Option<f32>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(*x as f32)),
            Some(other) => Err(self.malformed(format!(
                "metadata `{key}`: expected a float, found {}",
                other.describe()
            ))),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<&[String]> {
        match self.value(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(self.malformed(format!("no list of strings `{key}`"))),
        }
    }
}

/// GGUF name of a tensor of the Llama family, given its Hugging Face name. The norm before the
/// feed-forward part is called by its place after attention, except in models that have norms there
/// besides.
fn stored_name(name: &str, post_norms: bool) -> Option<String> {
    let top = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(top) = top {
        return Some(top.to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (module, kind) = rest.rsplit_once('.')?;
    let module = match module {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" if post_norms => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    matches!(kind, "weight" | "bias").then(|| format!("blk.{layer}.{module}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugging_face_names_map_to_stored_ones() {
        let stored = |name: &str| stored_name(name, false).unwrap_or_default();
        let gemma = |part: &str| {
            stored_name(&format!("model.layers.1.{part}.weight"), true).unwrap_or_default()
        };
        assert_eq!(
            stored("model.layers.1.post_attention_layernorm.weight"),
            "blk.1.ffn_norm.weight"
        );
        assert_eq!(gemma("post_attention_layernorm"), "blk.1.post_attention_norm.weight");
        assert_eq!(gemma("pre_feedforward_layernorm"), "blk.1.ffn_norm.weight");
        assert_eq!(stored("model.layers.7.self_attn.q_proj.weight"), "blk.7.attn_q.weight");
        assert_eq!(stored("model.layers.7.self_attn.q_proj.bias"), "blk.7.attn_q.bias");
        assert_eq!(stored("lm_head.weight"), "output.weight");
        assert_eq!(stored("model.layers.x.mlp.up_proj.weight"), "");
        assert_eq!(stored("model.layers.1.mlp.up_proj.scale"), "");
    }
}
