//! Products of a few rows with weights of four or eight bits: less memory to read for each token.
//!
//! A model file often holds its weights as small whole numbers, 32 at a time, with a scale and an
//! offset. Such weights are kept here in that form, and only where nothing is lost by it:
//! [`LowBit::coded`] takes what the file says, [`LowBit::pack`] a matrix whose every group of 32
//! lies on an even grid, and no other. A single row is bound by the memory it reads, so a token is
//! decoded about twice as fast as from bf16; from [`ROWS`] rows on, panels of bf16 are faster,
//! which [`LowBit::panel`] and [`LowBit::transposed_panel`] make.
//!
//! On processors that multiply bf16, a code `q` below 16 becomes bf16 by writing it into the
//! mantissa of 128. That gives `128 + q` exactly, and the surplus of 128 is taken off the offset.
//! An eight-bit code is two such numbers, the upper one with a scale 16 times as large. On other
//! processors the codes become f32, and the inputs are not rounded.
//!
//! With `w = scale * q + offset`, a group adds `scale * Σ q x + offset * Σ x` to an output. The
//! sums `Σ x` depend on the inputs alone, so they are taken once for all outputs.
//!
//! Invariant: how a sum is ordered depends on the processor and on the width of a row, never on the
//! number of rows or threads, so a row gets the same bits alone and among others.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
mod grid;
mod panels;
#[cfg(target_arch = "x86_64")]
mod panels_avx512;

use std::ops::Range;

use rayon::prelude::*;

use super::bf16::Destination;
#[cfg(target_arch = "x86_64")]
use super::bf16::{convert_row, halves};
use super::{Isa, MatMut, MatRef, Write};
pub(crate) use grid::Grid;

/// Up to this many rows, this is the fastest way.
pub(super) const ROWS: usize = 4;

/// Rows multiplied at a time in bf16, and in f32.
const AT_ONCE: [usize; 2] = [8, 4];

/// Outputs a thread takes at a time, at least.
const OUTPUTS: usize = 32;

/// Weights that are worth a thread's while when they are packed.
const PACKED: usize = 1 << 14;

/// Weights that share a scale and an offset.
pub(crate) const GROUP: usize = 32;

/// The kernel reads every half byte as this much more than it is.
const EXCESS: f32 = 128.0;

/// A frozen right-hand matrix of `inputs` rows and `outputs` columns whose weights lie on grids.
#[derive(Debug)]
pub(super) struct LowBit {
    inputs: usize,
    outputs: usize,
    bits: Bits,
    /// `[output][block]`, 32 bytes each. The low halves belong to one group of inputs, the high
    /// halves to the next (four bits) or to the same (eight bits).
    codes: Vec<[u8; GROUP]>,
    /// `[output][group of inputs]`: what a code is multiplied by.
    scales: Vec<f32>,
    /// `[output][group of inputs]`: the weight of code zero.
    offsets: Vec<f32>,
}

/// Bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// Inputs that a block of codes covers.
    fn inputs(self) -> usize {
        match self {
            Bits::Four => 2 * GROUP,
            Bits::Eight => GROUP,
        }
    }

    /// How much more than a code the bf16 kernel reads, all halves of it together.
    fn excess(self) -> f32 {
        match self {
            Bits::Four => EXCESS,
            Bits::Eight => 17.0 * EXCESS,
        }
    }
}

impl LowBit {
    /// The matrix whose element `(output, input)` is `weights[output * inputs + input]`; `None` if
    /// some of it would be lost.
    pub(super) fn pack(weights: &[f32], outputs: usize, inputs: usize) -> Option<Self> {
        let fit = |bits: Bits| {
            Self::pack_as(bits, outputs, inputs, |output, grids| {
                let groups = weights[output * inputs..][..inputs].as_chunks::<GROUP>().0;
                grids.iter_mut().zip(groups).try_for_each(|(grid, group)| {
                    *grid = match bits {
                        Bits::Four => Grid::four(group)?,
                        Bits::Eight => Grid::eight(group)?,
                    };
                    Some(())
                })
            })
        };
        fit(Bits::Four).or_else(|| fit(Bits::Eight))
    }

