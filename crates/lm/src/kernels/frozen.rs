//! A frozen weight matrix, packed once at load.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::bf16::{Panels, Rounded, Target};
use super::nibbles::{self, Bits, Grid, Nibbles};
use super::right::Right;
use super::{Isa, MatMut, MatRef, Precision, Threads, dots, gemm};

/// Weights `W` `[outputs, inputs]` that never change.
#[derive(Debug)]
pub(crate) struct Frozen {
    inputs: usize,
    outputs: usize,
    weights: Weights,
}

/// Where `few` stands, weights have few bits, by which few rows are multiplied.
#[derive(Debug)]
enum Weights {
    /// Row-major, used in both directions.
    F32 { rows: Vec<f32>, few: Option<Nibbles> },
    /// Packed for `x Wᵀ`; what `dy W` needs is packed from it piece by piece.
    Bf16 { panels: Panels, few: Option<Nibbles> },
    /// As few bits alone, of which panels are made piece by piece in both directions, until
    /// `panels` are kept.
    Coded { few: Nibbles, panels: OnceLock<Panels> },
}

/// What many rows are multiplied by.
enum Side<'a> {
    F32(&'a [f32]),
    Bf16(Right<'a>),
}

impl Frozen {
    /// Packs row-major weights `[outputs, inputs]`.
    pub(crate) fn new(
        weights: Vec<f32>,
        outputs: usize,
        inputs: usize,
        precision: Precision,
    ) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights of {outputs}x{inputs}");
        let few = Nibbles::pack(&weights, outputs, inputs);
        let weights = match precision.resolve() {
            Precision::Bf16 => {
                Weights::Bf16 { panels: Panels::transposed(&weights, outputs, inputs), few }
            }
            Precision::F32 | Precision::Auto | Precision::Int8 => {
                Weights::F32 { rows: weights, few }
            }
        };
        Self { inputs, outputs, weights }
    }

    /// Packs weights whose groups `write` writes, an output at a time, and whose codes have at most
    /// `bits`; `None` if rows are no whole groups.
    pub(crate) fn coded(
        bits: Bits,
        (outputs, inputs): (usize, usize),
        precision: Precision,
        write: impl Fn(usize, &mut [Grid]) + Sync,
    ) -> Option<Self> {
        let few = Nibbles::coded(bits, outputs, inputs, write)?;
        let weights = match precision.resolve() {
            Precision::Bf16 => Weights::Coded { few, panels: OnceLock::new() },
            Precision::F32 | Precision::Auto | Precision::Int8 => {
                let mut rows = vec![0.0; outputs * inputs];
                let lines = rows.par_chunks_mut(inputs).enumerate();
                lines.for_each(|(output, row)| few.row(output, row));
                Weights::F32 { rows, few: Some(few) }
            }
        };
        Some(Self { inputs, outputs, weights })
    }

    /// Holds panels from now on, where they were made on the fly: results stay the same, products
    /// of tens of rows get faster, and each weight takes two bytes more.
    pub(crate) fn keep_panels(&self) {
        if let Weights::Coded { few, panels } = &self.weights {
            let (isa, mut made) = (Isa::current(), Panels::default());
            made.fill_panels(self.inputs, self.outputs, |first, width, out| {
                few.panel(isa, first, width, out)
            });
            // Not made under the cell's lock: a thread that waits for its share of the work may run
            // into the cell again.
            let _ = panels.set(made);
        }
    }

    fn side(&self) -> Side<'_> {
        match &self.weights {
            Weights::F32 { rows, .. } => Side::F32(rows),
            Weights::Bf16 { panels, .. } => Side::Bf16(Right::Panels(panels)),
            Weights::Coded { few, panels } => {
                Side::Bf16(panels.get().map_or(Right::Coded(few), Right::Panels))
            }
        }
    }

    /// What rows in bf16 are multiplied by, if they are.
    pub(super) fn right(&self) -> Option<Right<'_>> {
        match self.side() {
            Side::F32(_) => None,
            Side::Bf16(right) => Some(right),
        }
    }

    fn few(&self) -> Option<&Nibbles> {
        match &self.weights {
            Weights::F32 { few, .. } | Weights::Bf16 { few, .. } => few.as_ref(),
            Weights::Coded { few, .. } => Some(few),
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
        let weights = match &self.weights {
            Weights::F32 { rows, .. } => size_of_val(&rows[..]),
            Weights::Bf16 { panels, .. } => panels.bytes(),
            Weights::Coded { panels, .. } => panels.get().map_or(0, Panels::bytes),
        };
        weights + self.few().map_or(0, Nibbles::bytes)
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ` when `accumulate`; `x` is `[rows, inputs]`, `y` is `[rows,
    /// outputs]`.
    pub(crate) fn forward(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        accumulate: bool,
        rounded: &mut Rounded,
    ) {
        match (self.few(), self.side()) {
            (Some(few), side) if rows <= nibbles::ROWS => {
                few.multiply(rows, x, y, accumulate, side.rounds())
            }
            (_, Side::F32(w)) => {
                let w = MatRef::new(w, self.outputs, self.inputs).t();
                let x = MatRef::new(x, rows, self.inputs);
                gemm(MatMut::new(y, rows, self.outputs), accumulate, 1.0, x, w, Threads::All);
            }
            (_, Side::Bf16(right)) => {
                rounded.fill(rows, self.inputs, x);
                right.multiply(
                    rows,
                    rounded,
                    None,
                    Target { data: y, stride: self.outputs, accumulate },
                );
            }
        }
    }

    /// Like [`forward`](Self::forward) for few rows, each of which gets the same bits alone and
    /// among others. `forward` does not promise that: it may choose the product by the number of
    /// rows.
    pub(crate) fn forward_alike(
        &self,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        accumulate: bool,
        rounded: &mut Rounded,
    ) {
        match (self.few(), self.side()) {
            (Some(few), side) => few.multiply(rows, x, y, accumulate, side.rounds()),
            (None, Side::F32(w)) => rows_alike(w, (self.outputs, self.inputs), x, y, accumulate),
            (None, Side::Bf16(right)) => {
                rounded.fill(rows, self.inputs, x);
                right.multiply(
                    rows,
                    rounded,
                    None,
                    Target { data: y, stride: self.outputs, accumulate },
                );
            }
        }
    }

    /// `dx = dy W`, or `dx += dy W` when `accumulate`; `dy` is `[rows, outputs]`, `dx` is `[rows,
    /// inputs]`.
    pub(crate) fn backward(
        &self,
        rows: usize,
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        rounded: &mut Rounded,
    ) {
        match self.side() {
            Side::F32(w) => {
                let w = MatRef::new(w, self.outputs, self.inputs);
                let dy = MatRef::new(dy, rows, self.outputs);
                gemm(MatMut::new(dx, rows, self.inputs), accumulate, 1.0, dy, w, Threads::All);
            }
            Side::Bf16(right) => {
                rounded.fill(rows, self.outputs, dy);
                let dx = Target { data: dx, stride: self.inputs, accumulate };
                right.multiply_transposed(rows, rounded, None, dx);
            }
        }
    }

    /// Copies row `row` of `W` to `out`, `inputs` values: how an embedding table is read.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match self.side() {
            Side::F32(w) => out.copy_from_slice(&w[row * self.inputs..][..self.inputs]),
            Side::Bf16(Right::Panels(panels)) => panels.column(row, out),
            Side::Bf16(Right::Coded(few)) => few.rounded_row(row, out),
        }
    }
}

