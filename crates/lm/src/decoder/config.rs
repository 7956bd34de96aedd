//! What a decoder of the Llama family looks like: sizes, rotary embedding, normalisation.

use crate::{Error, Result};

/// Shape and constants of a decoder of the Llama family (Llama, SmolLM2, Mistral, Qwen2, Qwen3,
/// Gemma 3).
///
/// Weights follow the Hugging Face layout: `[out, in]`, heads contiguous, rotary embedding over the
/// two halves of a head; a norm's weight is what its result is multiplied by (Gemma's files hold
/// one less). Biases of queries, keys and values are not listed here: a tensor that the file holds
/// is used. No other projection may have one.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Number of rows of the embedding.
    pub vocabulary: usize,
    /// Longest sequence, in tokens, that the model was made for.
    pub max_positions: usize,
    /// Added to the mean square before its root is taken.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Change of the rotary frequencies for long contexts.
    pub rope_scaling: RopeScaling,
    /// Whether the output projection is the embedding itself (then there is no `lm_head.weight`).
    pub tied_embeddings: bool,
    /// Activation of the feed-forward gate.
    pub activation: Activation,
    /// Whether each head of queries and keys passes through an RMSNorm before its rotation (Qwen3,
    /// Gemma 3).
    pub query_key_norm: bool,
    /// Whether the outputs of attention and of the feed-forward part pass through an RMSNorm before
    /// they are added to the residual stream (Gemma 3).
    pub post_norms: bool,
    /// Embeddings are multiplied by this when they are read: the square root of `hidden` in Gemma,
    /// 1 elsewhere.
    pub embedding_scale: f32,
    /// Attention scores are divided by the square root of this; `head_dim` in nearly all models.
    pub query_scalar: f32,
    /// Layers that look back over a limited number of tokens.
    pub sliding: Option<Sliding>,
}

/// Activation of the feed-forward gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x / (1 + e⁻ˣ)`.
    #[default]
    Silu,
    /// GELU in its approximation by the hyperbolic tangent.
    GeluTanh,
}

/// Layers that look back over a limited number of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Sliding {
    /// Tokens that a token sees, itself included.
    pub window: usize,
    /// For each layer, whether it is limited.
    pub layers: Vec<bool>,
    /// Base of the rotary frequencies in these layers, which then are not scaled; `None` where they
    /// rotate as all do.
    pub rope_theta: Option<f32>,
}

