//! A linear layer of an encoder, in the precision of the model.

use crate::Precision;
use crate::kernels::{Frozen, Int8Panels, Int8Rows, Rounded, Threads, add};

#[derive(Debug)]
pub(super) struct Linear {
    weights: Weights,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Weights {
    Float(Frozen),
    Int8(Int8Panels),
}

/// Inputs in the form that the weights are multiplied with; a buffer.
#[derive(Debug, Default)]
pub(super) struct LinearScratch {
    bf16: Rounded,
    int8: Int8Rows,
}

impl Linear {
    /// Packs row-major weights `[outputs, inputs]`; `bias` is `[outputs]`.
    pub(super) fn new(
        weights: Vec<f32>,
        bias: Vec<f32>,
        inputs: usize,
        precision: Precision,
    ) -> Self {
        let weights = match precision {
            Precision::Int8 => {
                Weights::Int8(Int8Panels::pack_transposed(&weights, bias.len(), inputs))
            }
            _ => Weights::Float(Frozen::new(weights, bias.len(), inputs, precision)),
        };
        Self { weights, bias }
    }

    /// Numbers that a row becomes.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `y = x Wᵀ + bias`.
    pub(super) fn apply(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        threads: Threads,
        scratch: &mut LinearScratch,
    ) {
        match &self.weights {
            Weights::Float(weights) => {
                y.chunks_exact_mut(self.bias.len()).for_each(|row| row.copy_from_slice(&self.bias));
                weights.forward(rows, x, y, true, &mut scratch.bf16);
            }
            Weights::Int8(weights) => {
                scratch.int8.round(rows, x);
                weights.multiply(&scratch.int8, &self.bias, y, false, threads);
            }
        }
    }

    /// `y += x Wᵀ + bias`.
    pub(super) fn add_to(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        threads: Threads,
        scratch: &mut LinearScratch,
    ) {
        match &self.weights {
            Weights::Float(weights) => {
                y.chunks_exact_mut(self.bias.len()).for_each(|row| add(row, &self.bias));
                weights.forward(rows, x, y, true, &mut scratch.bf16);
            }
            Weights::Int8(weights) => {
                scratch.int8.round(rows, x);
                weights.multiply(&scratch.int8, &self.bias, y, true, threads);
            }
        }
    }
}
