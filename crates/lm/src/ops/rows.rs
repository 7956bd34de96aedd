//! Operators that treat each row by itself: normalisation, bias, gated activation.

use rayon::prelude::*;

use crate::{Activation, kernels};

/// Rows a thread takes at a time.
const ROWS: usize = 16;

/// RMSNorm (Zhang and Sennrich 2019): `y = x * weight / sqrt(mean(x²) + eps)`; rows as wide as
/// `weight`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            kernels::rms_norm_row(x, weight, eps, y);
        }
    });
}

/// Adds to `dx` the gradient of [`rms_norm`] with respect to `x`, for the gradient `dy` of its
/// result.
pub(crate) fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let width = weight.len();
    let chunk = ROWS * width;
    dx.par_chunks_mut(chunk).zip(x.par_chunks(chunk).zip(dy.par_chunks(chunk))).for_each(
        |(dx, (x, dy))| {
            let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
            for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                kernels::rms_norm_backward_row(x, weight, eps, dy, dx);
            }
        },
    );
}

/// RMSNorm of each head of queries and of keys by itself, as Qwen3 and Gemma 3 have it.
#[derive(Debug)]
pub(crate) struct HeadNorms {
    /// Added to the mean square.
    pub(crate) eps: f32,
    /// As wide as a head, for all query heads.
    pub(crate) query: Vec<f32>,
    /// As wide as a head, for all key heads.
    pub(crate) key: Vec<f32>,
}

impl HeadNorms {
    /// Normalises the first `queries` heads of each row, then `keys` heads, in place; rows are
    /// `stride` wide. `kept` receives these heads as they were, `[rows, (queries + keys) * width]`,
    /// for the backward pass.
    pub(crate) fn forward(
        &self,
        queries: usize,
        keys: usize,
        x: &mut [f32],
        stride: usize,
        kept: &mut Vec<f32>,
    ) {
        let width = self.query.len();
        let normed = (queries + keys) * width;
        kept.resize(x.len() / stride * normed, 0.0);
        let chunks = x.par_chunks_mut(ROWS * stride).zip(kept.par_chunks_mut(ROWS * normed));
        chunks.for_each(|(x, kept)| {
            for (x, kept) in x.chunks_exact_mut(stride).zip(kept.chunks_exact_mut(normed)) {
                kept.copy_from_slice(&x[..normed]);
                let heads = x.chunks_exact_mut(width).zip(kept.chunks_exact(width));
                for (at, (x, kept)) in heads.enumerate() {
                    kernels::rms_norm_row(kept, self.weight(at, queries), self.eps, x);
                }
            }
        });
    }

    /// Turns the gradient `dx` of the normalised heads into that of the heads as they were, in
    /// place.
    pub(crate) fn backward(
        &self,
        queries: usize,
        keys: usize,
        kept: &[f32],
        dx: &mut [f32],
        stride: usize,
    ) {
        let width = self.query.len();
        let normed = (queries + keys) * width;
        let chunks = dx.par_chunks_mut(ROWS * stride).zip(kept.par_chunks(ROWS * normed));
        chunks.for_each(|(dx, kept)| {
            let mut dy = vec![0.0; width];
            for (dx, kept) in dx.chunks_exact_mut(stride).zip(kept.chunks_exact(normed)) {
                let heads = dx.chunks_exact_mut(width).zip(kept.chunks_exact(width));
                for (at, (dx, kept)) in heads.enumerate() {
                    dy.copy_from_slice(dx);
                    dx.fill(0.0);
                    kernels::rms_norm_backward_row(
                        kept,
                        self.weight(at, queries),
                        self.eps,
                        &dy,
                        dx,
                    );
                }
            }
        });
    }

    fn weight(&self, head: usize, queries: usize) -> &[f32] {
        if head < queries { &self.query } else { &self.key }
    }
}

/// `y += x`.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    const CHUNK: usize = 1 << 13;
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| kernels::add(y, x));
}

/// Adds `bias` to every row.
pub(crate) fn add_bias(y: &mut [f32], bias: &[f32]) {
    y.par_chunks_mut(ROWS * bias.len()).for_each(|y| {
        for row in y.chunks_exact_mut(bias.len()) {
            kernels::add(row, bias);
        }
    });
}

/// A gated unit (Shazeer 2020): `y = activation(gate) * up`; a row of `gate_up` holds gate, then
/// up.
pub(crate) fn gated(activation: Activation, gate_up: &[f32], width: usize, y: &mut [f32]) {
    let unit = match activation {
        Activation::Silu => kernels::swiglu,
        Activation::GeluTanh => kernels::geglu,
    };
    y.par_chunks_mut(ROWS * width).zip(gate_up.par_chunks(2 * ROWS * width)).for_each(
        |(y, gate_up)| {
            for (y, row) in y.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width)) {
                let (gate, up) = row.split_at(width);
                unit(gate, up, y);
            }
        },
    );
}

