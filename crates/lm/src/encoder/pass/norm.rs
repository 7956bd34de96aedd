//! Layer norm (Ba et al. 2016) over rows, forward and backward.

use rayon::prelude::*;

use super::weights::BertWeights;
use crate::encoder::parameters::NormAt;
use crate::kernels::{NormGradients, add, layer_norm_backward_row, layer_norm_row};

/// Rows that a thread takes at a time. Gradients of weights are summed over as many, whatever the
/// number of threads.
const ROWS: usize = 64;

/// The norm at `at` of the rows of `x`.
pub(super) fn normed(model: BertWeights<'_>, at: &NormAt, x: &[f32]) -> Vec<f32> {
    let (weight, bias) = (&model.values[at.weight.clone()], &model.values[at.bias.clone()]);
    let mut y = x.to_vec();
    y.par_chunks_mut(ROWS * weight.len()).for_each(|rows| {
        let each = rows.chunks_exact_mut(weight.len());
        each.for_each(|row| layer_norm_row(row, weight, bias, model.config.eps));
    });
    y
}

/// The gradient with respect to `x`, the rows before the norm, for the gradient `dy` of its result;
/// those of weight and bias are added to `gradients`.
pub(super) fn norm_backward(
    model: BertWeights<'_>,
    at: &NormAt,
    x: &[f32],
    dy: &[f32],
    gradients: &mut [f32],
) -> Vec<f32> {
    let weight = &model.values[at.weight.clone()];
    let width = weight.len();
    let mut dx = dy.to_vec();
    let (chunk, eps) = (ROWS * width, model.config.eps);
    let pieces = dx.par_chunks_mut(chunk).zip(x.par_chunks(chunk));
    let sums: Vec<(Vec<f32>, Vec<f32>)> = pieces
        .map(|(dx, x)| {
            let (mut d_weight, mut d_bias) = (vec![0.0; width], vec![0.0; width]);
            for (dx, x) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                layer_norm_backward_row(x, weight, eps, dx, gradients);
            }
            (d_weight, d_bias)
        })
        .collect();
    for (d_weight, d_bias) in &sums {
        add(&mut gradients[at.weight.clone()], d_weight);
        add(&mut gradients[at.bias.clone()], d_bias);
    }
    dx
}