    /// The matrix of which `write` writes an output's groups, whose codes have at most `bits`;
    /// `None` if its rows are no whole groups.
    pub(super) fn coded(
        bits: Bits,
        outputs: usize,
        inputs: usize,
        write: impl Fn(usize, &mut [Grid]) + Sync,
    ) -> Option<Self> {
        let bits = if inputs.is_multiple_of(bits.inputs()) { bits } else { Bits::Eight };
        Self::pack_as(bits, outputs, inputs, |output, grids| {
            write(output, grids);
            Some(())
        })
    }

    fn pack_as(
        bits: Bits,
        outputs: usize,
        inputs: usize,
        write: impl Fn(usize, &mut [Grid]) -> Option<()> + Sync,
    ) -> Option<Self> {
        if outputs == 0 || inputs == 0 || !inputs.is_multiple_of(bits.inputs()) {
            return None;
        }
        let (blocks, groups) = (inputs / bits.inputs(), inputs / GROUP);
        let mut codes = vec![[0; GROUP]; outputs * blocks];
        let mut scales = vec![0.0; outputs * groups];
        let mut offsets = vec![0.0; outputs * groups];
        let lines = codes.par_chunks_mut(blocks).zip(scales.par_chunks_mut(groups));
        let lines = lines.zip(offsets.par_chunks_mut(groups)).enumerate();
        lines.with_min_len(PACKED.div_ceil(inputs)).try_for_each_init(
            || vec![Grid::default(); groups],
            |grids, (output, ((codes, scales), offsets))| {
                write(output, grids)?;
                for ((scale, offset), grid) in scales.iter_mut().zip(offsets).zip(&*grids) {
                    (*scale, *offset) = (grid.scale, grid.offset);
                }
                match bits {
                    Bits::Four => {
                        for (block, [low, high]) in codes.iter_mut().zip(grids.as_chunks::<2>().0) {
                            let both = low.codes.iter().zip(&high.codes);
                            block
                                .iter_mut()
                                .zip(both)
                                .for_each(|(code, (low, high))| *code = low | high << 4);
                        }
                    }
                    Bits::Eight => {
                        codes.iter_mut().zip(&*grids).for_each(|(block, grid)| *block = grid.codes)
                    }
                }
                Some(())
            },
        )?;
        Some(Self { inputs, outputs, bits, codes, scales, offsets })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.codes[..])
            + size_of_val(&self.scales[..])
            + size_of_val(&self.offsets[..])
    }

    /// `y = x Wᵀ` or `y += x Wᵀ` for few rows; `x` is `[rows, inputs]`, `y` is `[rows, outputs]`,
    /// and nothing may lie between their rows. The weights are not rounded; `x` is, to bf16, where
    /// `rounded` and the processor multiplies that. Every row gets the same bits alone and among
    /// others.
    pub(super) fn multiply(&self, x: MatRef<'_>, y: MatMut<'_>, write: Write, rounded: bool) {
        let rows = x.rows();
        assert!(x.columns() == self.inputs && y.shape() == (rows, self.outputs));
        if rows == 0 {
            return;
        }
        let (isa, x) = (Isa::current(), x.as_slice());
        let result = Output { start: Destination(y.into_slice().as_mut_ptr()), write };
        #[cfg(target_arch = "x86_64")]
        if rounded && isa >= Isa::Avx512Bf16 {
            let mut rounded = vec![0; x.len() / 2];
            convert_row(isa, x, &mut rounded);
            let sum = |group: &[u32]| {
                group.iter().map(|&both| halves(both)).map(|(even, odd)| even + odd).sum()
            };
            let sums: Vec<f32> = rounded.chunks_exact(GROUP / 2).map(sum).collect();
            let inputs = avx512::Inputs { rows, rounded: &rounded, sums: &sums };
            self.split(rows, AT_ONCE[0], |some, range| {
                // SAFETY: a level is only chosen on a processor that has its instructions; the
                // lengths are asserted, `y` holds the rows, and the ranges of outputs are disjoint.
                unsafe {
                    let result = result.at_row(some.start, self);
                    avx512::outputs(self, inputs.some(some, self), range, result);
                }
            });
            return;
        }
        let _ = rounded;
        let sums: Vec<f32> = x.chunks_exact(GROUP).map(|group| group.iter().sum()).collect();
        let inputs = Inputs { rows, x, sums: &sums };
        self.split(rows, AT_ONCE[1], |some, range| {
            // SAFETY: `y` holds the rows.
            let result = unsafe { result.at_row(some.start, self) };
            floats::outputs(isa, self, inputs.some(some, self), range, result);
        });
    }

    /// Runs `piece` on ranges of all outputs, on all threads, for `at_once` rows at a time. Some
    /// outputs are taken for all rows before the next, so that weights are read from memory once.
    fn split(
        &self,
        rows: usize,
        at_once: usize,
        piece: impl Fn(Range<usize>, Range<usize>) + Sync,
    ) {
        let chunk = self.outputs.div_ceil(4 * rayon::current_num_threads()).max(OUTPUTS);
        (0..self.outputs.div_ceil(chunk)).into_par_iter().with_max_len(1).for_each(|index| {
            let range = index * chunk..((index + 1) * chunk).min(self.outputs);
            for start in range.clone().step_by(OUTPUTS) {
                let outputs = start..(start + OUTPUTS).min(range.end);
                for first in (0..rows).step_by(at_once) {
                    piece(first..rows.min(first + at_once), outputs.clone());
                }
            }
        });
    }
}

