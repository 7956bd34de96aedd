//! Products with frozen matrices of eight-bit numbers: twice the speed of bf16 where the processor
//! has VNNI.
//!
//! Weights and inputs are cut into groups of [`GROUP`] inputs. A weight is `scale * q` with one
//! scale for each group of each output; an input is `scale * q + lowest` with both for each group
//! of each row. These are found from the row itself, so a row gets the same bits alone and in a
//! batch. Within a group the products of codes are summed as whole numbers, which is exact; the
//! groups are scaled and summed in f32. Since `Σ (s q + l) w = s Σ q w + l Σ w`, the part of
//! `lowest` needs only the sum of a group's weights, which is kept with their scale.
//!
//! A panel holds [`WIDTH`] columns; within it the weights of four consecutive inputs lie side by
//! side for each column, as the instruction `vpdpbusd` wants its operand.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;

use std::ops::Range;

use rayon::prelude::*;

use super::bf16::Destination;
use super::{Isa, Threads, Write};

/// Columns of a panel: three vectors of sixteen sums.
const WIDTH: usize = 48;

/// Inputs that share a scale: few enough for vectors at cosine 0.999 to those in f32, many enough
/// that scaling costs little.
const GROUP: usize = 128;

/// Inputs multiplied at once for each column.
const QUAD: usize = 4;

/// Rows that stay in the first-level cache while a panel runs past.
const ROW_BLOCK: usize = 64;

/// A frozen right-hand matrix of `k` rows and `n` columns, rounded to eight bits and packed.
#[derive(Debug)]
pub(crate) struct Int8Panels {
    k: usize,
    n: usize,
    /// `[panel][quad of k][column in panel]`; zero where the matrix has no such row or column.
    quads: Vec<Line>,
    /// `[panel][group]`: by column, the scale, and the scaled sum of the group's weights.
    scales: Vec<Scales>,
}

/// Four weights of each column, in whole cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([[i8; QUAD]; WIDTH]);

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Scales {
    scale: [f32; WIDTH],
    sum: [f32; WIDTH],
}

/// Rows of inputs, rounded to eight bits: a buffer to be kept.
#[derive(Debug, Default)]
pub(crate) struct Int8Rows {
    rows: usize,
    k: usize,
    /// `[rows][quads]`; zero where a row has no such element.
    codes: Vec<[u8; QUAD]>,
    /// `[rows][groups]`: scale and lowest value.
    scales: Vec<[f32; 2]>,
}

impl Int8Panels {
    /// Packs the transpose of row-major `weights` `[n, k]`.
    pub(crate) fn pack_transposed(weights: &[f32], n: usize, k: usize) -> Self {
        assert_eq!(weights.len(), n * k, "weights of {n}x{k}");
        let (depth, groups, panels) = (k.div_ceil(QUAD), k.div_ceil(GROUP), n.div_ceil(WIDTH));
        let mut quads = vec![Line([[0; QUAD]; WIDTH]); panels * depth];
        let mut scales = vec![Scales { scale: [0.0; WIDTH], sum: [0.0; WIDTH] }; panels * groups];
        if k == 0 {
            return Self { k, n, quads, scales };
        }
        let lines = quads.par_chunks_mut(depth).zip(scales.par_chunks_mut(groups));
        lines.zip(weights.par_chunks(WIDTH * k)).for_each(|((quads, scales), columns)| {
            for (column, weights) in columns.chunks_exact(k).enumerate() {
                for (group, weights) in weights.chunks(GROUP).enumerate() {
                    let largest = weights.iter().fold(0f32, |largest, w| largest.max(w.abs()));
                    let scale = largest / 127.0;
                    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    let mut sum = 0;
                    for (i, weight) in weights.iter().enumerate() {
                        let code = (weight * inverse).round() as i8;
                        sum += i32::from(code);
                        quads[group * GROUP / QUAD + i / QUAD].0[column][i % QUAD] = code;
                    }
                    scales[group].scale[column] = scale;
                    scales[group].sum[column] = scale * sum as f32;
                }
            }
        });
        Self { k, n, quads, scales }
    }

    /// `c = x * self + bias` or `c += x * self + bias`; `c` is `[rows, n]`, `bias` `[n]`.
    pub(crate) fn multiply(
        &self,
        x: &Int8Rows,
        bias: &[f32],
        c: &mut [f32],
        write: Write,
        threads: Threads,
    ) {
        assert!(
            x.k == self.k && bias.len() == self.n && c.len() == x.rows * self.n,
            "{} rows of {} on {}x{}",
            x.rows,
            x.k,
            self.k,
            self.n
        );
        if c.is_empty() {
            return;
        }
        let panels = self.n.div_ceil(WIDTH);
        let product = Product {
            panels: self,
            x,
            bias,
            c: Destination(c.as_mut_ptr()),
            write,
            isa: Isa::current(),
        };
        let blocks = |panels: Range<usize>| {
            for start in (0..x.rows).step_by(ROW_BLOCK) {
                product.piece(start..(start + ROW_BLOCK).min(x.rows), panels.clone());
            }
        };
        match threads {
            Threads::One => blocks(0..panels),
            Threads::All => {
                let stride = panels.div_ceil(4 * rayon::current_num_threads());
                let pieces = (0..panels.div_ceil(stride)).into_par_iter().with_max_len(1);
                pieces.for_each(|piece| blocks(piece * stride..((piece + 1) * stride).min(panels)));
            }
        }
    }
}

