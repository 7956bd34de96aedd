//! A weight matrix that never changes, packed once at load.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::bf16::{Panels, Rounded};
use super::low_bit::{self, Bits, Grid, LowBit};
use super::rhs::Rhs;
use super::{Isa, MatMut, MatRef, Precision, Threads, Write, dots, gemm};

/// Frozen weights `W` `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct PackedWeights {
    inputs: usize,
    outputs: usize,
    storage: Storage,
}

/// How the weights are held. `low_bit` is there where the weights fit few bits; a few rows are then
/// multiplied by that.
#[derive(Debug)]
enum Storage {
    /// Row-major, used in both directions.
    F32 { rows: Vec<f32>, low_bit: Option<LowBit> },
    /// Packed for `x Wᵀ`; what `dy W` needs is packed from it piece by piece.
    Bf16 { panels: Panels, low_bit: Option<LowBit> },
    /// In few bits alone. Panels are made from them on the fly in both directions, until `panels`
    /// are kept.
    LowBit { low_bit: LowBit, panels: OnceLock<Panels> },
}

/// What many rows are multiplied by.
enum Operand<'a> {
    F32(&'a [f32]),
    Bf16(Rhs<'a>),
}

impl PackedWeights {
    /// Packs row-major weights `[outputs, inputs]`.
    pub(crate) fn new(
        weights: Vec<f32>,
        outputs: usize,
        inputs: usize,
        precision: Precision,
    ) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights of {outputs}x{inputs}");
        let low_bit = LowBit::pack(&weights, outputs, inputs);
        let storage = match precision.resolve() {
            Precision::Bf16 => {
                let panels = Panels::transposed(MatRef::new(&weights, outputs, inputs));
                Storage::Bf16 { panels, low_bit }
            }
            Precision::F32 | Precision::Auto | Precision::Int8 => {
                Storage::F32 { rows: weights, low_bit }
            }
        };
        Self { inputs, outputs, storage }
    }

    /// Packs weights whose groups `write` writes, an output at a time, and whose codes have at most
    /// `bits`; `None` if rows are no whole groups.
    pub(crate) fn coded(
        bits: Bits,
        (outputs, inputs): (usize, usize),
        precision: Precision,
        write: impl Fn(usize, &mut [Grid]) + Sync,
    ) -> Option<Self> {
        let low_bit = LowBit::coded(bits, outputs, inputs, write)?;
        let storage = match precision.resolve() {
            Precision::Bf16 => Storage::LowBit { low_bit, panels: OnceLock::new() },
            Precision::F32 | Precision::Auto | Precision::Int8 => {
                let mut rows = vec![0.0; outputs * inputs];
                let lines = rows.par_chunks_mut(inputs).enumerate();
                lines.for_each(|(output, row)| low_bit.row(output, row));
                Storage::F32 { rows, low_bit: Some(low_bit) }
            }
        };
        Some(Self { inputs, outputs, storage })
    }

    /// Holds panels from now on, where they were made on the fly: results stay the same, products
    /// of tens of rows get faster, and each weight takes two bytes more.
    pub(crate) fn keep_panels(&self) {
        if let Storage::LowBit { low_bit, panels } = &self.storage {
            let (isa, mut made) = (Isa::current(), Panels::default());
            made.fill_panels(self.inputs, self.outputs, |first, width, out| {
                low_bit.panel(isa, first, width, out)
            });
            // Not made under the cell's lock: a thread that waits for its share of the work may run
            // into the cell again.
            let _ = panels.set(made);
        }
    }

    fn operand(&self) -> Operand<'_> {
        match &self.storage {
            Storage::F32 { rows, .. } => Operand::F32(rows),
            Storage::Bf16 { panels, .. } => Operand::Bf16(Rhs::Panels(panels)),
            Storage::LowBit { low_bit, panels } => {
                Operand::Bf16(panels.get().map_or(Rhs::LowBit(low_bit), Rhs::Panels))
            }
        }
    }

    /// What rows in bf16 are multiplied by; `None` where rows stay in f32.
    pub(super) fn rhs(&self) -> Option<Rhs<'_>> {
        match self.operand() {
            Operand::F32(_) => None,
            Operand::Bf16(rhs) => Some(rhs),
        }
    }

    fn low_bit(&self) -> Option<&LowBit> {
        match &self.storage {
            Storage::F32 { low_bit, .. } | Storage::Bf16 { low_bit, .. } => low_bit.as_ref(),
            Storage::LowBit { low_bit, .. } => Some(low_bit),
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
        let whole = match &self.storage {
            Storage::F32 { rows, .. } => size_of_val(&rows[..]),
            Storage::Bf16 { panels, .. } => panels.bytes(),
            Storage::LowBit { panels, .. } => panels.get().map_or(0, Panels::bytes),
        };
        whole + self.low_bit().map_or(0, LowBit::bytes)
    }

    /// `y = x Wᵀ` or `y += x Wᵀ`; `x` is `[rows, inputs]`, `y` is `[rows, outputs]`. Nothing may
    /// lie between the rows of `x`, nor of `y` where weights have few bits.
    pub(crate) fn forward(
        &self,
        x: MatRef<'_>,
        y: MatMut<'_>,
        write: Write,
        rounded: &mut Rounded,
    ) {
        match (self.low_bit(), self.operand()) {
            (Some(low_bit), operand) if x.rows() <= low_bit::ROWS => {
                low_bit.multiply(x, y, write, operand.rounds())
            }
            (_, Operand::F32(w)) => gemm(y, write, x.times(self.matrix(w).t()), Threads::All),
            (_, Operand::Bf16(rhs)) => {
                rounded.fill(x);
                rhs.multiply(rounded, None, y, write);
            }
        }
    }

    /// Like [`forward`](Self::forward) for few rows, each of which gets the same bits alone and
    /// among others. `forward` does not promise that: it may choose the product by the number of
    /// rows.
    pub(crate) fn forward_alike(
        &self,
        x: MatRef<'_>,
        y: MatMut<'_>,
        write: Write,
        rounded: &mut Rounded,
    ) {
        match (self.low_bit(), self.operand()) {
            (Some(low_bit), operand) => low_bit.multiply(x, y, write, operand.rounds()),
            (None, Operand::F32(w)) => rows_alike(self.matrix(w), x, y, write),
            (None, Operand::Bf16(rhs)) => {
                rounded.fill(x);
                rhs.multiply(rounded, None, y, write);
            }
        }
    }

    /// `dx = dy W` or `dx += dy W`; `dy` is `[rows, outputs]`, `dx` is `[rows, inputs]`. Nothing
    /// may lie between the rows of `dy`.
    pub(crate) fn backward(
        &self,
        dy: MatRef<'_>,
        dx: MatMut<'_>,
        write: Write,
        rounded: &mut Rounded,
    ) {
        match self.operand() {
            Operand::F32(w) => gemm(dx, write, dy.times(self.matrix(w)), Threads::All),
            Operand::Bf16(rhs) => {
                rounded.fill(dy);
                rhs.multiply_transposed(rounded, None, dx, write);
            }
        }
    }

    fn matrix<'a>(&self, rows: &'a [f32]) -> MatRef<'a> {
        MatRef::new(rows, self.outputs, self.inputs)
    }

    /// Copies row `row` of `W` to `out`, `inputs` values: how an embedding table is read.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match self.operand() {
            Operand::F32(w) => out.copy_from_slice(self.matrix(w).row(row)),
            Operand::Bf16(Rhs::Panels(panels)) => panels.column(row, out),
            Operand::Bf16(Rhs::LowBit(low_bit)) => low_bit.rounded_row(row, out),
        }
    }
}

