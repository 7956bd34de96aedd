//! Llama-family decoder: embedding, layers of attention and gated feed-forward, vocabulary logits.

use crate::{DecoderConfig, KvCache, Lora, Pack, Precision, Result, Source, Tensor};

/// A decoder whose weights are frozen; adapters are handed to each call.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
}

/// New tokens for one of the sequences of a batch.
#[derive(Debug)]
pub struct BatchInput<'a> {
    /// The tokens that follow those in the cache; at least one.
    pub ids: &'a [u32],
    /// What the sequence has read so far; grows by `ids`.
    pub cache: &'a mut KvCache,
}

/// Negative log-likelihood of the targets of a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// Sum over the targets, in nats.
    pub sum: f64,
    /// Number of targets.
    pub tokens: usize,
}

/// Buffers of a training step, kept between steps because fresh memory costs as much as the arithmetic.
#[derive(Debug, Default)]
pub struct Workspace {}

impl Decoder {
    /// Reads and packs the weights of an opened model.
    ///
    /// # Errors
    /// As [`from_tensors`](Self::from_tensors), and those of reading the file.
    pub fn load(source: &Source, precision: Precision) -> Result<Self> {
        Self::from_tensors(source.config.clone(), precision, &mut |name| {
            if name.ends_with(".bias") { source.find_tensor(name) } else { source.tensor(name).map(Some) }
        })
    }

    /// Builds a decoder from its weights. `tensor` is asked for each by Hugging Face name, once, layer by layer;
    /// `None` means that there is none, which only biases may be.
    ///
    /// # Errors
    /// Those of `tensor`; [`Error::Config`] for a configuration that describes no model;
    /// [`Error::MissingTensor`] or [`Error::Shape`] where a weight is not as it should be.
    pub fn from_tensors(
        config: DecoderConfig,
        precision: Precision,
        tensor: &mut dyn FnMut(&str) -> Result<Option<Tensor>>,
    ) -> Result<Self> {
        let _ = (precision, tensor);
        config.validate()?;
        Ok(Self { config })
    }

    /// A model with seeded random weights, for tests that need no files.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn random(config: DecoderConfig, seed: u64, precision: Precision) -> Result<Self> {
        let _ = (config, seed, precision);
        unimplemented!()
    }

    /// The shape of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// An empty cache for this model.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(&self.config)
    }

    /// Reads `ids` after what `cache` holds and returns the logits `[vocabulary]` that follow the last of them.
    /// `adapter: None` equals an adapter whose `B` is zero. On an error the cache is as it was.
    ///
    /// # Errors
    /// [`Error::NoTokens`], [`Error::TokenOutOfRange`], [`Error::TooLong`], or [`Error::Mismatch`] for an
    /// adapter or cache of another model.
    pub fn forward(&self, ids: &[u32], cache: &mut KvCache, adapter: Option<&Lora>) -> Result<Vec<f32>> {
        let _ = (ids, cache, adapter);
        unimplemented!()
    }

    /// Like [`forward`](Self::forward), with the logits after every token: `[ids.len(), vocabulary]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_all(&self, ids: &[u32], cache: &mut KvCache, adapter: Option<&Lora>) -> Result<Vec<f32>> {
        let _ = (ids, cache, adapter);
        unimplemented!()
    }

    /// Runs several sequences at once, so that the weights are read once for all of them; each sequence gets
    /// what [`forward`](Self::forward) alone would give it. Returns `[inputs.len(), vocabulary]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); on an error no cache has changed.
    pub fn forward_batch(&self, inputs: &mut [BatchInput<'_>], adapter: Option<&Lora>) -> Result<Vec<f32>> {
        let _ = (inputs, adapter);
        unimplemented!()
    }

    /// Negative log-likelihood of the targets of `pack`.
    ///
    /// # Errors
    /// [`Error::Pack`], [`Error::TokenOutOfRange`], [`Error::TooLong`], [`Error::Mismatch`].
    pub fn loss(&self, adapter: Option<&Lora>, pack: &Pack) -> Result<Loss> {
        let _ = (adapter, pack);
        unimplemented!()
    }

    /// Negative log-likelihood of the targets of `pack`; adds `scale` times the gradient of its sum to `grads`,
    /// which has the layout of [`Lora::params`].
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_grad(
        &self,
        lora: &Lora,
        pack: &Pack,
        scale: f32,
        grads: &mut [f32],
        workspace: &mut Workspace,
    ) -> Result<Loss> {
        let _ = (lora, pack, scale, grads, workspace);
        unimplemented!()
    }
}