impl Int8Rows {
    /// Rounds the rows `[rows, k]` of `x`. A row with a number that is not finite becomes NaN in
    /// that group.
    pub(crate) fn round(&mut self, rows: usize, x: &[f32]) {
        let k = x.len().checked_div(rows).unwrap_or(0);
        assert_eq!(x.len(), rows * k, "{rows} rows");
        (self.rows, self.k) = (rows, k);
        let (depth, groups, isa) = (k.div_ceil(QUAD), k.div_ceil(GROUP), Isa::current());
        self.codes.resize(rows * depth, [0; QUAD]);
        self.scales.resize(rows * groups, [0.0; 2]);
        if k == 0 {
            return;
        }
        let lines = self.codes.chunks_exact_mut(depth).zip(self.scales.chunks_exact_mut(groups));
        for ((codes, scales), row) in lines.zip(x.chunks_exact(k)) {
            // The last quad may have no element at its end.
            codes[depth - 1] = [0; QUAD];
            let groups = row.chunks(GROUP).zip(codes.as_flattened_mut().chunks_mut(GROUP));
            for ((x, codes), scales) in groups.zip(scales) {
                *scales = round_group(isa, x, codes);
            }
        }
    }
}

/// Rounds at most [`GROUP`] numbers to 256 even steps from their lowest to their highest; returns
/// the step and the lowest, which is NaN if some number is not finite.
fn round_group(isa: Isa, x: &[f32], codes: &mut [u8]) -> [f32; 2] {
    assert!((1..=GROUP).contains(&x.len()) && codes.len() >= x.len(), "a group of {}", x.len());
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: a level is only chosen on a processor that has its instructions; the numbers and
        // codes exist.
        return unsafe { avx512::round(x, codes) };
    }
    let _ = isa;
    floats::round(x, codes)
}

/// One product in progress.
struct Product<'a> {
    panels: &'a Int8Panels,
    x: &'a Int8Rows,
    bias: &'a [f32],
    c: Destination,
    write: Write,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // elsewhere there is one level
    isa: Isa,
}

