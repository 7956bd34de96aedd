//! Operators that treat each row by itself: normalisation, bias, gated activation.

use rayon::prelude::*;

use crate::kernels;

/// Rows a thread takes at a time.
const ROWS: usize = 16;

/// RMSNorm (Zhang and Sennrich 2019): `y = x * weight / sqrt(mean(x²) + eps)`; rows as wide as `weight`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            kernels::rms_norm_row(x, weight, eps, y);
        }
    });
}

/// Adds to `dx` the gradient of [`rms_norm`] with respect to `x`, for the gradient `dy` of its result.
pub(crate) fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let width = weight.len();
    let chunk = ROWS * width;
    dx.par_chunks_mut(chunk).zip(x.par_chunks(chunk).zip(dy.par_chunks(chunk))).for_each(|(dx, (x, dy))| {
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
        for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
            kernels::rms_norm_backward_row(x, weight, eps, dy, dx);
        }
    });
}

/// Adds `bias` to every row.
pub(crate) fn add_bias(y: &mut [f32], bias: &[f32]) {
    y.par_chunks_mut(ROWS * bias.len()).for_each(|y| {
        for row in y.chunks_exact_mut(bias.len()) {
            kernels::add(row, bias);
        }
    });
}

/// SwiGLU (Shazeer 2020): `y = silu(gate) * up`; a row of `gate_up` holds gate, then up.
pub(crate) fn swiglu(gate_up: &[f32], width: usize, y: &mut [f32]) {
    y.par_chunks_mut(ROWS * width).zip(gate_up.par_chunks(2 * ROWS * width)).for_each(|(y, gate_up)| {
        for (y, row) in y.chunks_exact_mut(width).zip(gate_up.chunks_exact(2 * width)) {
            let (gate, up) = row.split_at(width);
            kernels::swiglu(gate, up, y);
        }
    });
}

/// Gradient of [`swiglu`] with respect to `gate_up`, for the gradient `dy` of its result.
pub(crate) fn swiglu_backward(gate_up: &[f32], width: usize, dy: &[f32], d_gate_up: &mut [f32]) {
    let (single, double) = (ROWS * width, 2 * ROWS * width);
    let inputs = gate_up.par_chunks(double).zip(dy.par_chunks(single));
    d_gate_up.par_chunks_mut(double).zip(inputs).for_each(|(d_gate_up, (gate_up, dy))| {
        let rows = gate_up.chunks_exact(2 * width).zip(dy.chunks_exact(width));
        for (d, (row, dy)) in d_gate_up.chunks_exact_mut(2 * width).zip(rows) {
            let (d_gate, d_up) = d.split_at_mut(width);
            let (gate, up) = row.split_at(width);
            kernels::swiglu_backward(gate, up, dy, d_gate, d_up);
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
    fn swiglu_gradient_matches_differences() {
        let (rows, width) = (18, 13);
        let (x, dy) = (noise(1, rows * 2 * width), noise(2, rows * width));
        let mut dx = vec![0.0; rows * 2 * width];
        swiglu_backward(&x, width, &dy, &mut dx);
        assert_gradient(&x, &dy, &dx, 2e-3, |x, y| swiglu(x, width, y));
    }

    #[test]
    fn bias_reaches_every_row() {
        let mut y = vec![1.0; 20 * 3];
        add_bias(&mut y, &[1.0, 2.0, 3.0]);
        assert!(y.chunks(3).all(|row| row == [2.0, 3.0, 4.0]));
    }
}
