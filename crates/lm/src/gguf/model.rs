//! A GGUF file as a model: its metadata read as configuration, tokenizer and template, its tensors by their
//! Hugging Face names.

use super::{Gguf, Value};
use crate::source::Tensor;
use crate::tokenizer::{ByteLevelBpe, Digits};
use crate::{ChatTemplate, DecoderConfig, Result, RopeScaling, Tokenizer};

/// Token types of `tokenizer.ggml.token_type`.
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

impl Gguf {
    /// Sizes and constants, from the keys `ARCHITECTURE.*`.
    pub(crate) fn decoder_config(&self) -> Result<DecoderConfig> {
        let architecture = self.architecture()?;
        if self.number_or(&self.key("expert_count")?, 0)? > 0 {
            return Err(self.unsupported("a mixture of experts"));
        }
        let hidden = self.number(&self.key("embedding_length")?)?;
        let heads = self.number(&self.key("attention.head_count")?)?;
        if heads == 0 {
            return Err(self.malformed("no attention heads"));
        }
        let head_dim = self.number_or(&self.key("attention.key_length")?, hidden / heads)?;
        let value_dim = self.number_or(&self.key("attention.value_length")?, head_dim)?;
        let rotary_dim = self.number_or(&self.key("rope.dimension_count")?, head_dim)?;
        if value_dim != head_dim || rotary_dim != head_dim {
            return Err(self.unsupported(format!(
                "a head with {head_dim} key, {value_dim} value and {rotary_dim} rotary dimensions"
            )));
        }
        let vocabulary = match self.shape("token_embd.weight") {
            Some([rows, columns]) if *columns == hidden => *rows,
            Some(shape) => return Err(self.malformed(format!("the embedding has shape {shape:?}"))),
            None => return Err(self.malformed("no tensor `token_embd.weight`")),
        };
        let window = self.number_or(&self.key("attention.sliding_window")?, usize::MAX)?;
        let config = DecoderConfig {
            hidden,
            layers: self.number(&self.key("block_count")?)?,
            heads,
            kv_heads: self.number_or(&self.key("attention.head_count_kv")?, heads)?,
            head_dim,
            intermediate: self.number(&self.key("feed_forward_length")?)?,
            vocabulary,
            // Within the window, sliding attention is full attention: a shorter context keeps it exact.
            max_positions: self.number(&self.key("context_length")?)?.min(window.max(1)),
            rms_norm_eps: self.float(&self.key("attention.layer_norm_rms_epsilon")?)?.unwrap_or(1e-5),
            rope_theta: self.float(&self.key("rope.freq_base")?)?.unwrap_or(10_000.0),
            rope_scaling: self.rope_scaling(architecture)?,
            tied_embeddings: self.shape("output.weight").is_none(),
        };
        config.validate()?;
        Ok(config)
    }

    fn rope_scaling(&self, architecture: &str) -> Result<RopeScaling> {
        // Llama 3.1 files carry their scaling as one divisor for each frequency.
        if let Some(factors) = self.read("rope_freqs.weight") {
            return Ok(RopeScaling::Factors(factors.data));
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

    /// The tokenizer stored in the file.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => {}
            Some(other) => return Err(self.unsupported(format!("tokenizer model `{other}`"))),
            None => return Err(self.malformed("no `tokenizer.ggml.model`")),
        }
        let pre_tokenizer = self.text("tokenizer.ggml.pre").unwrap_or("gpt2");
        let digits = match pre_tokenizer {
            "gpt2" | "gpt-2" => Digits::Together,
            "smollm" | "starcoder" | "refact" | "command-r" => Digits::Singly,
            "qwen2" => Digits::Qwen2,
            "llama-bpe" | "llama3" | "llama-v3" => Digits::Llama3,
            other => return Err(self.unsupported(format!("pre-tokenizer `{other}`"))),
        };
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let merges = self.texts("tokenizer.ggml.merges")?;
        let types: &[f64] = match self.value("tokenizer.ggml.token_type") {
            Some(Value::Numbers(types)) => types,
            _ => &[],
        };
        let of_type = |wanted: f64| {
            let typed = types.iter().zip(0u32..).filter(move |(kind, _)| **kind == wanted);
            typed.map(|(_, id)| id).filter(|id| (*id as usize) < tokens.len()).collect()
        };
        let ids = |keys: &[&str]| -> Result<Vec<u32>> {
            let mut found = Vec::new();
            for key in keys {
                if self.value(key).is_some() {
                    found.push(self.number(key)? as u32);
                }
            }
            Ok(found)
        };
        Tokenizer::from_byte_level(ByteLevelBpe {
            tokens,
            merges,
            digits,
            special: of_type(CONTROL),
            added: of_type(USER_DEFINED),
            begin: ids(&["tokenizer.ggml.bos_token_id"])?.first().copied(),
            end: ids(&["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"])?,
        })
    }