/// Rows to be multiplied.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    rows: usize,
    /// `[rows, inputs]`
    x: &'a [f32],
    /// `[rows, groups]`: sums of each group.
    sums: &'a [f32],
}

impl Inputs<'_> {
    /// Some of the rows.
    #[inline]
    fn some(self, rows: Range<usize>, w: &LowBit) -> Self {
        let first = rows.start * w.inputs;
        let sums = &self.sums[first / GROUP..];
        Self { rows: rows.len(), x: &self.x[first..], sums }
    }
}

/// Where sums go: `[rows, outputs]`.
#[derive(Clone, Copy)]
struct Output {
    start: Destination,
    write: Write,
}

impl Output {
    /// From row `first` on.
    ///
    /// # Safety
    /// The row must exist.
    unsafe fn at_row(self, first: usize, w: &LowBit) -> Self {
        // SAFETY: as the caller promises.
        Self { start: Destination(unsafe { self.start.at(first * w.outputs) }), ..self }
    }

    /// Writes the sum of an output for a row.
    ///
    /// # Safety
    /// Both must exist, and nobody else may touch the place meanwhile.
    #[inline(always)]
    unsafe fn put(self, row: usize, output: usize, w: &LowBit, sum: f32) {
        // SAFETY: as the caller promises.
        unsafe {
            let slot = self.start.at(row * w.outputs + output);
            *slot = self.write.over(*slot, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    /// Weights on grids as a file of `bits` would give them: scales and offsets are 16-bit floats
    /// there.
    pub(super) fn weights(count: usize, bits: Bits) -> Vec<f32> {
        let f16 = |x: f32| half::f16::from_f32(x).to_f32();
        let draws = noise(1, count + count / GROUP * 2);
        let (codes, grids) = draws.split_at(count);
        let groups = codes.chunks(GROUP).zip(grids.chunks(2));
        groups
            .flat_map(|(codes, grid)| {
                let (scale, offset) = (f16(0.01 + 0.01 * grid[0].abs()), f16(0.1 * grid[1]));
                codes.iter().enumerate().map(move |(i, x)| match (bits, i) {
                    (Bits::Four, _) => scale * (7.5 + 7.5 * x).round() + offset,
                    // Some weight of a group is its largest code.
                    (Bits::Eight, 0) => scale * 127.0,
                    (Bits::Eight, _) => scale * (127.0 * x).round(),
                })
            })
            .collect()
    }

    #[test]
    fn products_match_the_scalar_reference_for_every_number_of_rows() {
        for (bits, outputs, inputs) in [
            (Bits::Four, 5, 64),
            (Bits::Four, 130, 576),
            (Bits::Eight, 3, 32),
            (Bits::Eight, 70, 1120),
        ] {
            let w = weights(outputs * inputs, bits);
            let packed = LowBit::pack(&w, outputs, inputs).unwrap();
            assert_eq!(packed.bits, bits);
            for rows in (1..=8).chain([13, 17]) {
                let (x, old) = (noise(2, rows * inputs), noise(3, rows * outputs));
                // What the weights meet: the inputs themselves, or the inputs in bf16.
                let product = |x: &[f32], write: Write| -> Vec<f32> {
                    let element = |(i, old): (usize, &f32)| {
                        let (row, output) = (i / outputs, i % outputs);
                        let both = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
                        let sum: f64 = both.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                        write.over(*old, sum as f32)
                    };
                    old.iter().enumerate().map(element).collect()
                };
                let in_bf16: Vec<f32> = x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
                for (write, rounded) in [
                    (Write::Set, true),
                    (Write::Add, true),
                    (Write::Set, false),
                    (Write::Add, false),
                ] {
                    let (exact, near) = (product(&x, write), product(&in_bf16, write));
                    on_every_isa(|isa| {
                        let mut y = old.clone();
                        let x = MatRef::new(&x, rows, inputs);
                        packed.multiply(x, MatMut::new(&mut y, rows, outputs), write, rounded);
                        let rounds = rounded && isa >= Isa::Avx512Bf16;
                        assert_close(&y, if rounds { &near } else { &exact }, 2e-4);
                        let last = (rows - 1) * outputs;
                        let mut alone = old[last..].to_vec();
                        let row = x.rows_from(rows - 1, 1);
                        packed.multiply(row, MatMut::new(&mut alone, 1, outputs), write, rounded);
                        assert_eq!(alone, y[last..]);
                    });
                }
            }
        }
    }

    #[test]
    fn an_infinite_or_undefined_input_reaches_every_output_of_its_row_alone() {
        let (outputs, inputs) = (40, 128);
        let packed = LowBit::pack(&weights(outputs * inputs, Bits::Four), outputs, inputs).unwrap();
        let mut x = noise(2, 3 * inputs);
        (x[5], x[2 * inputs + 99]) = (f32::INFINITY, f32::NAN);
        on_every_isa(|_| {
            let mut y = vec![0.0; 3 * outputs];
            let x = MatRef::new(&x, 3, inputs);
            packed.multiply(x, MatMut::new(&mut y, 3, outputs), Write::Set, true);
            let finite: Vec<bool> =
                y.chunks(outputs).map(|y| y.iter().all(|y| y.is_finite())).collect();
            let lost: Vec<bool> =
                y.chunks(outputs).map(|y| y.iter().any(|y| y.is_finite())).collect();
            assert_eq!((finite, lost), (vec![false, true, false], vec![false, true, false]));
        });
    }

    #[test]
    fn nothing_is_packed_that_would_lose_something() {
        let uneven = noise(1, 64 * 3);
        assert!(LowBit::pack(&uneven, 3, 64).is_none());
        let mut nearly = weights(64 * 3, Bits::Four);
        nearly[77] += 1e-4;
        assert!(LowBit::pack(&nearly, 3, 64).is_none());
        assert!(LowBit::pack(&[1.0; 33], 1, 33).is_none());
    }
}