/// How the rotary frequencies are changed for long contexts.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// All frequencies divided by one factor.
    Linear(f32),
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, blended between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low_frequency` are divided.
        low_frequency: f32,
        /// Wavelengths below `original / high_frequency` are kept.
        high_frequency: f32,
        /// Context length, in tokens, before the extension.
        original: f32,
    },
    /// One divisor for each of the `head_dim / 2` frequencies, as GGUF files store it.
    Factors(Vec<f32>),
}

impl DecoderConfig {
    /// A shape small enough for tests: 2 layers, 6 query heads on 2 key heads, sizes that are no
    /// powers of two.
    pub fn tiny() -> Self {
        Self {
            hidden: 24,
            layers: 2,
            heads: 6,
            kv_heads: 2,
            head_dim: 8,
            intermediate: 40,
            vocabulary: 67,
            max_positions: 256,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            tied_embeddings: true,
            activation: Activation::Silu,
            query_key_norm: false,
            post_norms: false,
            embedding_scale: 1.0,
            query_scalar: 8.0,
            sliding: None,
        }
    }

    /// How many tokens layer `layer` looks back over, the token itself included; `None` = all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let sliding = self.sliding.as_ref()?;
        sliding.layers.get(layer).copied().unwrap_or(false).then_some(sliding.window)
    }

    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together, which is also that of all value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn plain_frequencies(&self, theta: f32) -> impl Iterator<Item = f32> {
        let pairs = self.head_dim / 2;
        (0..pairs).map(move |i| theta.powf(-(i as f32) / pairs as f32))
    }

    /// Like [`rotary_frequencies`](Self::rotary_frequencies), for layers with a sliding window;
    /// `None` where these rotate as all others do.
    pub fn sliding_frequencies(&self) -> Option<Vec<f32>> {
        let theta = self.sliding.as_ref()?.rope_theta?;
        Some(self.plain_frequencies(theta).collect())
    }

    /// Angle, in radians per position, of each of the `head_dim / 2` rotary pairs.
    pub fn rotary_frequencies(&self) -> Vec<f32> {
        let plain = self.plain_frequencies(self.rope_theta);
        match &self.rope_scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear(factor) => plain.map(|f| f / factor).collect(),
            RopeScaling::Factors(factors) => plain.zip(factors).map(|(f, by)| f / by).collect(),
            RopeScaling::Llama3 { factor, low_frequency, high_frequency, original } => plain
                .map(|f| {
                    let turns = original * f / std::f32::consts::TAU;
                    let blend = ((turns - low_frequency) / (high_frequency - low_frequency))
                        .clamp(0.0, 1.0);
                    f * (blend + (1.0 - blend) / factor)
                })
                .collect(),
        }
    }

    /// Hugging Face names of all tensors that a model of this shape may have; those that end in
    /// `.bias` are optional.
    pub fn tensor_names(&self) -> Vec<String> {
        let mut names = vec!["model.embed_tokens.weight".to_owned()];
        for layer in 0..self.layers {
            let of_layer = |rest: &str| format!("model.layers.{layer}.{rest}");
            names.extend(
                ["input_layernorm.weight", "post_attention_layernorm.weight"].map(of_layer),
            );
            if self.post_norms {
                let more =
                    ["pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight"];
                names.extend(more.map(of_layer));
            }
            if self.query_key_norm {
                names.extend(["self_attn.q_norm.weight", "self_attn.k_norm.weight"].map(of_layer));
            }
            for module in ["q_proj", "k_proj", "v_proj"] {
                names.extend(
                    ["weight", "bias"].map(|kind| of_layer(&format!("self_attn.{module}.{kind}"))),
                );
            }
            names.push(of_layer("self_attn.o_proj.weight"));
            for module in ["gate_proj", "up_proj", "down_proj"] {
                names.push(of_layer(&format!("mlp.{module}.weight")));
            }
        }
        names.push("model.norm.weight".to_owned());
        if !self.tied_embeddings {
            names.push("lm_head.weight".to_owned());
        }
        names
    }

    /// Shape of the tensor with this Hugging Face name; `None` for a name that no such model has.
    pub fn tensor_shape(&self, name: &str) -> Option<Vec<usize>> {
        let (module, kind) = name.rsplit_once('.')?;
        let (out, columns) = match module.rsplit('.').next()? {
            "embed_tokens" | "lm_head" => (self.vocabulary, self.hidden),
            "norm"
            | "input_layernorm"
            | "post_attention_layernorm"
            | "pre_feedforward_layernorm"
            | "post_feedforward_layernorm" => return Some(vec![self.hidden]),
            "q_norm" | "k_norm" => return Some(vec![self.head_dim]),
            "q_proj" => (self.query_width(), self.hidden),
            "k_proj" | "v_proj" => (self.kv_width(), self.hidden),
            "o_proj" => (self.hidden, self.query_width()),
            "gate_proj" | "up_proj" => (self.intermediate, self.hidden),
            "down_proj" => (self.hidden, self.intermediate),
            _ => return None,
        };
        Some(if kind == "bias" { vec![out] } else { vec![out, columns] })
    }

    /// Checks once what all later steps rely on.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first value that cannot be.
    pub fn validate(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Config(reason));
        let sizes = [
            ("hidden size", self.hidden, 1 << 17),
            ("number of layers", self.layers, 1 << 12),
            ("number of heads", self.heads, 1 << 12),
            ("number of key/value heads", self.kv_heads, 1 << 12),
            ("head width", self.head_dim, 1 << 12),
            ("feed-forward width", self.intermediate, 1 << 20),
            ("vocabulary", self.vocabulary, 1 << 24),
            ("context length", self.max_positions, 1 << 30),
        ];
        for (name, value, limit) in sizes {
            if value == 0 || value > limit {
                return fail(format!("{name} is {value}, expected 1 to {limit}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return fail(format!(
                "{} heads are not a multiple of {} key/value heads",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return fail(format!("head width {} is odd", self.head_dim));
        }
        if !positive(self.rms_norm_eps) || self.rms_norm_eps > 1.0 {
            return fail(format!("rms_norm_eps is {}", self.rms_norm_eps));
        }
        if !positive(self.rope_theta) {
            return fail(format!("rope_theta is {}", self.rope_theta));
        }
        if !positive(self.embedding_scale) || !positive(self.query_scalar) {
            let (embedding, query) = (self.embedding_scale, self.query_scalar);
            return fail(format!(
                "embedding scale {embedding}, divisor of attention scores {query}"
            ));
        }
        self.check_sliding()?;
        self.check_rope_scaling()
    }

    fn check_sliding(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Config(reason));
        if let Some(Sliding { window, layers, rope_theta }) = &self.sliding {
            if *window == 0 || layers.len() != self.layers {
                return fail(format!(
                    "a sliding window of {window} tokens, said of {} of {} layers",
                    layers.len(),
                    self.layers
                ));
            }
            if let Some(theta) = rope_theta.filter(|theta| !positive(*theta)) {
                return fail(format!("rope_theta of layers with a sliding window is {theta}"));
            }
        }
        Ok(())
    }

    fn check_rope_scaling(&self) -> Result<()> {
        let sound = match &self.rope_scaling {
            RopeScaling::None => true,
            RopeScaling::Linear(factor) => positive(*factor),
            RopeScaling::Factors(factors) => {
                factors.len() == self.head_dim / 2 && factors.iter().all(|f| positive(*f))
            }
            RopeScaling::Llama3 { factor, low_frequency, high_frequency, original } => {
                positive(*factor)
                    && positive(*low_frequency)
                    && high_frequency > low_frequency
                    && positive(*original)
            }
        };
        if !sound {
            let reason = format!("rope scaling {:?} is unusable", self.rope_scaling);
            return Err(Error::Config(reason));
        }
        Ok(())
    }
}

fn positive(x: f32) -> bool {
    x.is_finite() && x > 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn smollm2() -> DecoderConfig {
        DecoderConfig {
            hidden: 576,
            layers: 30,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            intermediate: 1536,
            vocabulary: 49152,
            max_positions: 8192,
            rms_norm_eps: 1e-5,
            rope_theta: 100_000.0,
            query_scalar: 64.0,
            ..DecoderConfig::tiny()
        }
    }

    #[test]
    fn rotary_frequencies_fall_from_one_to_nearly_one_over_theta() {
        let config = smollm2();
        let frequencies = config.rotary_frequencies();
        assert_eq!(frequencies.len(), 32);
        assert_eq!(frequencies[0], 1.0);
        assert!((frequencies[16] - 100_000f32.powf(-0.5)).abs() < 1e-8);
        assert!(frequencies.windows(2).all(|w| w[1] < w[0]));
    }

    #[test]
    fn llama3_scaling_keeps_high_frequencies_and_divides_low_ones() {
        let plain = smollm2();
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency: 1.0,
            high_frequency: 4.0,
            original: 8192.0,
        };
        let scaled = DecoderConfig { rope_scaling: scaling, ..plain.clone() };
        let (a, b) = (plain.rotary_frequencies(), scaled.rotary_frequencies());
        assert_eq!(a[0], b[0]);
        assert!((b[31] * 8.0 / a[31] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        smollm2().validate().unwrap();
        let cases: [fn(&mut DecoderConfig); 9] = [
            |c| c.query_scalar = 0.0,
            |c| c.embedding_scale = f32::INFINITY,
            |c| c.sliding = Some(Sliding { window: 0, layers: vec![true; 30], rope_theta: None }),
            |c| c.layers = 0,
            |c| c.kv_heads = 2,
            |c| c.head_dim = 63,
            |c| c.vocabulary = usize::MAX,
            |c| c.rope_theta = f32::NAN,
            |c| c.rope_scaling = RopeScaling::Factors(vec![1.0; 31]),
        ];
        for change in cases {
            let mut config = smollm2();
            change(&mut config);
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}
