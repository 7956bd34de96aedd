//! From named tensors to a decoder with packed weights.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Decoder;
use super::layer::{Layer, RotationKind};
use crate::files::gguf::Coded;
use crate::files::source::Stored;
use crate::kernels::PackedWeights;
use crate::ops::{HeadNorms, Heads};
use crate::{DecoderConfig, Error, Isa, Precision, Result, Tensor};

/// Gives a tensor by its Hugging Face name; `None` means that there is none.
type Ask<'a, 'b> = &'b mut dyn FnMut(&str) -> Result<Option<Stored<'a>>>;

/// Asks for tensors and checks their shapes.
struct Tensors<'a, 'b> {
    tensor: Ask<'a, 'b>,
    precision: Precision,
}

impl<'a> Tensors<'a, '_> {
    fn find(&mut self, name: &str, expected: &[usize]) -> Result<Option<Stored<'a>>> {
        let Some(tensor) = (self.tensor)(name)? else { return Ok(None) };
        let found = tensor.shape();
        let whole = match &tensor {
            Stored::Floats(tensor) => tensor.data.len() == expected.iter().product::<usize>(),
            Stored::Coded(_) => true,
        };
        if found != expected || !whole {
            return Err(Error::Shape { name: name.to_owned(), expected: expected.to_vec(), found });
        }
        Ok(Some(tensor))
    }

    fn get(&mut self, name: &str, expected: &[usize]) -> Result<Stored<'a>> {
        self.find(name, expected)?.ok_or_else(|| Error::MissingTensor {
            path: PathBuf::from("(in memory)"),
            name: name.to_owned(),
        })
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        Ok(self.get(name, &[length])?.into_tensor().data)
    }

    /// Matrices `[outputs, inputs]` with the same inputs, stacked into one.
    fn stacked(&mut self, parts: &[(String, usize)], inputs: usize) -> Result<PackedWeights> {
        let outputs = parts.iter().map(|part| part.1).sum();
        let matrices = parts
            .iter()
            .map(|(name, outputs)| self.get(&format!("{name}.weight"), &[*outputs, inputs]))
            .collect::<Result<Vec<_>>>()?;
        if let Some(weights) = coded(&matrices, outputs, inputs, self.precision) {
            return Ok(weights);
        }
        let mut weights = Vec::with_capacity(outputs * inputs);
        for matrix in matrices {
            weights.extend(matrix.into_tensor().data);
        }
        Ok(PackedWeights::new(weights, outputs, inputs, self.precision))
    }

    /// The biases of stacked projections: `None` where none has one, zeros where only some have.
    fn biases(&mut self, parts: &[(String, usize)]) -> Result<Option<Vec<f32>>> {
        let mut bias = Vec::new();
        let mut any = false;
        for (name, outputs) in parts {
            match self.find(&format!("{name}.bias"), &[*outputs])? {
                Some(part) => {
                    any = true;
                    bias.extend(part.into_tensor().data);
                }
                None => bias.resize(bias.len() + outputs, 0.0),
            }
        }
        Ok(any.then_some(bias))
    }

    fn layer(&mut self, config: &DecoderConfig, index: usize) -> Result<Layer> {
        let (hidden, query, kv) = (config.hidden, config.query_width(), config.kv_width());
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let qkv = [
            (name("self_attn.q_proj"), query),
            (name("self_attn.k_proj"), kv),
            (name("self_attn.v_proj"), kv),
        ];
        let gate_up = [
            (name("mlp.gate_proj"), config.intermediate),
            (name("mlp.up_proj"), config.intermediate),
        ];
        let window = config.window(index);
        let own_rotation =
            config.sliding.as_ref().is_some_and(|sliding| sliding.rope_theta.is_some());
        let head_norms = match config.query_key_norm {
            true => Some(HeadNorms {
                eps: config.rms_norm_eps,
                query: self.vector(&name("self_attn.q_norm.weight"), config.head_dim)?,
                key: self.vector(&name("self_attn.k_norm.weight"), config.head_dim)?,
            }),
            false => None,
        };
        let after_attention = self.vector(&name("post_attention_layernorm.weight"), hidden)?;
        // What precedes the feed-forward part is called by its place after attention, unless a norm
        // truly is there.
        let (post_attention_norm, feed_norm, post_feed_norm) = match config.post_norms {
            true => (
                Some(after_attention),
                self.vector(&name("pre_feedforward_layernorm.weight"), hidden)?,
                Some(self.vector(&name("post_feedforward_layernorm.weight"), hidden)?),
            ),
            false => (None, after_attention, None),
        };
        Ok(Layer {
            index,
            heads: Heads {
                queries: config.heads,
                keys: config.kv_heads,
                width: config.head_dim,
                factor: 1.0 / config.query_scalar.sqrt(),
                window,
            },
            rotation: match own_rotation && window.is_some() {
                true => RotationKind::Sliding,
                false => RotationKind::Global,
            },
            eps: config.rms_norm_eps,
            head_norms,
            post_attention_norm,
            feed_norm,
            post_feed_norm,
            activation: config.activation,
            attention_norm: self.vector(&name("input_layernorm.weight"), hidden)?,
            qkv: self.stacked(&qkv, hidden)?,
            qkv_bias: self.biases(&qkv)?,
            output: self.stacked(&[(name("self_attn.o_proj"), hidden)], query)?,
            gate_up: self.stacked(&gate_up, hidden)?,
            down: self.stacked(&[(name("mlp.down_proj"), hidden)], config.intermediate)?,
        })
    }
}

