//! Reading tokens: cached, in chunks, several sequences at once.

use super::layer::{Activations, LayerScratch, Rotations};
use super::{BatchInput, Decoder};
use crate::kernels::{MatMut, MatRef, Write};
use crate::ops::{Adapters, Applied, CachedRows, cached_attention, rms_norm};
use crate::{Error, KvCache, Lora, Result};

/// Rows read at a time: enough to keep the arithmetic busy, few enough to bound the buffers.
const CHUNK: usize = 512;

/// Rows of logits computed at a time where all positions are wanted.
const LOGIT_ROWS: usize = 64;

/// PassBuffers of one forward pass; kept by the decoder for the next.
#[derive(Debug, Default)]
pub(super) struct PassBuffers {
    pub(super) activations: Activations,
    pub(super) scratch: LayerScratch,
    pub(super) rotations: Rotations,
    pub(super) out: Vec<f32>,
}

/// Asked before every layer whether the pass is to be left off, since nobody waits for it any more.
pub(crate) type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// The [`Stop`] of a pass that is always ended.
pub(crate) const NEVER: Stop<'static> = &|| false;

/// Which positions' logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    None,
    Last,
    All,
    /// All, each with the same bits alone and among others.
    AllAlike,
}

/// New rows of one input that are read in one go.
struct NewRows {
    input: usize,
    /// First of the rows within the input's ids.
    first: usize,
    rows: usize,
}

impl Decoder {
    /// Reads `ids` after what `cache` holds and returns the logits `[vocabulary]` that follow the
    /// last of them. `adapter: None` equals an adapter whose `B` is zero. On an error the cache is
    /// as it was.
    ///
    /// # Errors
    /// [`Error::NoTokens`], [`Error::TokenOutOfRange`], [`Error::TooLong`], or [`Error::Mismatch`]
    /// for an adapter or cache of another model.
    pub fn forward(
        &self,
        ids: &[u32],
        cache: &mut KvCache,
        adapter: Option<&Lora>,
    ) -> Result<Vec<f32>> {
        self.read(&mut [BatchInput { ids, cache, adapter }], Wanted::Last, NEVER)
    }