/// Gradient of [`gated`] with respect to `gate_up`, for the gradient `dy` of its result.
pub(crate) fn gated_backward(
    activation: Activation,
    gate_up: &[f32],
    width: usize,
    dy: &[f32],
    d_gate_up: &mut [f32],
) {
    let unit = match activation {
        Activation::Silu => kernels::swiglu_backward,
        Activation::GeluTanh => kernels::geglu_backward,
    };
    let (single, double) = (ROWS * width, 2 * ROWS * width);
    let inputs = gate_up.par_chunks(double).zip(dy.par_chunks(single));
    d_gate_up.par_chunks_mut(double).zip(inputs).for_each(|(d_gate_up, (gate_up, dy))| {
        let rows = gate_up.chunks_exact(2 * width).zip(dy.chunks_exact(width));
        for (d, (row, dy)) in d_gate_up.chunks_exact_mut(2 * width).zip(rows) {
            let (d_gate, d_up) = d.split_at_mut(width);
            let (gate, up) = row.split_at(width);
            unit(gate, up, dy, d_gate, d_up);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_gradient, noise};

    #[test]
    fn rms_norm_has_unit_mean_square_and_its_gradient_matches_differences() {
        let (rows, width) = (19, 24);
        let (x, dy) = (noise(1, rows * width), noise(2, rows * width));
        let mut y = vec![0.0; rows * width];
        rms_norm(&x, &vec![1.0; width], 0.0, &mut y);
        for row in y.chunks(width) {
            let mean = row.iter().map(|v| v * v).sum::<f32>() / width as f32;
            assert!((mean - 1.0).abs() < 1e-5);
        }
        let weight = noise(3, width);
        let mut dx = vec![0.0; rows * width];
        rms_norm_backward(&x, &weight, 1e-3, &dy, &mut dx);
        assert_gradient(&x, &dy, &dx, 3e-3, |x, y| rms_norm(x, &weight, 1e-3, y));
    }

    #[test]
    fn gradients_of_gated_units_match_differences() {
        let (rows, width) = (18, 13);
        let dy = noise(2, rows * width);
        for activation in [Activation::Silu, Activation::GeluTanh] {
            for size in [1.0, 4.0] {
                let x: Vec<f32> = noise(1, rows * 2 * width).iter().map(|x| size * x).collect();
                let mut dx = vec![0.0; rows * 2 * width];
                gated_backward(activation, &x, width, &dy, &mut dx);
                assert_gradient(&x, &dy, &dx, 2e-3, |x, y| gated(activation, x, width, y));
            }
        }
    }

    #[test]
    fn heads_are_normalised_one_by_one_and_their_gradient_matches_differences() {
        let (rows, norms) = (19, HeadNorms { eps: 1e-3, query: noise(5, 6), key: noise(6, 6) });
        // Three query heads, two key heads, and values that are left alone.
        let (stride, turned) = (7 * 6, 5 * 6);
        let (x, dy) = (noise(1, rows * stride), noise(2, rows * stride));
        let mut kept = Vec::new();
        let mut run = |x: &[f32], y: &mut [f32]| {
            y.copy_from_slice(x);
            norms.forward(3, 2, y, stride, &mut kept);
        };
        let mut y = vec![0.0; x.len()];
        run(&x, &mut y);
        for (at, (found, x)) in y.chunks(6).zip(x.chunks(6)).enumerate() {
            let mut expected = x.to_vec();
            match at % 7 {
                0..3 => _ = kernels::rms_norm_row(x, &norms.query, 1e-3, &mut expected),
                3..5 => _ = kernels::rms_norm_row(x, &norms.key, 1e-3, &mut expected),
                _ => {}
            }
            assert_eq!(found, expected, "head {at}");
        }
        let mut dx = dy.clone();
        let raw: Vec<f32> = x.chunks(stride).flat_map(|row| &row[..turned]).copied().collect();
        norms.backward(3, 2, &raw, &mut dx, stride);
        assert_gradient(&x, &dy, &dx, 3e-3, run);
    }

    #[test]
    fn bias_reaches_every_row() {
        let mut y = vec![1.0; 20 * 3];
        add_bias(&mut y, &[1.0, 2.0, 3.0]);
        assert!(y.chunks(3).all(|row| row == [2.0, 3.0, 4.0]));
    }
}
