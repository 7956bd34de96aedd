//! Llama-family decoder: embedding, layers of attention and gated feed-forward, vocabulary logits.
//!
//! The forward pass reads tokens into a [`KvCache`] ([`Decoder::forward`]); the training pass reads
//! a [`Pack`] and gives the loss and the gradient of a [`Lora`](crate::Lora)
//! ([`Decoder::loss_and_grad`]). Both run the same layers.

pub(crate) mod config;
mod forward;
pub(crate) mod kv_cache;
mod layer;
pub(crate) mod pack;
mod stash;
mod tiny;
mod training;
mod weights;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use forward::PassBuffers;
pub(crate) use forward::{NEVER, Stop, Wanted};
use layer::{Layer, Rotations};
pub use training::Workspace;

use crate::files::source::Weights;
use crate::kernels::PackedWeights;
use crate::{DecoderConfig, Error, KvCache, Lora, Precision, Result, Source};

/// A decoder whose weights are frozen; adapters are handed to each call. Calls may run
/// concurrently.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    precision: Precision,
    /// `[vocabulary, hidden]`.
    embedding: PackedWeights,
    layers: Vec<Layer>,
    final_norm: Vec<f32>,
    /// `[vocabulary, hidden]`, where it is not the embedding.
    head: Option<PackedWeights>,
    /// Radians per position, one for each pair of a head.
    frequencies: Vec<f32>,
    /// Those of layers with a sliding window, where theirs are others.
    sliding_frequencies: Option<Vec<f32>>,
    /// PassBuffers that no call is using.
    buffers: Mutex<Vec<PassBuffers>>,
    /// Pieces of prompts read so far.
    pieces: AtomicUsize,
}

/// New tokens of one of the answers of a batch.
#[derive(Debug)]
pub struct BatchInput<'a> {
    /// The tokens that follow those in the cache; at least one.
    pub ids: &'a [u32],
    /// What the sequence has read so far; grows by `ids`.
    pub cache: &'a mut KvCache,
    /// The adapter it is answered with.
    pub adapter: Option<&'a Lora>,
}

/// Negative log-likelihood of the targets of a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// Sum over the targets, in nats.
    pub sum: f64,
    /// Number of targets.
    pub tokens: usize,
}

impl Decoder {
    /// Reads and packs the weights of an opened model.
    ///
    /// # Errors
    /// As [`from_tensors`](Self::from_tensors), and those of reading the file.
    pub fn load(source: &Source, precision: Precision) -> Result<Self> {
        Self::pack(&source.config, source.weights(), precision)
    }

    /// As [`load`](Self::load), of a model whose tokenizer may not be built yet.
    pub(crate) fn pack(
        config: &DecoderConfig,
        weights: &Weights,
        precision: Precision,
    ) -> Result<Self> {
        let decoder = Self::from_stored(config.clone(), precision, &mut |name| match weights
            .tensor(name, config)?
        {
            None if !name.ends_with(".bias") => Err(weights.missing(name)),
            tensor => Ok(tensor),
        });
        decoder.map_err(Error::of_model(&weights.path()))
    }

    /// The shape of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// How the weights are held: `F32` or `Bf16`.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes of the weights as they are held for answering.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(Layer::matrices);
        layers.chain([&self.embedding]).chain(&self.head).map(PackedWeights::bytes).sum()
    }

    /// Holds panels of the layers' weights from the second piece of a prompt on: the first token
    /// after the start waits for none, training never holds any, and prompts are read faster.
    /// Results are the same.
    fn count_piece(&self) {
        if self.pieces.fetch_add(1, Ordering::Relaxed) == 1 {
            let matrices = self.layers.iter().flat_map(Layer::matrices);
            matrices.for_each(PackedWeights::keep_panels);
        }
    }

    /// An empty cache for this model.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(&self.config, self.precision)
    }

    /// Prepares the rotations of rows at `positions`.
    fn rotations(&self, positions: impl Iterator<Item = usize> + Clone, rotations: &mut Rotations) {
        rotations.global.prepare(positions.clone(), &self.frequencies);
        if let Some(frequencies) = &self.sliding_frequencies {
            rotations.sliding.prepare(positions, frequencies);
        }
    }

    /// The matrix that makes logits.
    fn head(&self) -> &PackedWeights {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    fn take_buffers(&self) -> PassBuffers {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn return_buffers(&self, buffers: PassBuffers) {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
    }
}
