//! What a training step keeps of each layer until its backward pass.

use super::layer::Activations;
use crate::adapter::lora::Group;
use crate::kernels::{MatRef, Rounded};
use crate::{DecoderConfig, Lora, Precision};

/// Activations of one layer between its forward and its backward pass. With weights in bf16 those
/// that only go into products, norms and gates again are kept in bf16 too, which halves most of a
/// training step's memory; queries and keys stay as they were, because attention is recomputed from
/// them and its log-sum-exps must fit.
#[derive(Debug, Default)]
pub(super) struct Stash {
    exact: Activations,
    rounded: [Rounded; 4],
    lengths: [usize; 4],
}

/// The parts that may be rounded.
fn parts(activations: &mut Activations) -> [&mut Vec<f32>; 4] {
    let Activations { input, attended, middle, gate_up, .. } = activations;
    [input, attended, middle, gate_up]
}

impl Stash {
    /// Room for `rows` rows of layer `layer`, taken once, because buffers that grow leave holes in
    /// memory behind them.
    pub(super) fn with_room(
        config: &DecoderConfig,
        precision: Precision,
        lora: &Lora,
        layer: usize,
        rows: usize,
    ) -> Self {
        let (query, kv) = (config.query_width(), config.kv_width());
        let room = |width: usize| Vec::with_capacity(rows * width);
        let mut stash = Self::default();
        stash.exact.qkv = room(query + 2 * kv);
        stash.exact.lse = room(config.heads);
        stash.exact.unnormed = room(if config.query_key_norm { query + kv } else { 0 });
        stash.exact.branches =
            [(); 2].map(|()| room(if config.post_norms { config.hidden } else { 0 }));
        stash.exact.low =
            Group::ALL.map(|group| room(lora.stack(layer, group).map_or(0, |stack| stack.rank)));
        let widths = [config.hidden, query, config.hidden, 2 * config.intermediate];
        if precision == Precision::Bf16 {
            stash.rounded = widths.map(|width| Rounded::with_room(rows, width));
        } else {
            parts(&mut stash.exact)
                .into_iter()
                .zip(widths)
                .for_each(|(part, width)| *part = room(width));
        }
        stash
    }

    /// Takes what the layer's forward pass over `rows` rows left; `activations` gets buffers for
    /// the next one.
    pub(super) fn keep(
        &mut self,
        precision: Precision,
        rows: usize,
        activations: &mut Activations,
    ) {
        std::mem::swap(&mut self.exact, activations);
        if precision == Precision::Bf16 {
            let rounded = self.rounded.iter_mut().zip(&mut self.lengths);
            let given = parts(activations).into_iter().zip(parts(&mut self.exact));
            for ((rounded, length), (back, part)) in rounded.zip(given) {
                rounded.fill(MatRef::new(part, rows, part.len() / rows));
                *length = part.len();
                // The next layer works in the same buffer.
                std::mem::swap(back, part);
            }
        }
    }

    /// Gives it back to `activations`.
    pub(super) fn restore(
        &mut self,
        precision: Precision,
        rows: usize,
        activations: &mut Activations,
    ) {
        if precision == Precision::Bf16 {
            let given = parts(activations).into_iter().zip(parts(&mut self.exact));
            for ((rounded, &length), (back, part)) in
                self.rounded.iter().zip(&self.lengths).zip(given)
            {
                std::mem::swap(back, part);
                part.resize(length, 0.0);
                rounded.expand(rows, length / rows, part);
            }
        }
        std::mem::swap(&mut self.exact, activations);
    }
}
