//! The forward pass that keeps what the backward pass needs, and the backward pass: explicit,
//! without dropout.
//!
//! Texts lie one behind the other without padding, as in inference. The forward pass keeps the sums
//! before each layer norm, queries, keys and values, the output of attention, and the feed-forward
//! block before its activation. Norms, activations and attention probabilities are computed again.
//! No result depends on the number of threads.

mod attention;
mod linear;
mod norm;
#[cfg(test)]
mod tests;
mod weights;

use rayon::prelude::*;

use super::config::BertConfig;
use super::parameters::{LayerAt, ParameterLayout};
use crate::kernels::{add, gelu, gelu_backward};
use crate::{Error, Result};
use attention::{attend, attend_backward};
use linear::{Linear, backward, forward};
use norm::{norm_backward, normed};
pub(super) use weights::BertWeights;

/// Numbers that a thread takes at a time in work on single ones.
const CHUNK: usize = 1 << 14;

/// What a forward pass over some texts keeps for the backward pass.
#[derive(Debug, Default)]
pub(super) struct KeptPass {
    /// Before the first norm, `[rows, hidden]`.
    embedded: Vec<f32>,
    layers: Vec<KeptLayer>,
    /// The mean directions, `[texts, hidden]`, and the length that each had before it was made 1.
    vectors: Vec<f32>,
    lengths: Vec<f32>,
}

#[derive(Debug, Default)]
struct KeptLayer {
    /// `[rows, 3 * hidden]`.
    qkv: Vec<f32>,
    /// `[rows, hidden]`.
    attended: Vec<f32>,
    /// Before the norm behind attention, `[rows, hidden]`.
    attention_sum: Vec<f32>,
    /// Before the activation, `[rows, inner]`.
    up: Vec<f32>,
    /// Before the norm behind the feed-forward block, `[rows, hidden]`.
    sum: Vec<f32>,
}

impl KeptPass {
    /// The texts' vectors of length 1, `[texts, hidden]`.
    pub(super) fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Bytes kept for each token.
    pub(super) fn bytes_per_token(config: &BertConfig) -> usize {
        4 * (config.hidden + config.layers * (6 * config.hidden + config.inner))
    }
}

