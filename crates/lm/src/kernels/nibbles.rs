//! Products of a few rows with weights that come in four or eight bits: less memory to read for each token.
//!
//! A model file often holds its weights as small whole numbers, 32 at a time, with a scale and an offset. Such weights
//! are kept here in that form beside their bf16 panels, and only where nothing is lost by it: [`Nibbles::pack`] takes
//! a matrix whose every group of 32 lies on an even grid, and no other. A single row is bound by the memory it reads,
//! so a token is decoded about twice as fast; from [`ROWS`] rows on, the panels are faster.
//!
//! A number `q` below 16 becomes bf16 by writing it into the mantissa of 128, which gives `128 + q` exactly; what is
//! too much goes into the offset. An eight-bit number is two such numbers, the upper one with a scale 16 times as large.
//! That is for processors which multiply bf16; on others the codes become f32, and the inputs stay as they are.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;

use std::ops::Range;

use rayon::prelude::*;

use super::Isa;
use super::bf16::Destination;
#[cfg(target_arch = "x86_64")]
use super::bf16::{convert_row, halves};

/// Up to this many rows, this is the fastest way.
pub(super) const ROWS: usize = 4;

/// Rows multiplied at a time in bf16, and in f32.
const AT_ONCE: [usize; 2] = [8, 4];

/// Outputs a thread takes at a time, at least.
const OUTPUTS: usize = 32;

/// Weights that share a scale and an offset.
const GROUP: usize = 32;

/// The kernel reads every half byte as this much more than it is.
const EXCESS: f32 = 128.0;

/// A frozen right-hand matrix of `inputs` rows and `outputs` columns whose weights lie on grids.
#[derive(Debug)]
pub(super) struct Nibbles {
    inputs: usize,
    outputs: usize,
    bits: Bits,
    /// `[output][block]`, 32 bytes each. The low halves belong to one group of inputs, the high halves to the next
    /// (four bits) or to the same (eight bits).
    codes: Vec<[u8; GROUP]>,
    /// `[output][block]`: scale of the low and of the high halves.
    scales: Vec<[f32; 2]>,
    /// `[output][group of inputs]`: what each input is multiplied by besides.
    offsets: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
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
}

/// One group of weights as `offset + scale * code`.
struct Grid {
    scale: f32,
    offset: f32,
    codes: [u8; GROUP],
}

impl Grid {
    /// The group on the grid of `steps` even steps from `lowest`, if every weight lies on it up to the rounding of f32.
    fn fit(group: &[f32; GROUP], lowest: f32, scale: f32) -> Option<Self> {
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        // To the nearest; a cast saturates, so a weight off the grid is seen below.
        let codes = group.map(|weight| ((weight - lowest) * inverse + 0.5) as u8);
        let near = 4.0 * f32::EPSILON * group.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let on_grid =
            |(weight, code): (&f32, &u8)| (lowest + scale * f32::from(*code) - weight).abs() <= near;
        // All of them, without an early end: that makes vector code.
        let all = group.iter().zip(&codes).fold(true, |all, both| all & on_grid(both));
        all.then_some(Self { scale, offset: lowest, codes })
    }

    /// Four bits: 15 steps or fewer from the lowest to the highest weight.
    fn four(group: &[f32; GROUP]) -> Option<Self> {
        let lowest = group.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (1..=15).rev().find_map(|steps| Self::fit(group, lowest, (highest - lowest) / steps as f32))
    }

    /// Eight bits: 127 steps from zero to the largest weight, on both sides.
    fn eight(group: &[f32; GROUP]) -> Option<Self> {
        let largest = group.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let scale = largest / 127.0;
        Self::fit(group, -128.0 * scale, scale)
    }
}

impl Nibbles {
    /// The matrix whose element `(output, input)` is `weights[output * inputs + input]`; `None` if some of it would be
    /// lost.
    pub(super) fn pack(weights: &[f32], outputs: usize, inputs: usize) -> Option<Self> {
        if outputs == 0 {
            return None;
        }
        [Bits::Four, Bits::Eight].into_iter().find_map(|bits| Self::pack_as(weights, outputs, inputs, bits))
    }