impl Operand<'_> {
    /// Whether inputs are rounded to bf16.
    fn rounds(&self) -> bool {
        matches!(self, Self::Bf16(_))
    }
}

/// `y = x Wᵀ` or `y += x Wᵀ`, row by row: some outputs for all rows at a time, so that their
/// weights stay in the first-level cache. Nothing may lie between rows.
fn rows_alike(w: MatRef<'_>, x: MatRef<'_>, y: MatMut<'_>, write: Write) {
    const OUTPUTS: usize = 16;
    let (outputs, inputs, rows) = (w.rows(), w.columns(), x.rows());
    let chunk = outputs.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(OUTPUTS);
    let (w, y) = (w.as_slice(), y.into_slice());
    let matrix = |w| -> MatRef<'_> {
        let w: &[f32] = w;
        MatRef::new(w, w.len() / inputs, inputs)
    };
    if rows == 1 {
        let pieces = y.par_chunks_mut(chunk).zip(w.par_chunks(chunk * inputs));
        pieces.for_each(|(y, w)| dots(matrix(w), x.row(0), 1.0, y, write));
        return;
    }
    let products: Vec<Vec<f32>> = w
        .par_chunks(chunk * inputs)
        .map(|w| {
            let width = w.len() / inputs;
            let mut products = vec![0.0; rows * width];
            for (part, w) in w.chunks(OUTPUTS * inputs).enumerate() {
                for (row, y) in products.chunks_exact_mut(width).enumerate() {
                    let y = &mut y[part * OUTPUTS..][..w.len() / inputs];
                    dots(matrix(w), x.row(row), 1.0, y, Write::Set);
                }
            }
            products
        })
        .collect();
    for (part, products) in products.iter().enumerate() {
        let width = products.len() / rows;
        for (y, products) in y.chunks_exact_mut(outputs).zip(products.chunks_exact(width)) {
            let y = &mut y[part * chunk..][..width];
            y.iter_mut().zip(products).for_each(|(y, product)| *y = write.over(*y, *product));
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
            let weights = PackedWeights::new(w.clone(), n, k, precision);
            assert!(weights.low_bit().is_some());
            on_every_isa(|_| {
                let (mut one, mut many) = (vec![0.0; n], vec![0.0; 6 * n]);
                let rounded = &mut Rounded::default();
                let x = MatRef::new(&x, 6, k);
                let one_row = MatMut::new(&mut one, 1, n);
                weights.forward(x.rows_from(0, 1), one_row, Write::Set, rounded);
                weights.forward(x, MatMut::new(&mut many, 6, n), Write::Set, rounded);
                // The panels round weights to bf16, the few bits are exact.
                assert_close(&one, &many[..n], tolerance);
            });
            let (x, y) = (MatRef::new(&[], 0, k), MatMut::new(&mut [], 0, n));
            weights.forward(x, y, Write::Add, &mut Rounded::default());
        }
    }

    #[test]
    fn panels_made_on_the_fly_and_kept_give_the_bits_of_panels_of_the_weights_in_f32() {
        for (outputs, inputs) in [(70, 64), (2100, 96)] {
            let grids = |output: usize, grids: &mut [Grid]| {
                for (at, grid) in grids.iter_mut().enumerate() {
                    let draws = noise((output * inputs + at) as u64, low_bit::GROUP);
                    let codes = std::array::from_fn(|i| (7.5 + 7.5 * draws[i]) as u8);
                    let scale = half::f16::from_f32(0.02 * draws[0]).to_f32();
                    *grid =
                        Grid { scale, offset: half::f16::from_f32(0.1 * draws[1]).to_f32(), codes };
                }
            };
            let pack = |precision| {
                PackedWeights::coded(Bits::Four, (outputs, inputs), precision, grids).unwrap()
            };
            let (coded, exact) = (pack(Precision::Bf16), pack(Precision::F32));
            let mut weights = vec![0.0; outputs * inputs];
            weights.chunks_mut(inputs).enumerate().for_each(|(row, out)| exact.row(row, out));
            let packed = PackedWeights::new(weights, outputs, inputs, Precision::Bf16);
            for kept in [false, true] {
                if kept {
                    let before = coded.bytes();
                    coded.keep_panels();
                    assert_eq!(
                        coded.bytes() - before,
                        packed.bytes() - packed.low_bit().map_or(0, LowBit::bytes)
                    );
                }
                on_every_isa(|_| {
                    for rows in [5, 64, 150] {
                        let (x, dy) = (noise(2, rows * inputs), noise(3, rows * outputs));
                        let run = |weights: &PackedWeights| {
                            let (mut y, mut dx) =
                                (vec![1.0; rows * outputs], vec![1.0; rows * inputs]);
                            let (mut row, scratch) = (vec![0.0; inputs], &mut Rounded::default());
                            let (x, dy) =
                                (MatRef::new(&x, rows, inputs), MatRef::new(&dy, rows, outputs));
                            let to = MatMut::new(&mut y, rows, outputs);
                            weights.forward(x, to, Write::Add, scratch);
                            let to = MatMut::new(&mut dx, rows, inputs);
                            weights.backward(dy, to, Write::Add, scratch);
                            weights.row(outputs - 1, &mut row);
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
        let exact = PackedWeights::new(w.clone(), n, k, Precision::F32);
        let rounded = PackedWeights::new(w.clone(), n, k, Precision::Bf16);
        let scratch = &mut Rounded::default();
        let run = |weights: &PackedWeights, scratch: &mut Rounded| {
            let (mut y, mut dx, mut row) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; k]);
            let (x, dy) = (MatRef::new(&x, m, k), MatRef::new(&dy, m, n));
            weights.forward(x, MatMut::new(&mut y, m, n), Write::Set, scratch);
            weights.backward(dy, MatMut::new(&mut dx, m, k), Write::Set, scratch);
            weights.row(66, &mut row);
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
            let weights = PackedWeights::new(noise(1, n * k), n, k, precision);
            let scratch = &mut Rounded::default();
            for rows in [1, 3, 8, 17] {
                let x = noise(2, rows * k);
                let x = MatRef::new(&x, rows, k);
                for write in [Write::Set, Write::Add] {
                    let (mut y, mut expected) = (noise(3, rows * n), noise(3, rows * n));
                    let before = y.clone();
                    weights.forward_alike(x, MatMut::new(&mut y, rows, n), write, scratch);
                    weights.forward(x, MatMut::new(&mut expected, rows, n), write, scratch);
                    assert_close(&y, &expected, 1e-4);
                    for row in 0..rows {
                        let mut alone = before[row * n..][..n].to_vec();
                        let one = MatMut::new(&mut alone, 1, n);
                        weights.forward_alike(x.rows_from(row, 1), one, write, scratch);
                        assert_eq!(alone, y[row * n..][..n]);
                    }
                }
            }
        }
    }
}