    /// The chat template stored in the file.
    pub(crate) fn template(&self, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        match self.text("tokenizer.chat_template") {
            Some(template) => ChatTemplate::new(template, tokenizer),
            None => Err(self.unsupported("a model without a chat template (a base model?)")),
        }
    }

    /// The tensor with this Hugging Face name, in Hugging Face layout.
    pub(crate) fn tensor(&self, name: &str, config: &DecoderConfig) -> Result<Option<Tensor>> {
        let Some(stored) = stored_name(name) else { return Ok(None) };
        let Some(mut tensor) = self.read(&stored) else { return Ok(None) };
        let heads = match stored.split('.').nth(2) {
            Some("attn_q") => config.heads,
            Some("attn_k") => config.kv_heads,
            _ => 0,
        };
        if heads > 0 && self.architecture()? == "llama" {
            let rows = tensor.shape.first().copied().unwrap_or(0);
            if rows != heads * config.head_dim {
                return Err(self.malformed(format!("tensor `{stored}` has {rows} rows for {heads} heads")));
            }
            tensor.data = halves_from_pairs(&tensor.data, rows, config.head_dim);
        }
        Ok(Some(tensor))
    }

    fn architecture(&self) -> Result<&str> {
        match self.text("general.architecture") {
            Some(name @ ("llama" | "qwen2")) => Ok(name),
            Some(other) => Err(self.unsupported(format!("architecture `{other}`"))),
            None => Err(self.malformed("no `general.architecture`")),
        }
    }

    fn key(&self, suffix: &str) -> Result<String> {
        Ok(format!("{}.{suffix}", self.architecture()?))
    }

    fn number(&self, key: &str) -> Result<usize> {
        match self.value(key) {
            Some(Value::Integer(n)) => {
                usize::try_from(*n).map_err(|_| self.malformed(format!("metadata `{key}` is {n}")))
            }
            Some(other) => {
                Err(self.malformed(format!("metadata `{key}`: expected a number, found {other:?}")))
            }
            None => Err(self.malformed(format!("no metadata `{key}`"))),
        }
    }

    fn number_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.value(key).is_none() { Ok(default) } else { self.number(key) }
    }

    fn float(&self, key: &str) -> Result<Option<f32>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(*x as f32)),
            Some(other) => {
                Err(self.malformed(format!("metadata `{key}`: expected a float, found {other:?}")))
            }
        }
    }

    fn texts(&self, key: &str) -> Result<&[String]> {
        match self.value(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(self.malformed(format!("no list of strings `{key}`"))),
        }
    }
}

/// GGUF name of a tensor of the Llama family, given its Hugging Face name.
fn stored_name(name: &str) -> Option<String> {
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
        "post_attention_layernorm" => "ffn_norm",
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

/// Rows of each head reordered from rotary pairs side by side (0, 1 | 2, 3 | …), as llama.cpp stores them, to
/// pairs over the two halves of the head, as Hugging Face does.
fn halves_from_pairs(data: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let columns = data.len() / rows.max(1);
    let mut out = Vec::with_capacity(data.len());
    for row in 0..rows {
        let (head, within) = (row / head_dim, row % head_dim);
        let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
        let from = (head * head_dim + 2 * pair + half) * columns;
        out.extend_from_slice(&data[from..from + columns]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugging_face_names_map_to_stored_ones() {
        let stored = |name: &str| stored_name(name).unwrap_or_default();
        assert_eq!(stored("model.layers.7.self_attn.q_proj.weight"), "blk.7.attn_q.weight");
        assert_eq!(stored("model.layers.7.self_attn.q_proj.bias"), "blk.7.attn_q.bias");
        assert_eq!(stored("lm_head.weight"), "output.weight");
        assert_eq!(stored("model.layers.x.mlp.up_proj.weight"), "");
        assert_eq!(stored("model.layers.1.mlp.up_proj.scale"), "");
    }

    #[test]
    fn rotary_pairs_are_spread_over_the_halves_of_each_head() {
        let rows: Vec<f32> = (0..8).map(|i| i as f32).collect();
        assert_eq!(halves_from_pairs(&rows, 8, 4), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