    fn pack_as(weights: &[f32], outputs: usize, inputs: usize, bits: Bits) -> Option<Self> {
        if inputs == 0 || !inputs.is_multiple_of(bits.inputs()) {
            return None;
        }
        let (blocks, groups) = (inputs / bits.inputs(), inputs / GROUP);
        let mut codes = vec![[0; GROUP]; outputs * blocks];
        let mut scales = vec![[0.0; 2]; outputs * blocks];
        let mut offsets = vec![0.0; outputs * groups];
        let blocks_of = codes.par_chunks_mut(blocks).zip(scales.par_chunks_mut(blocks));
        let lines = blocks_of.zip(offsets.par_chunks_mut(groups)).zip(weights.par_chunks(inputs));
        lines.try_for_each(|(((codes, scales), offsets), weights)| {
            let (groups, _) = weights.as_chunks::<GROUP>();
            match bits {
                Bits::Four => {
                    let blocks = codes.iter_mut().zip(scales).zip(offsets.as_chunks_mut::<2>().0);
                    for (((code, scale), offset), [low, high]) in blocks.zip(groups.as_chunks::<2>().0) {
                        let (low, high) = (Grid::four(low)?, Grid::four(high)?);
                        let both = low.codes.iter().zip(&high.codes);
                        code.iter_mut().zip(both).for_each(|(code, (low, high))| *code = low | high << 4);
                        *scale = [low.scale, high.scale];
                        *offset = [low, high].map(|grid| grid.offset - EXCESS * grid.scale);
                    }
                }
                Bits::Eight => {
                    for (((code, scale), offset), group) in
                        codes.iter_mut().zip(scales).zip(offsets).zip(groups)
                    {
                        let grid = Grid::eight(group)?;
                        *code = grid.codes;
                        *scale = [grid.scale, 16.0 * grid.scale];
                        *offset = grid.offset - 17.0 * EXCESS * grid.scale;
                    }
                }
            }
            Some(())
        })?;
        Some(Self { inputs, outputs, bits, codes, scales, offsets })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.codes[..]) + size_of_val(&self.scales[..]) + size_of_val(&self.offsets[..])
    }

    /// `y = x Wᵀ`, or `y += x Wᵀ` when `accumulate`, for few rows; `x` is `[rows, inputs]`, `y` is
    /// `[rows, outputs]`. The weights are not rounded; `x` is, to bf16, where `rounded` and the processor multiplies that.
    /// Every row gets the same bits alone and among others.
    pub(super) fn multiply(&self, rows: usize, x: &[f32], y: &mut [f32], accumulate: bool, rounded: bool) {
        assert!(x.len() == rows * self.inputs && y.len() == rows * self.outputs);
        if rows == 0 {
            return;
        }
        let (isa, result) = (Isa::current(), Destination(y.as_mut_ptr()));
        #[cfg(target_arch = "x86_64")]
        if rounded && isa >= Isa::Avx512Bf16 {
            let mut rounded = vec![0; x.len() / 2];
            convert_row(isa, x, &mut rounded);
            let sum =
                |group: &[u32]| group.iter().map(|&both| halves(both)).map(|(even, odd)| even + odd).sum();
            let sums: Vec<f32> = rounded.chunks_exact(GROUP / 2).map(sum).collect();
            let inputs = avx512::Inputs { rounded: &rounded, sums: &sums };
            self.split(rows, AT_ONCE[0], |first, rows, range| {
                // SAFETY: a level is only chosen on a processor that has its instructions; the lengths are asserted, `y`
                // holds the rows from `first` on, and the ranges of outputs are disjoint.
                unsafe {
                    let result = Destination(result.at(first * self.outputs));
                    avx512::outputs(self, rows, inputs.from(first, self), range, result, accumulate);
                }
            });
            return;
        }
        let _ = rounded;
        let sums: Vec<f32> = x.chunks_exact(GROUP).map(|group| group.iter().sum()).collect();
        let inputs = floats::Inputs { x, sums: &sums };
        self.split(rows, AT_ONCE[1], |first, rows, range| {
            let inputs = floats::Inputs {
                x: &x[first * self.inputs..],
                sums: &inputs.sums[first * self.inputs / GROUP..],
            };
            // SAFETY: `y` holds the rows from `first` on.
            let result = Destination(unsafe { result.at(first * self.outputs) });
            floats::outputs(isa, self, rows, inputs, range, floats::Target { result, accumulate });
        });
    }

    /// Runs `piece` on ranges of all outputs, on all threads: for the first row and the number of rows of every
    /// `at_once`. Some outputs at a time for all rows, so that weights are read from memory once.
    fn split(&self, rows: usize, at_once: usize, piece: impl Fn(usize, usize, Range<usize>) + Sync) {
        let chunk = self.outputs.div_ceil(4 * rayon::current_num_threads()).max(OUTPUTS);
        (0..self.outputs.div_ceil(chunk)).into_par_iter().with_max_len(1).for_each(|index| {
            let range = index * chunk..((index + 1) * chunk).min(self.outputs);
            for start in range.clone().step_by(OUTPUTS) {
                for first in (0..rows).step_by(at_once) {
                    piece(first, (rows - first).min(at_once), start..(start + OUTPUTS).min(range.end));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    /// Weights on grids as a file of `bits` would give them: scales and offsets are 16-bit floats there.
    fn weights(count: usize, bits: Bits) -> Vec<f32> {
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
        for (bits, outputs, inputs) in
            [(Bits::Four, 5, 64), (Bits::Four, 130, 576), (Bits::Eight, 3, 32), (Bits::Eight, 70, 1120)]
        {
            let w = weights(outputs * inputs, bits);
            let packed = Nibbles::pack(&w, outputs, inputs).unwrap();
            assert_eq!(packed.bits, bits);
            for rows in (1..=8).chain([13, 17]) {
                let (x, old) = (noise(2, rows * inputs), noise(3, rows * outputs));
                // What the weights meet: the inputs themselves, or the inputs in bf16.
                let product = |x: &[f32], accumulate: bool| -> Vec<f32> {
                    let element = |(i, old): (usize, &f32)| {
                        let (row, output) = (i / outputs, i % outputs);
                        let both = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]);
                        let sum: f64 = both.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                        sum as f32 + if accumulate { *old } else { 0.0 }
                    };
                    old.iter().enumerate().map(element).collect()
                };
                let in_bf16: Vec<f32> = x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
                for (accumulate, rounded) in [(false, true), (true, true), (false, false), (true, false)] {
                    let (exact, near) = (product(&x, accumulate), product(&in_bf16, accumulate));
                    on_every_isa(|isa| {
                        let mut y = old.clone();
                        packed.multiply(rows, &x, &mut y, accumulate, rounded);
                        let rounds = rounded && isa >= Isa::Avx512Bf16;
                        assert_close(&y, if rounds { &near } else { &exact }, 2e-4);
                        let last = (rows - 1) * outputs;
                        let mut alone = old[last..].to_vec();
                        packed.multiply(1, &x[(rows - 1) * inputs..], &mut alone, accumulate, rounded);
                        assert_eq!(alone, y[last..]);
                    });
                }
            }
        }
    }

    #[test]
    fn an_infinite_or_undefined_input_reaches_every_output_of_its_row_alone() {
        let (outputs, inputs) = (40, 128);
        let packed = Nibbles::pack(&weights(outputs * inputs, Bits::Four), outputs, inputs).unwrap();
        let mut x = noise(2, 3 * inputs);
        (x[5], x[2 * inputs + 99]) = (f32::INFINITY, f32::NAN);
        on_every_isa(|_| {
            let mut y = vec![0.0; 3 * outputs];
            packed.multiply(3, &x, &mut y, false, true);
            let finite: Vec<bool> = y.chunks(outputs).map(|y| y.iter().all(|y| y.is_finite())).collect();
            let lost: Vec<bool> = y.chunks(outputs).map(|y| y.iter().any(|y| y.is_finite())).collect();
            assert_eq!((finite, lost), (vec![false, true, false], vec![false, true, false]));
        });
    }

    #[test]
    fn nothing_is_packed_that_would_lose_something() {
        let uneven = noise(1, 64 * 3);
        assert!(Nibbles::pack(&uneven, 3, 64).is_none());
        let mut nearly = weights(64 * 3, Bits::Four);
        nearly[77] += 1e-4;
        assert!(Nibbles::pack(&nearly, 3, 64).is_none());
        // A group of equal weights, and sixteen steps where fifteen fit.
        assert!(Grid::four(&[0.25; GROUP]).is_some());
        assert!(Grid::four(&[0.0; GROUP]).is_some());
        let steps = std::array::from_fn(|i| (i % 17) as f32);
        assert!(Grid::four(&steps).is_none() && Grid::eight(&steps).is_none());
        let not_finite = std::array::from_fn(|i| if i == 3 { f32::NAN } else { 1.0 });
        assert!(Grid::four(&not_finite).is_none() && Grid::eight(&not_finite).is_none());
        assert!(Nibbles::pack(&[1.0; 33], 1, 33).is_none());
    }
}
