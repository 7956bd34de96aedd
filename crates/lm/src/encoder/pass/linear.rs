//! A linear layer whose weights change, forward and backward, in f32.

use std::ops::Range;

use rayon::prelude::*;

use crate::encoder::parameters::LinearAt;
use crate::kernels::{MatMut, MatRef, Threads, add, gemm};

/// Columns of a bias that a thread takes at a time.
const COLUMNS: usize = 128;

/// Weights `[outputs, inputs]`, bias `[outputs]`, and where both lie among all weights.
#[derive(Clone, Copy)]
pub(super) struct Linear<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    at: &'a LinearAt,
}

impl<'a> Linear<'a> {
    /// The layer at `at` of all weights.
    pub(super) fn of(values: &'a [f32], at: &'a LinearAt) -> Self {
        let part = |range: &Range<usize>| &values[range.clone()];
        Self { weight: part(&at.weight), bias: part(&at.bias), at }
    }

    fn outputs(self) -> usize {
        self.bias.len()
    }

    fn inputs(self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// `W`, `[outputs, inputs]`.
    fn matrix(self) -> MatRef<'a> {
        MatRef::new(self.weight, self.outputs(), self.inputs())
    }
}

/// `x Wᵀ + bias`, added to `onto` where there is such; `x` is `[rows, inputs]`, the result `[rows, outputs]`.
pub(super) fn forward(layer: Linear<'_>, x: &[f32], onto: Option<Vec<f32>>) -> Vec<f32> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let rows = x.len() / inputs;
    let mut y = onto.unwrap_or_else(|| vec![0.0; rows * outputs]);
    y.par_chunks_exact_mut(outputs).with_min_len(16).for_each(|row| add(row, layer.bias));
    let (x, target) = (MatRef::new(x, rows, inputs), MatMut::new(&mut y, rows, outputs));
    gemm(target, true, 1.0, x, layer.matrix().t(), Threads::All);
    y
}

/// The gradient with respect to the input `x`, added to `onto` where there is such, for the gradient `dy` of the result;
/// those of weights and bias are added to `gradients`.
pub(super) fn backward(
    layer: Linear<'_>,
    x: &[f32],
    dy: &[f32],
    onto: Option<Vec<f32>>,
    gradients: &mut [f32],
) -> Vec<f32> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let rows = x.len() / inputs;
    let d_bias = &mut gradients[layer.at.bias.clone()];
    d_bias.par_chunks_mut(COLUMNS).enumerate().for_each(|(index, sums)| {
        let columns = index * COLUMNS..index * COLUMNS + sums.len();
        dy.chunks_exact(outputs).for_each(|row| add(sums, &row[columns.clone()]));
    });
    let (x, dy) = (MatRef::new(x, rows, inputs), MatRef::new(dy, rows, outputs));
    let d_weight = MatMut::new(&mut gradients[layer.at.weight.clone()], outputs, inputs);
    gemm(d_weight, true, 1.0, dy.t(), x, Threads::All);
    let accumulate = onto.is_some();
    let mut dx = onto.unwrap_or_else(|| vec![0.0; rows * inputs]);
    gemm(MatMut::new(&mut dx, rows, inputs), accumulate, 1.0, dy, layer.matrix(), Threads::All);
    dx
}
