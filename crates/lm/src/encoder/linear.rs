//! A linear layer of an encoder, in the precision of the model.

use crate::Precision;
use crate::kernels::{
    Int8Panels, Int8Rows, MatMut, MatRef, PackedWeights, Rounded, Threads, Write, add,
};

#[derive(Debug)]
pub(super) struct Linear {
    weights: Weights,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Weights {
    Float(PackedWeights),
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
            _ => Weights::Float(PackedWeights::new(weights, bias.len(), inputs, precision)),
        };
        Self { weights, bias }
    }

    /// Numbers that a row becomes.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `y = x Wᵀ + bias` or `y += x Wᵀ + bias`; `x` is `[rows, inputs]`, `y` `[rows, outputs]`.
    pub(super) fn apply(
        &self,
        x: &[f32],
        y: &mut [f32],
        write: Write,
        threads: Threads,
        scratch: &mut LinearScratch,
    ) {
        let outputs = self.bias.len();
        let rows = y.len() / outputs;
        match &self.weights {
            Weights::Float(weights) => {
                y.chunks_exact_mut(outputs).for_each(|row| match write {
                    Write::Set => row.copy_from_slice(&self.bias),
                    Write::Add => add(row, &self.bias),
                });
                let x = MatRef::new(x, rows, weights.inputs());
                let y = MatMut::new(y, rows, outputs);
                weights.forward(x, y, Write::Add, &mut scratch.bf16);
            }
            Weights::Int8(weights) => {
                scratch.int8.round(rows, x);
                weights.multiply(&scratch.int8, &self.bias, y, write, threads);
            }
        }
    }
}