    /// Like [`forward`](Self::forward), without the cost of the logits: for all pieces of a prompt
    /// but the last.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn extend(&self, ids: &[u32], cache: &mut KvCache, adapter: Option<&Lora>) -> Result<()> {
        self.read(&mut [BatchInput { ids, cache, adapter }], Wanted::None, NEVER).map(drop)
    }

    /// Like [`forward`](Self::forward), with the logits after every token: `[ids.len(),
    /// vocabulary]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_all(
        &self,
        ids: &[u32],
        cache: &mut KvCache,
        adapter: Option<&Lora>,
    ) -> Result<Vec<f32>> {
        self.read(&mut [BatchInput { ids, cache, adapter }], Wanted::All, NEVER)
    }

    /// Reads tokens of several answers at once, so that the weights are read once for all of them,
    /// and returns the logits after every token of every answer, `[tokens, vocabulary]`. Every
    /// token gets the same bits alone and among others, of its own answer or of another's; so
    /// several drafted tokens are checked as if one by one.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); on an error no cache has changed.
    pub fn forward_batch(&self, inputs: &mut [BatchInput<'_>]) -> Result<Vec<f32>> {
        self.read(inputs, Wanted::AllAlike, NEVER)
    }

    /// The pass behind all of these.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and [`Error::Cancelled`] once `stop` says so; on an error no
    /// cache has changed.
    pub(crate) fn read(
        &self,
        inputs: &mut [BatchInput<'_>],
        wanted: Wanted,
        stop: Stop<'_>,
    ) -> Result<Vec<f32>> {
        for input in inputs.iter() {
            self.check_input(input)?;
        }
        let held: Vec<usize> = inputs.iter().map(|input| input.cache.len()).collect();
        let mut buffers = self.take_buffers();
        let mut logits = Ok(Vec::new());
        // One entry into the thread pool for all operators, not one for each.
        rayon::scope(|_| {
            if wanted != Wanted::AllAlike {
                self.count_piece();
            }
            logits = self.read_checked(inputs, wanted, stop, &mut buffers);
        });
        self.return_buffers(buffers);
        if logits.is_err() {
            inputs.iter_mut().zip(held).for_each(|(input, held)| input.cache.truncate(held));
        }
        logits
    }

    fn check_input(&self, input: &BatchInput<'_>) -> Result<()> {
        let config = &self.config;
        if let Some(lora) = input.adapter {
            lora.check_fits(config)?;
        }
        if input.ids.is_empty() {
            return Err(Error::NoTokens);
        }
        if !input.cache.fits(config, self.precision) {
            let reason = "it was made for other layers, key heads or another precision".to_owned();
            return Err(Error::Mismatch { what: "key-value cache", reason });
        }
        let tokens = input.cache.len() + input.ids.len();
        if tokens > config.max_positions {
            return Err(Error::TooLong {
                what: "context".to_owned(),
                tokens,
                limit: config.max_positions,
            });
        }
        self.check_ids(input.ids)
    }

    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let vocabulary = self.config.vocabulary;
        match ids.iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocabulary }),
            None => Ok(()),
        }
    }

    fn read_checked(
        &self,
        inputs: &mut [BatchInput<'_>],
        wanted: Wanted,
        stop: Stop<'_>,
        buffers: &mut PassBuffers,
    ) -> Result<Vec<f32>> {
        let hidden = self.config.hidden;
        let mut last = Vec::new();
        let mut segments = Vec::new();
        let mut room = CHUNK;
        let count = inputs.len();
        for input in 0..count {
            let length = inputs[input].ids.len();
            let mut first = 0;
            while first < length {
                let rows = room.min(length - first);
                segments.push(NewRows { input, first, rows });
                first += rows;
                room -= rows;
                if room == 0 || (first == length && input + 1 == count) {
                    self.read_segments(inputs, &segments, wanted, stop, buffers)?;
                    let mut start = 0;
                    for segment in &segments {
                        let rows = &buffers.out[start * hidden..][..segment.rows * hidden];
                        let ends = segment.first + segment.rows == inputs[segment.input].ids.len();
                        match wanted {
                            Wanted::All | Wanted::AllAlike => last.extend_from_slice(rows),
                            Wanted::Last if ends => {
                                last.extend_from_slice(&rows[rows.len() - hidden..])
                            }
                            Wanted::Last | Wanted::None => {}
                        }
                        start += segment.rows;
                    }
                    segments.clear();
                    room = CHUNK;
                }
            }
        }
        let adapters =
            if wanted == Wanted::AllAlike { Adapters::Each(&[]) } else { Adapters::One(None) };
        Ok(self.logits(&last, adapters, buffers))
    }

    /// Runs all layers over some rows and leaves the residual stream, before the last norm, in
    /// `buffers.out`.
    fn read_segments(
        &self,
        inputs: &mut [BatchInput<'_>],
        segments: &[NewRows],
        wanted: Wanted,
        stop: Stop<'_>,
        buffers: &mut PassBuffers,
    ) -> Result<()> {
        let (query, kv) = (self.config.query_width(), self.config.kv_width());
        let stride = query + 2 * kv;
        let rows = segments.iter().map(|segment| segment.rows).sum();
        let ids = |segment: &NewRows| segment.first..segment.first + segment.rows;
        let PassBuffers { activations, scratch, rotations, out } = buffers;
        let each: Vec<_> = segments
            .iter()
            .flat_map(|segment| std::iter::repeat_n(inputs[segment.input].adapter, segment.rows))
            .collect();
        let adapters = match wanted {
            Wanted::AllAlike => Adapters::Each(&each),
            // Prompts are read one by one.
            _ => Adapters::One(
                each.first().copied().flatten().map(|lora| Applied { lora, fused: false }),
            ),
        };
        let positions = segments.iter().flat_map(|segment| {
            let past = inputs[segment.input].cache.len();
            past..past + segment.rows
        });
        self.rotations(positions, rotations);
        for segment in segments {
            inputs[segment.input].cache.reserve(segment.rows);
        }
        let tokens = segments.iter().flat_map(|segment| &inputs[segment.input].ids[ids(segment)]);
        self.embed(tokens, rows, &mut activations.input);
        for (index, layer) in self.layers.iter().enumerate() {
            if stop() {
                return Err(Error::Cancelled);
            }
            layer.before_attention(rows, rotations, adapters, activations, scratch);
            let mut lines = activations.qkv.chunks_exact(stride);
            for segment in segments {
                let cache = &mut inputs[segment.input].cache;
                for (ahead, line) in lines.by_ref().take(segment.rows).enumerate() {
                    let (keys, values) = line[query..].split_at(kv);
                    cache.write(index, ahead, keys, values);
                }
            }
            let sequences: Vec<_> = segments
                .iter()
                .map(|segment| CachedRows {
                    rows: segment.rows,
                    cache: &*inputs[segment.input].cache,
                })
                .collect();
            activations.attended.resize(rows * query, 0.0);
            let Activations { qkv, attended, .. } = activations;
            let queries = MatRef::strided(qkv, rows, query, stride);
            cached_attention(layer.heads, index, &sequences, queries, attended);
            layer.after_attention(rows, adapters, activations, scratch, out);
            if index + 1 < self.layers.len() {
                std::mem::swap(out, &mut activations.input);
            }
        }
        for segment in segments {
            let BatchInput { ids: all, cache, .. } = &mut inputs[segment.input];
            cache.commit(&all[ids(segment)]);
        }
        Ok(())
    }

    /// Embeddings of `tokens`, `[rows, hidden]`.
    pub(super) fn embed<'a>(
        &self,
        tokens: impl Iterator<Item = &'a u32>,
        rows: usize,
        x: &mut Vec<f32>,
    ) {
        x.resize(rows * self.config.hidden, 0.0);
        for (row, &token) in x.chunks_exact_mut(self.config.hidden).zip(tokens) {
            self.embedding.row(token as usize, row);
            if self.config.embedding_scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= self.config.embedding_scale);
            }
        }
    }

    /// Logits `[rows, vocabulary]` of rows of the residual stream.
    fn logits(&self, x: &[f32], adapters: Adapters<'_>, buffers: &mut PassBuffers) -> Vec<f32> {
        let (hidden, vocabulary) = (self.config.hidden, self.config.vocabulary);
        let mut normed = vec![0.0; x.len()];
        rms_norm(x, &self.final_norm, self.config.rms_norm_eps, &mut normed);
        let mut logits = vec![0.0; x.len() / hidden * vocabulary];
        let rounded = &mut buffers.scratch.products.fused.rounded;
        let chunks =
            normed.chunks(LOGIT_ROWS * hidden).zip(logits.chunks_mut(LOGIT_ROWS * vocabulary));
        for (x, logits) in chunks {
            let rows = x.len() / hidden;
            let (x, y) = (MatRef::new(x, rows, hidden), MatMut::new(logits, rows, vocabulary));
            match adapters {
                Adapters::One(_) => self.head().forward(x, y, Write::Set, rounded),
                Adapters::Each(_) => self.head().forward_alike(x, y, Write::Set, rounded),
            }
        }
        logits
    }
}