impl Product<'_> {
    /// Computes the result for some rows, [`ROW_BLOCK`] at most, and some panels. Distinct calls
    /// must get disjoint pieces.
    fn piece(&self, rows: Range<usize>, panels: Range<usize>) {
        assert!(rows.len() <= ROW_BLOCK && rows.end <= self.x.rows, "rows outside");
        assert!(panels.end <= self.panels.n.div_ceil(WIDTH), "panels outside");
        for panel in panels {
            #[cfg(target_arch = "x86_64")]
            if self.isa >= Isa::Avx512Vnni && self.x.k > 0 {
                // SAFETY: a level is only chosen on a processor that has its instructions; rows and
                // panel exist.
                unsafe { avx512::panel(self, rows.clone(), panel) };
                continue;
            }
            floats::panel(self, rows.clone(), panel);
        }
    }

    /// Codes of a row, and its scales and lowest values by group.
    #[inline]
    fn row(&self, row: usize) -> (&[[u8; QUAD]], &[[f32; 2]]) {
        let (depth, groups) = (self.x.k.div_ceil(QUAD), self.x.k.div_ceil(GROUP));
        (&self.x.codes[row * depth..][..depth], &self.x.scales[row * groups..][..groups])
    }

    /// Quads of a panel, and its scales by group.
    #[inline]
    fn panel(&self, panel: usize) -> (&[Line], &[Scales]) {
        let (depth, groups) = (self.x.k.div_ceil(QUAD), self.x.k.div_ceil(GROUP));
        (
            &self.panels.quads[panel * depth..][..depth],
            &self.panels.scales[panel * groups..][..groups],
        )
    }

    /// Writes the sums of one row within a panel.
    fn write(&self, row: usize, panel: usize, sums: &[f32; WIDTH]) {
        let first = panel * WIDTH;
        for (column, (sum, bias)) in sums.iter().zip(&self.bias[first..]).enumerate() {
            // SAFETY: the column exists because it has a bias, the row because its piece was
            // asserted to; the piece of this call is its own.
            unsafe {
                let slot = self.c.0.add(row * self.panels.n + first + column);
                let old = if self.write.adds() { *slot } else { 0.0 };
                *slot = old + (sum + bias);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    /// The product of what the codes stand for, in f64.
    fn reference(x: &Int8Rows, w: &Int8Panels, bias: &[f32]) -> Vec<f32> {
        let (depth, groups) = (x.k.div_ceil(QUAD), x.k.div_ceil(GROUP));
        let element = |i: usize| {
            let (row, column) = (i / w.n, i % w.n);
            let (panel, within) = (column / WIDTH, column % WIDTH);
            let product = |p: usize| {
                let [scale, lowest] = x.scales[row * groups + p / GROUP].map(f64::from);
                let code = x.codes[row * depth + p / QUAD][p % QUAD];
                let weight = w.quads[panel * depth + p / QUAD].0[within][p % QUAD];
                let of_weight = w.scales[panel * groups + p / GROUP].scale[within];
                (lowest + scale * f64::from(code)) * f64::from(of_weight) * f64::from(weight)
            };
            ((0..x.k).map(product).sum::<f64>() + f64::from(bias[column])) as f32
        };
        (0..x.rows * w.n).map(element).collect()
    }

    #[test]
    fn odd_shapes_match_the_scalar_reference_on_every_level() {
        for (k, n) in [(1, 1), (3, 47), (4, 48), (127, 49), (130, 97), (384, 100), (601, 50)] {
            let (weights, bias) = (noise(1, n * k), noise(2, n));
            let panels = Int8Panels::pack_transposed(&weights, n, k);
            for rows in [0, 1, 2, 3, 7, 8, 9, 16, 65, 131] {
                let (x, old) = (noise(3, rows * k), noise(4, rows * n));
                on_every_isa(|_| {
                    let mut rounded = Int8Rows::default();
                    // A buffer that held something else.
                    rounded.round(2, &vec![5.0; 2 * k]);
                    rounded.round(rows, &x);
                    rounded.k = k;
                    let expected = reference(&rounded, &panels, &bias);
                    for threads in [Threads::One, Threads::All] {
                        let mut c = old.clone();
                        panels.multiply(&rounded, &bias, &mut c, Write::Set, threads);
                        assert_close(&c, &expected, 1e-5);
                        panels.multiply(&rounded, &bias, &mut c, Write::Add, threads);
                        let twice: Vec<f32> = expected.iter().map(|y| 2.0 * y).collect();
                        assert_close(&c, &twice, 1e-5);
                    }
                });
            }
        }
    }

    #[test]
    fn inputs_and_weights_lose_no_more_than_half_a_step() {
        let (rows, k, n) = (5, 300, 60);
        let (x, weights) = (noise(1, rows * k), noise(2, n * k));
        let panels = Int8Panels::pack_transposed(&weights, n, k);
        on_every_isa(|_| {
            let mut rounded = Int8Rows::default();
            rounded.round(rows, &x);
            for (i, x) in x.iter().enumerate() {
                let (row, p) = (i / k, i % k);
                let [scale, lowest] = rounded.scales[row * 3 + p / GROUP];
                let code = rounded.codes[row * 75 + p / QUAD][p % QUAD];
                assert!((lowest + scale * f32::from(code) - x).abs() <= 0.501 * scale);
            }
        });
        for (i, weight) in weights.iter().enumerate() {
            let (column, p) = (i / k, i % k);
            let scale = panels.scales[column / WIDTH * 3 + p / GROUP].scale[column % WIDTH];
            let code = panels.quads[column / WIDTH * 75 + p / QUAD].0[column % WIDTH][p % QUAD];
            assert!((scale * f32::from(code) - weight).abs() <= 0.501 * scale);
        }
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
        let (rows, k, n) = (75, 200, 130);
        let (x, bias) = (noise(1, rows * k), noise(2, n));
        let panels = Int8Panels::pack_transposed(&noise(3, n * k), n, k);
        on_every_isa(|_| {
            let (mut all, mut some, mut together) =
                (Int8Rows::default(), Int8Rows::default(), vec![0.0; rows * n]);
            all.round(rows, &x);
            panels.multiply(&all, &bias, &mut together, Write::Set, Threads::All);
            for size in 1..10 {
                let mut c = vec![0.0; size * n];
                some.round(size, &x[3 * k..][..size * k]);
                panels.multiply(&some, &bias, &mut c, Write::Set, Threads::One);
                assert_eq!(c, together[3 * n..][..size * n]);
            }
        });
    }

    #[test]
    fn equal_inputs_are_exact_and_what_is_not_finite_becomes_nan() {
        let (rows, k, n) = (4, 150, 50);
        let mut x = noise(1, rows * k);
        x[..k].fill(-0.375);
        (x[k + 3], x[2 * k + 149]) = (f32::NAN, f32::NEG_INFINITY);
        let panels = Int8Panels::pack_transposed(&vec![1.0; n * k], n, k);
        on_every_isa(|_| {
            let (mut rounded, mut c) = (Int8Rows::default(), vec![0.0; rows * n]);
            rounded.round(rows, &x);
            panels.multiply(&rounded, &vec![0.0; n], &mut c, Write::Set, Threads::One);
            assert_close(&c[..n], &vec![-0.375 * k as f32; n], 1e-6);
            assert!(
                c[n..3 * n].iter().all(|y| y.is_nan()) && c[3 * n..].iter().all(|y| y.is_finite())
            );
        });
    }
}
