//! A linear layer whose weights change, forward and backward: in f32, or with both factors of every
//! product rounded to bf16 and sums in f32.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::weights::BertWeights;
use crate::encoder::parameters::LinearAt;
use crate::kernels::{HeadProduct, MatMut, MatRef, Orientation, Threads, Write, add, gemm, outer};

/// Columns of a bias that a thread takes at a time.
const COLUMNS: usize = 128;

thread_local! {
    /// Buffers of one thread; taken while in use.
    static PRODUCT: Cell<HeadProduct> = Cell::default();
}

/// Weights `[outputs, inputs]`, bias `[outputs]`, and where both lie among all weights.
#[derive(Clone, Copy)]
pub(super) struct Linear<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    at: &'a LinearAt,
    rounded: bool,
}

impl<'a> Linear<'a> {
    /// The layer at `at`.
    pub(super) fn of(model: BertWeights<'a>, at: &'a LinearAt) -> Self {
        let part = |range: &Range<usize>| &model.values[range.clone()];
        Self { weight: part(&at.weight), bias: part(&at.bias), at, rounded: model.rounded }
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

/// `x Wᵀ + bias`, added to `onto` where there is such; `x` is `[rows, inputs]`, the result `[rows,
/// outputs]`.
pub(super) fn forward(layer: Linear<'_>, x: &[f32], onto: Option<Vec<f32>>) -> Vec<f32> {
    let (inputs, outputs) = (layer.inputs(), layer.outputs());
    let rows = x.len() / inputs;
    let mut y = onto.unwrap_or_else(|| vec![0.0; rows * outputs]);
    y.par_chunks_exact_mut(outputs).with_min_len(16).for_each(|row| add(row, layer.bias));
    let (x, target) = (MatRef::new(x, rows, inputs), MatMut::new(&mut y, rows, outputs));
    if layer.rounded {
        let mut product = PRODUCT.take();
        product.multiply(x, layer.matrix().t(), target, Write::Add);
        PRODUCT.set(product);
        return y;
    }
    gemm(target, Write::Add, x.times(layer.matrix().t()), Threads::All);
    y
}

/// The gradient with respect to the input `x`, added to `onto` where there is such, for the
/// gradient `dy` of the result; those of weights and bias are added to `gradients`.
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
    let (x, dy_rows) = (MatRef::new(x, rows, inputs), MatRef::new(dy, rows, outputs));
    let d_weight = MatMut::new(&mut gradients[layer.at.weight.clone()], outputs, inputs);
    let write = if onto.is_some() { Write::Add } else { Write::Set };
    let mut dx = onto.unwrap_or_else(|| vec![0.0; rows * inputs]);
    if layer.rounded {
        match inputs < outputs {
            true => outer(d_weight, Orientation::Transposed, 1.0, x, dy_rows),
            false => outer(d_weight, Orientation::Straight, 1.0, dy_rows, x),
        }
        let mut product = PRODUCT.take();
        let target = MatMut::new(&mut dx, rows, inputs);
        product.multiply(dy_rows, layer.matrix(), target, Write::Add);
        PRODUCT.set(product);
        return dx;
    }
    gemm(d_weight, Write::Add, dy_rows.t().times(x), Threads::All);
    let target = MatMut::new(&mut dx, rows, inputs);
    gemm(target, write, dy_rows.times(layer.matrix()), Threads::All);
    dx
}