impl BertWeights<'_> {
    /// Vectors of the texts, and what [`BertWeights::backward`] needs.
    ///
    /// # Errors
    /// [`Error::TokenOutOfRange`].
    pub(super) fn forward(self, texts: &[&[u32]]) -> Result<KeptPass> {
        let BertConfig { hidden, vocabulary, .. } = *self.config;
        if let Some(id) = texts.iter().copied().flatten().find(|id| **id as usize >= vocabulary) {
            return Err(Error::TokenOutOfRange { id: *id, vocabulary });
        }
        let rows: usize = texts.iter().map(|text| text.len()).sum();
        let (tokens, positions) =
            (&self.values[self.layout.tokens.clone()], self.layout.positions.start);
        let of_type = &self.values[self.layout.types.start..][..hidden];
        let mut embedded = vec![0.0; rows * hidden];
        for (row, (position, id)) in embedded.chunks_exact_mut(hidden).zip(places(texts)) {
            row.copy_from_slice(&tokens[*id as usize * hidden..][..hidden]);
            add(row, &self.values[positions + position * hidden..][..hidden]);
            add(row, of_type);
        }
        let mut kept = KeptPass { embedded, ..KeptPass::default() };
        let mut x = normed(self, &self.layout.norm, &kept.embedded);
        for layer in &self.layout.layers {
            let (done, y) = self.layer(layer, texts, x);
            kept.layers.push(done);
            x = y;
        }
        let mut states = x.chunks_exact(hidden);
        for text in texts {
            let mut sum = vec![0.0; hidden];
            states.by_ref().take(text.len()).for_each(|row| add(&mut sum, row));
            let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
            // As in inference, a zero sum has no direction.
            let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
            kept.vectors.extend(sum.iter().map(|x| x * factor));
            kept.lengths.push(length);
        }
        Ok(kept)
    }

    /// What a layer keeps and its result for the input `x`.
    fn layer(self, at: &LayerAt, texts: &[&[u32]], x: Vec<f32>) -> (KeptLayer, Vec<f32>) {
        let linear = |layer| Linear::of(self, layer);
        let qkv = forward(linear(&at.qkv), &x, None);
        let mut attended = vec![0.0; x.len()];
        attend(self.config, texts, &qkv, &mut attended);
        let attention_sum = forward(linear(&at.attention_out), &attended, Some(x));
        let middle = normed(self, &at.attention_norm, &attention_sum);
        let up = forward(linear(&at.up), &middle, None);
        let sum = forward(linear(&at.down), &activated(&up), Some(middle));
        let y = normed(self, &at.norm, &sum);
        (KeptLayer { qkv, attended, attention_sum, up, sum }, y)
    }

    /// Adds to `gradients`, which lie as the weights do, those of a sum over the texts whose
    /// gradients with respect to the vectors are `d_vectors`, `[texts, hidden]`.
    pub(super) fn backward(
        self,
        texts: &[&[u32]],
        kept: &KeptPass,
        d_vectors: &[f32],
        gradients: &mut [f32],
    ) {
        let hidden = self.config.hidden;
        let mut d = Vec::with_capacity(kept.embedded.len());
        let vectors = kept.vectors.chunks_exact(hidden).zip(d_vectors.chunks_exact(hidden));
        for (text, ((vector, d_vector), length)) in texts.iter().zip(vectors.zip(&kept.lengths)) {
            let along: f32 = vector.iter().zip(d_vector).map(|(x, d)| x * d).sum();
            let factor = if *length > 0.0 { 1.0 / length } else { 0.0 };
            let row = vector.iter().zip(d_vector).map(|(x, d)| (d - along * x) * factor);
            let row: Vec<f32> = row.collect();
            (0..text.len()).for_each(|_| d.extend_from_slice(&row));
        }
        for layer in (0..kept.layers.len()).rev() {
            d = self.layer_backward(layer, texts, kept, &d, gradients);
        }
        let d = norm_backward(self, &self.layout.norm, &kept.embedded, &d, gradients);
        let ParameterLayout { tokens, positions, types, .. } = self.layout;
        for (row, (position, id)) in d.chunks_exact(hidden).zip(places(texts)) {
            add(&mut gradients[tokens.start + *id as usize * hidden..][..hidden], row);
            add(&mut gradients[positions.start + position * hidden..][..hidden], row);
            add(&mut gradients[types.start..][..hidden], row);
        }
    }

    /// The gradient with respect to the input of layer `index`, for the gradient `d` of its result;
    /// those of its weights are added to `gradients`.
    fn layer_backward(
        self,
        index: usize,
        texts: &[&[u32]],
        kept: &KeptPass,
        d: &[f32],
        gradients: &mut [f32],
    ) -> Vec<f32> {
        let (at, layers) = (&self.layout.layers[index], &kept.layers);
        let input = match index.checked_sub(1) {
            Some(before) => normed(self, &self.layout.layers[before].norm, &layers[before].sum),
            None => normed(self, &self.layout.norm, &kept.embedded),
        };
        let kept = &layers[index];
        let linear = |layer| Linear::of(self, layer);
        let d_sum = norm_backward(self, &at.norm, &kept.sum, d, gradients);
        let mut d_up = backward(linear(&at.down), &activated(&kept.up), &d_sum, None, gradients);
        let chunks = d_up.par_chunks_mut(CHUNK).zip(kept.up.par_chunks(CHUNK));
        chunks.for_each(|(d, up)| gelu_backward(up, d));
        let middle = normed(self, &at.attention_norm, &kept.attention_sum);
        let d_middle = backward(linear(&at.up), &middle, &d_up, Some(d_sum), gradients);
        let d_sum =
            norm_backward(self, &at.attention_norm, &kept.attention_sum, &d_middle, gradients);
        let d_attended =
            backward(linear(&at.attention_out), &kept.attended, &d_sum, None, gradients);
        let mut d_qkv = vec![0.0; kept.qkv.len()];
        attend_backward(self.config, texts, &kept.qkv, &d_attended, &mut d_qkv);
        backward(linear(&at.qkv), &input, &d_qkv, Some(d_sum), gradients)
    }
}

/// Position and id of every token of the texts.
fn places<'a>(texts: &'a [&[u32]]) -> impl Iterator<Item = (usize, &'a u32)> {
    texts.iter().flat_map(|text| text.iter().enumerate())
}

fn activated(x: &[f32]) -> Vec<f32> {
    let mut y = x.to_vec();
    y.par_chunks_mut(CHUNK).for_each(gelu);
    y
}