impl Side<'_> {
    /// Whether inputs are rounded to bf16.
    fn rounds(&self) -> bool {
        matches!(self, Self::Bf16(_))
    }
}

/// `y = x Wᵀ`, or `y += x Wᵀ`, row by row: some outputs for all rows at a time, so that their
/// weights stay in the first-level cache.
fn rows_alike(
    w: &[f32],
    (outputs, inputs): (usize, usize),
    x: &[f32],
    y: &mut [f32],
    accumulate: bool,
) {
    const OUTPUTS: usize = 16;
    let chunk = outputs.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(OUTPUTS);
    if x.len() == inputs {
        let pieces = y.par_chunks_mut(chunk).zip(w.par_chunks(chunk * inputs));
        pieces.for_each(|(y, w)| dots(w, inputs, x, 1.0, accumulate, y));
        return;
    }
    let products: Vec<Vec<f32>> = w
        .par_chunks(chunk * inputs)
        .map(|w| {
            let mut products = vec![0.0; x.len() / inputs * (w.len() / inputs)];
            let width = w.len() / inputs;
            for (part, w) in w.chunks(OUTPUTS * inputs).enumerate() {
                for (x, y) in x.chunks_exact(inputs).zip(products.chunks_exact_mut(width)) {
                    let y = &mut y[part * OUTPUTS..][..w.len() / inputs];
                    dots(w, inputs, x, 1.0, false, y);
                }
            }
            products
        })
        .collect();
    for (part, products) in products.iter().enumerate() {
        let width = products.len() / (x.len() / inputs);
        for (y, products) in y.chunks_exact_mut(outputs).zip(products.chunks_exact(width)) {
            let y = &mut y[part * chunk..][..width];
            match accumulate {
                true => y.iter_mut().zip(products).for_each(|(y, product)| *y += product),
                false => y.copy_from_slice(products),
            }
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
        let w: Vec<f32> =
            noise(1, n * k).iter().map(|x| (7.5 + 7.5 * x).round() * 0.05 - 0.4).collect();
        let x = noise(2, 6 * k);
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.01)] {
            let frozen = Frozen::new(w.clone(), n, k, precision);
            assert!(frozen.few().is_some());
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
    fn panels_made_on_the_fly_and_kept_give_the_bits_of_panels_of_the_weights_in_f32() {
        for (outputs, inputs) in [(70, 64), (2100, 96)] {
            let grids = |output: usize, grids: &mut [Grid]| {
                for (at, grid) in grids.iter_mut().enumerate() {
                    let draws = noise((output * inputs + at) as u64, nibbles::GROUP);
                    let codes = std::array::from_fn(|i| (7.5 + 7.5 * draws[i]) as u8);
                    let scale = half::f16::from_f32(0.02 * draws[0]).to_f32();
                    *grid =
                        Grid { scale, offset: half::f16::from_f32(0.1 * draws[1]).to_f32(), codes };
                }
            };
            let pack =
                |precision| Frozen::coded(Bits::Four, (outputs, inputs), precision, grids).unwrap();
            let (coded, exact) = (pack(Precision::Bf16), pack(Precision::F32));
            let mut weights = vec![0.0; outputs * inputs];
            weights.chunks_mut(inputs).enumerate().for_each(|(row, out)| exact.row(row, out));
            let packed = Frozen::new(weights, outputs, inputs, Precision::Bf16);
            for kept in [false, true] {
                if kept {
                    let before = coded.bytes();
                    coded.keep_panels();
                    assert_eq!(
                        coded.bytes() - before,
                        packed.bytes() - packed.few().map_or(0, Nibbles::bytes)
                    );
                }
                on_every_isa(|_| {
                    for rows in [5, 64, 150] {
                        let (x, dy) = (noise(2, rows * inputs), noise(3, rows * outputs));
                        let run = |frozen: &Frozen| {
                            let (mut y, mut dx) =
                                (vec![1.0; rows * outputs], vec![1.0; rows * inputs]);
                            let (mut row, scratch) = (vec![0.0; inputs], &mut Rounded::default());
                            frozen.forward(rows, &x, &mut y, true, scratch);
                            frozen.backward(rows, &dy, &mut dx, true, scratch);
                            frozen.row(outputs - 1, &mut row);
                            (y, dx, row)
                        };
                        assert!(run(&coded) == run(&packed), "{rows} rows, kept {kept}");
                    }
                });
            }
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

    #[test]
    fn rows_are_alike_alone_and_among_others_and_as_the_other_product_says() {
        let (k, n) = (70, 300);
        for precision in [Precision::F32, Precision::Bf16] {
            let frozen = Frozen::new(noise(1, n * k), n, k, precision);
            let scratch = &mut Rounded::default();
            for rows in [1, 3, 8, 17] {
                let x = noise(2, rows * k);
                for accumulate in [false, true] {
                    let (mut y, mut expected) = (noise(3, rows * n), noise(3, rows * n));
                    let before = y.clone();
                    frozen.forward_alike(rows, &x, &mut y, accumulate, scratch);
                    frozen.forward(rows, &x, &mut expected, accumulate, scratch);
                    assert_close(&y, &expected, 1e-4);
                    for (row, x) in x.chunks(k).enumerate() {
                        let mut alone = before[row * n..][..n].to_vec();
                        frozen.forward_alike(1, x, &mut alone, accumulate, scratch);
                        assert_eq!(alone, y[row * n..][..n]);
                    }
                }
            }
        }
    }
}
