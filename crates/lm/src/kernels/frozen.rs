//! A frozen weight matrix, packed once at load.

use super::bf16::{Panels, Rounded, Target, multiply, multiply_transposed};
use super::nibbles::{self, Nibbles};
use super::{MatMut, MatRef, Precision, Threads, gemm};

/// Weights `W` `[outputs, inputs]` that never change.
#[derive(Debug)]
pub(crate) struct Frozen {
    inputs: usize,
    outputs: usize,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    F32 {
        /// Row-major, used in both directions.
        rows: Vec<f32>,
        /// Packed for `x Wᵀ` with few rows, where the weights have few bits.
        few: Option<Nibbles>,
    },
    Bf16 {
        /// Packed for `x Wᵀ`; what `dy W` needs is packed from it piece by piece.
        panels: Panels,
        /// Packed for `x Wᵀ` with few rows, where the weights have few bits.
        few: Option<Nibbles>,
    },
}

impl Frozen {
    /// Packs row-major weights `[outputs, inputs]`.
    pub(crate) fn new(weights: Vec<f32>, outputs: usize, inputs: usize, precision: Precision) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights of {outputs}x{inputs}");
        let weights = match precision.resolve() {
            Precision::Bf16 => Weights::Bf16 {
                panels: Panels::transposed(&weights, outputs, inputs),
                few: Nibbles::pack(&weights, outputs, inputs),
            },
            Precision::F32 | Precision::Auto => {
                Weights::F32 { few: Nibbles::pack(&weights, outputs, inputs), rows: weights }
            }
        };
        Self { inputs, outputs, weights }
    }

    /// The weights in panels, if that is how they are held.
    pub(super) fn panels(&self) -> Option<&Panels> {
        match &self.weights {
            Weights::F32 { .. } => None,
            Weights::Bf16 { panels, .. } => Some(panels),
        }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        match &self.weights {
            Weights::F32 { rows, few } => size_of_val(&rows[..]) + few.as_ref().map_or(0, Nibbles::bytes),
            Weights::Bf16 { panels, few } => panels.bytes() + few.as_ref().map_or(0, Nibbles::bytes),
        }
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ` when `accumulate`; `x` is `[rows, inputs]`, `y` is `[rows, outputs]`.
    pub(crate) fn forward(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        accumulate: bool,
        rounded: &mut Rounded,
    ) {
        match &self.weights {
            Weights::F32 { few: Some(few), .. } if rows <= nibbles::ROWS => {
                few.multiply(rows, x, y, accumulate, false)
            }
            Weights::F32 { rows: w, .. } => {
                let w = MatRef::new(w, self.outputs, self.inputs).t();
                let x = MatRef::new(x, rows, self.inputs);
                gemm(MatMut::new(y, rows, self.outputs), accumulate, 1.0, x, w, Threads::All);
            }
            Weights::Bf16 { few: Some(few), .. } if rows <= nibbles::ROWS => {
                few.multiply(rows, x, y, accumulate, true)
            }
            Weights::Bf16 { panels, .. } => {
                rounded.fill(rows, self.inputs, x);
                multiply(rows, &[rounded.term(panels)], Target { data: y, stride: self.outputs, accumulate });
            }
        }
    }

    /// `dx = dy W`, or `dx += dy W` when `accumulate`; `dy` is `[rows, outputs]`, `dx` is `[rows, inputs]`.
    pub(crate) fn backward(
        &self,
        rows: usize,
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        rounded: &mut Rounded,
    ) {
        match &self.weights {
            Weights::F32 { rows: w, .. } => {
                let w = MatRef::new(w, self.outputs, self.inputs);
                let dy = MatRef::new(dy, rows, self.outputs);
                gemm(MatMut::new(dx, rows, self.inputs), accumulate, 1.0, dy, w, Threads::All);
            }
            Weights::Bf16 { panels, .. } => {
                rounded.fill(rows, self.outputs, dy);
                let dx = Target { data: dx, stride: self.inputs, accumulate };
                multiply_transposed(rows, rounded, panels, None, dx);
            }
        }
    }

    /// Copies row `row` of `W` to `out`, `inputs` values: how an embedding table is read.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match &self.weights {
            Weights::F32 { rows: w, .. } => out.copy_from_slice(&w[row * self.inputs..][..self.inputs]),
            Weights::Bf16 { panels, .. } => panels.column(row, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    #[test]
    fn weights_of_few_bits_give_one_row_what_many_rows_get() {
        let (k, n) = (64, 70);
        // Sixteen even steps from -0.4.
        let w: Vec<f32> = noise(1, n * k).iter().map(|x| (7.5 + 7.5 * x).round() * 0.05 - 0.4).collect();
        let x = noise(2, 6 * k);
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.01)] {
            let frozen = Frozen::new(w.clone(), n, k, precision);
            let (Weights::F32 { few, .. } | Weights::Bf16 { few, .. }) = &frozen.weights;
            assert!(few.is_some());
            on_every_isa(|_| {
                let (mut one, mut many) = (vec![0.0; n], vec![0.0; 6 * n]);
                let rounded = &mut Rounded::default();
                frozen.forward(1, &x[..k], &mut one, false, rounded);
                frozen.forward(6, &x, &mut many, false, rounded);
                // The panels round weights to bf16, the few bits are exact.
                assert_close(&one, &many[..n], tolerance);
            });
            frozen.forward(0, &[], &mut [], true, &mut Rounded::default());
        }
    }

    #[test]
    fn both_precisions_give_nearly_the_same_products() {
        let (m, k, n) = (5, 40, 67);
        let (w, x, dy) = (noise(1, n * k), noise(2, m * k), noise(3, m * n));
        let exact = Frozen::new(w.clone(), n, k, Precision::F32);
        let rounded = Frozen::new(w.clone(), n, k, Precision::Bf16);
        let scratch = &mut Rounded::default();
        let run = |frozen: &Frozen, scratch: &mut Rounded| {
            let (mut y, mut dx, mut row) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; k]);
            frozen.forward(m, &x, &mut y, false, scratch);
            frozen.backward(m, &dy, &mut dx, false, scratch);
            frozen.row(66, &mut row);
            (y, dx, row)
        };
        let (a, b) = (run(&exact, scratch), run(&rounded, scratch));
        assert_eq!(a.2, w[66 * k..]);
        // Each of up to 67 products of numbers below 1 is off by at most 2^-8; signs vary.
        assert_close(&a.0, &b.0, 0.03);
        assert_close(&a.1, &b.1, 0.03);
        assert_close(&a.2, &b.2, 0.004);
    }
}