/// The matrices stacked into one of low-bit weights; `None` if one of them is not low-bit.
fn coded(
    matrices: &[Stored<'_>],
    outputs: usize,
    inputs: usize,
    precision: Precision,
) -> Option<PackedWeights> {
    let parts: Vec<&Coded<'_>> = matrices
        .iter()
        .map(|matrix| match matrix {
            Stored::Coded(coded) => Some(coded),
            Stored::Floats(_) => None,
        })
        .collect::<Option<_>>()?;
    let bits = parts.iter().map(|part| part.bits()).max()?;
    PackedWeights::coded(bits, (outputs, inputs), precision, |mut output, grids| {
        for part in &parts {
            let [rows, _] = part.shape();
            if output < rows {
                return part.grids(output, grids);
            }
            output -= rows;
        }
    })
}

impl Decoder {
    /// Builds a decoder from its weights. `tensor` is asked for each by Hugging Face name, once,
    /// layer by layer; `None` means that there is none, which only biases may be.
    ///
    /// # Errors
    /// Those of `tensor`; [`Error::Config`] for a configuration that describes no model;
    /// [`Error::MissingTensor`] or [`Error::Shape`] where a weight is not as it should be.
    pub fn from_tensors(
        config: DecoderConfig,
        precision: Precision,
        tensor: &mut dyn FnMut(&str) -> Result<Option<Tensor>>,
    ) -> Result<Self> {
        Self::from_stored(config, precision, &mut |name| Ok(tensor(name)?.map(Stored::Floats)))
    }

    /// As [`from_tensors`](Self::from_tensors), from tensors as their file holds them.
    pub(super) fn from_stored(
        config: DecoderConfig,
        precision: Precision,
        tensor: Ask<'_, '_>,
    ) -> Result<Self> {
        config.validate()?;
        Isa::chosen()?;
        if precision == Precision::Int8 {
            let reason =
                "8 bits are for encoders; a decoder takes 32-bit floats or bf16".to_owned();
            return Err(Error::Option { name: "precision", reason });
        }
        let precision = precision.resolve();
        let mut tensors = Tensors { tensor, precision };
        let embedding = tensors
            .stacked(&[("model.embed_tokens".to_owned(), config.vocabulary)], config.hidden)?;
        let layers =
            (0..config.layers).map(|index| tensors.layer(&config, index)).collect::<Result<_>>()?;
        let final_norm = tensors.vector("model.norm.weight", config.hidden)?;
        let head = match config.tied_embeddings {
            true => None,
            false => {
                Some(tensors.stacked(&[("lm_head".to_owned(), config.vocabulary)], config.hidden)?)
            }
        };
        Ok(Self {
            frequencies: config.rotary_frequencies(),
            sliding_frequencies: config.sliding_frequencies(),
            config,
            precision,
            embedding,
            layers,
            final_norm,
            head,
            buffers: Mutex::new(Vec::new()),
            pieces: AtomicUsize::new(0),
        })
    }

    /// A model with seeded random weights, for tests that need no files. Projections are scaled by
    /// the root of their inputs, so that activations and logits stay near 1; there are no biases.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn random(config: DecoderConfig, seed: u64, precision: Precision) -> Result<Self> {
        Self::from_tensors(config.clone(), precision, &mut |name| {
            Ok((!name.ends_with(".bias")).then(|| random_tensor(&config, name, seed)))
        })
    }
}

/// The tensor `name` of a random model; each name has its own stream of random numbers.
pub(super) fn random_tensor(config: &DecoderConfig, name: &str, seed: u64) -> Tensor {
    let shape = config.tensor_shape(name).unwrap_or_default();
    let stream = name
        .bytes()
        .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(stream);
    let mut noise = || rng.next_u32() as f32 / (1u64 << 31) as f32 - 1.0;
    let count = shape.iter().product();
    let data = match shape.as_slice() {
        [_] => (0..count).map(|_| 1.0 + 0.2 * noise()).collect(),
        [_, inputs, ..] => {
            // Uniform numbers in -1..1 have variance 1/3.
            let size = (3.0 / *inputs as f32).sqrt();
            (0..count).map(|_| size * noise()).collect()
        }
        [] => Vec::new(),
    };
    Tensor { shape, data }
}
