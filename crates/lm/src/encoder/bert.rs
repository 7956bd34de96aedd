//! The layers of BERT (Devlin et al. 2019): token, position and type embeddings, then blocks of
//! attention and feed-forward, each followed by its residual sum and layer norm.

use std::cell::Cell;

use rayon::prelude::*;

use super::attention::{AttentionShape, attend};
use super::config::{BertConfig, BertTensors};
use super::linear::{Linear, LinearScratch};
use crate::kernels::{Threads, Write, gelu, layer_norm_row, spin_join};
use crate::{Error, Precision, Result};

/// One text, or two that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EncoderInput {
    pub(super) ids: Vec<u32>,
    /// Where the second begins: tokens from there on are of the second type.
    pub(super) second: usize,
}

impl From<Vec<u32>> for EncoderInput {
    fn from(ids: Vec<u32>) -> Self {
        Self { second: ids.len(), ids }
    }
}

thread_local! {
    /// Buffers of one thread; taken while in use.
    static BUFFERS: Cell<PassBuffers> = Cell::default();
}

#[derive(Debug)]
pub(super) struct Bert {
    hidden: usize,
    heads: usize,
    eps: f32,
    /// Whether attention works in bf16.
    rounded: bool,
    /// Whether threads may take rows apart; products in other precisions share their work among the
    /// threads themselves.
    rows_apart: bool,
    /// `[vocabulary, hidden]`.
    tokens: Vec<f32>,
    /// `[positions, hidden]`, the first type's embedding added: most of our texts are of that type.
    positions: Vec<f32>,
    /// `[hidden]`, what the second type adds to that; empty where there is none.
    second: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values side by side.
    qkv: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Rows whose inner states of a feed-forward block stay in the second-level cache.
const FEED_ROWS: usize = 64;

/// Fewest rows that a thread takes through a layer by itself. With fewer, it would wait for weights
/// longer than it multiplies; then threads share the columns of each product instead, although that
/// makes them wait for each other more often.
const ROWS_APART: usize = 8;

/// Buffers of a pass, kept from batch to batch.
#[derive(Debug, Default)]
struct PassBuffers {
    x: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    /// Of each block of the rows.
    blocks: Vec<RowBlockBuffers>,
}

#[derive(Debug, Default)]
struct RowBlockBuffers {
    inner: Vec<f32>,
    scratch: LinearScratch,
}

impl Bert {
    /// Packs the tensors of a model of this shape.
    pub(super) fn load(
        config: &BertConfig,
        tensors: &BertTensors<'_>,
        precision: Precision,
    ) -> Result<Self> {
        let BertConfig { hidden, heads, inner, .. } = *config;
        let norm = |name: &str| {
            Ok::<_, Error>(Norm {
                weight: tensors.read(&format!("{name}.weight"), &[hidden])?,
                bias: tensors.read(&format!("{name}.bias"), &[hidden])?,
            })
        };
        // Projections of one input, stacked.
        let linear = |names: &[String], outputs: usize, inputs: usize| {
            let (mut weights, mut bias) = (Vec::new(), Vec::new());
            for name in names {
                weights.extend(tensors.read(&format!("{name}.weight"), &[outputs, inputs])?);
                bias.extend(tensors.read(&format!("{name}.bias"), &[outputs])?);
            }
            Ok::<_, Error>(Linear::new(weights, bias, inputs, precision))
        };

        let mut positions =
            tensors.read("embeddings.position_embeddings.weight", &[config.positions, hidden])?;
        let types =
            tensors.read("embeddings.token_type_embeddings.weight", &[config.types, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(x, of_type)| *x += of_type);
        }
        let (first, others) = types.split_at(hidden);
        let second =
            others.iter().zip(first).map(|(second, first)| second - first).take(hidden).collect();
        let layers = (0..config.layers).map(|layer| {
            let of_layer = |rest: &str| format!("encoder.layer.{layer}.{rest}");
            let [q, k, v] =
                ["query", "key", "value"].map(|m| of_layer(&format!("attention.self.{m}")));
            Ok(Layer {
                qkv: linear(&[q, k, v], hidden, hidden)?,
                attention_out: linear(&[of_layer("attention.output.dense")], hidden, hidden)?,
                attention_norm: norm(&of_layer("attention.output.LayerNorm"))?,
                up: linear(&[of_layer("intermediate.dense")], inner, hidden)?,
                down: linear(&[of_layer("output.dense")], hidden, inner)?,
                norm: norm(&of_layer("output.LayerNorm"))?,
            })
        });
        Ok(Self {
            hidden,
            heads,
            rounded: precision != Precision::F32 && Precision::Auto.resolve() == Precision::Bf16,
            rows_apart: precision == Precision::Int8,
            eps: config.eps,
            tokens: tensors
                .read("embeddings.word_embeddings.weight", &[config.vocabulary, hidden])?,
            positions,
            second,
            norm: norm("embeddings.LayerNorm")?,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Runs the inputs in batches of at most `tokens` tokens, or one input, and returns what
    /// `of_batch` makes of each batch's inputs and the last hidden states of their tokens, in
    /// order. Each thread takes a batch; where batches are few, all threads share each of them.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub(super) fn in_batches<T: Send>(
        &self,
        inputs: &[EncoderInput],
        tokens: usize,
        of_batch: impl Fn(&[EncoderInput], &[f32]) -> Vec<T> + Sync,
    ) -> Result<Vec<T>> {
        let mut batches = Vec::new();
        let mut rest = inputs;
        while !rest.is_empty() {
            let mut sum = 0;
            let fitting = rest.iter().take_while(|input| {
                sum += input.ids.len();
                sum <= tokens
            });
            let (batch, later) = rest.split_at(fitting.count().max(1));
            batches.push(batch);
            rest = later;
        }
        let few = batches.len() < rayon::current_num_threads();
        let threads = if few { Threads::All } else { Threads::One };
        let made = batches.par_iter().with_max_len(1).map(|batch| {
            let mut buffers = BUFFERS.take();
            let made =
                self.encode(batch, threads, &mut buffers).map(|states| of_batch(batch, states));
            BUFFERS.set(buffers);
            made
        });
        Ok(made.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Last hidden states of the texts' tokens, `[all tokens, hidden]`, one text after the other;
    /// every token attends to its own text alone.
    fn encode<'a>(
        &self,
        texts: &[EncoderInput],
        threads: Threads,
        buffers: &'a mut PassBuffers,
    ) -> Result<&'a [f32]> {
        let rows: usize = texts.iter().map(|text| text.ids.len()).sum();
        let vocabulary = self.tokens.len() / self.hidden;
        if let Some(id) =
            texts.iter().flat_map(|text| &text.ids).find(|id| **id as usize >= vocabulary)
        {
            return Err(Error::TokenOutOfRange { id: *id, vocabulary });
        }
        let x = &mut buffers.x;
        x.resize(rows * self.hidden, 0.0);
        buffers.qkv.resize(3 * x.len(), 0.0);
        buffers.attended.resize(x.len(), 0.0);
        let places = texts.iter().flat_map(|text| {
            text.ids.iter().enumerate().map(|(at, id)| (at, id, at >= text.second))
        });
        for (row, (position, id, second)) in x.chunks_exact_mut(self.hidden).zip(places) {
            let token = &self.tokens[*id as usize * self.hidden..][..self.hidden];
            let position = &self.positions[position * self.hidden..][..self.hidden];
            row.iter_mut()
                .zip(token)
                .zip(position)
                .for_each(|((x, token), position)| *x = token + position);
            if second {
                row.iter_mut().zip(&self.second).for_each(|(x, added)| *x += added);
            }
        }
        self.norm.apply(x, self.eps);

        let shape =
            AttentionShape { hidden: self.hidden, heads: self.heads, rounded: self.rounded };
        let workers = rayon::current_num_threads();
        let apart = threads == Threads::All && self.rows_apart && rows >= ROWS_APART * workers;
        let (blocks, within) = if apart { (workers, Threads::One) } else { (1, threads) };
        // Runs on a thread of the pool: from outside, each of the many products would be handed
        // over and waited for.
        rayon::scope(|_| {
            if let Some(first) = self.layers.first() {
                buffers.in_blocks(rows, blocks, |block| first.project(block, within));
            }
            for (index, layer) in self.layers.iter().enumerate() {
                let lengths = texts.iter().map(|text| text.ids.len());
                attend(shape, lengths, &buffers.qkv, &mut buffers.attended, threads);
                buffers.in_blocks(rows, blocks, |block| {
                    layer.finish(block, self.eps, within);
                    if let Some(next) = self.layers.get(index + 1) {
                        next.project(block, within);
                    }
                });
            }
        });
        Ok(&buffers.x)
    }
}

/// Some of the rows.
struct RowBlock<'a> {
    x: &'a mut [f32],
    qkv: &'a mut [f32],
    attended: &'a [f32],
    buffers: &'a mut RowBlockBuffers,
}

impl PassBuffers {
    /// Does `work` to each of so many blocks of the rows, at the same time.
    fn in_blocks(&mut self, rows: usize, blocks: usize, work: impl Fn(&mut RowBlock<'_>) + Sync) {
        let PassBuffers { x, qkv, attended, blocks: buffers } = self;
        let rows_of_block = rows.div_ceil(blocks).max(1);
        let numbers = x.len() / rows.max(1) * rows_of_block;
        buffers.resize_with(buffers.len().max(blocks), RowBlockBuffers::default);
        let all = x.par_chunks_mut(numbers).zip(qkv.par_chunks_mut(3 * numbers));
        let all = all.zip(attended.par_chunks(numbers)).zip(buffers);
        spin_join(all, |(((x, qkv), attended), buffers)| {
            work(&mut RowBlock { x, qkv, attended, buffers })
        });
    }
}

impl Layer {
    /// Queries, keys and values of the rows.
    fn project(&self, block: &mut RowBlock<'_>, threads: Threads) {
        let scratch = &mut block.buffers.scratch;
        self.qkv.apply(block.x, block.qkv, Write::Set, threads, scratch);
    }

    /// The rest of the layer after attention.
    fn finish(&self, block: &mut RowBlock<'_>, eps: f32, threads: Threads) {
        let RowBlock { x, attended, buffers: RowBlockBuffers { inner, scratch }, .. } = block;
        let hidden = self.attention_out.outputs();
        self.attention_out.apply(attended, x, Write::Add, threads, scratch);
        self.attention_norm.apply(x, eps);
        for x in x.chunks_mut(FEED_ROWS * hidden) {
            let rows = x.len() / hidden;
            inner.resize(rows * self.up.outputs(), 0.0);
            self.up.apply(x, inner, Write::Set, threads, scratch);
            match threads {
                Threads::One => gelu(inner),
                Threads::All => inner.par_chunks_mut(1 << 14).for_each(gelu),
            }
            self.down.apply(inner, x, Write::Add, threads, scratch);
        }
        self.norm.apply(x, eps);
    }
}

impl Norm {
    fn apply(&self, x: &mut [f32], eps: f32) {
        for row in x.chunks_exact_mut(self.weight.len()) {
            layer_norm_row(row, &self.weight, &self.bias, eps);
        }
    }
}
