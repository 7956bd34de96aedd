//! A right-hand matrix in panels of bf16 pairs.

use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::{WIDTH, convert_row, halves};
use crate::kernels::{Isa, MatRef};

/// A right-hand matrix of `k` rows and `n` columns, packed.
#[derive(Debug)]
pub(in crate::kernels) struct Panels {
    pub(super) k: usize,
    pub(super) n: usize,
    /// Columns of a panel: 16, 32 or 48.
    pub(super) width: usize,
    /// `[panel][pair of k][column in panel]`, each two bf16: the even `k` in the low half. Zero
    /// where the matrix has no column or no odd row.
    pub(super) pairs: Vec<u32>,
}

impl Default for Panels {
    fn default() -> Self {
        Self { k: 0, n: 0, width: WIDTH, pairs: Vec::new() }
    }
}

impl Panels {
    /// Columns of the panels of a matrix of `n` columns: no more than it needs.
    pub(in crate::kernels) fn width(n: usize) -> usize {
        n.next_multiple_of(16).clamp(16, WIDTH)
    }

    /// Pairs of a column.
    pub(super) fn depth(&self) -> usize {
        self.k.div_ceil(2)
    }

    pub(super) fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// Gives the panels the shape for `k` rows and `n` columns.
    fn reshape(&mut self, k: usize, n: usize) {
        (self.k, self.n, self.width) = (k, n, Self::width(n));
        self.pairs.resize(self.count() * self.depth() * self.width, 0);
    }

    /// Takes the matrix of `k` rows and `n` columns of which `write` writes a panel: from the first
    /// of its columns on, so many columns, as `[pair of k, column]`.
    pub(in crate::kernels) fn fill_panels(
        &mut self,
        k: usize,
        n: usize,
        write: impl Fn(usize, usize, &mut [u32]) + Sync,
    ) {
        self.reshape(k, n);
        let (depth, width) = (self.depth(), self.width);
        let panels = self.pairs.par_chunks_mut((depth * width).max(1)).enumerate();
        panels.for_each(|(panel, pairs)| write(panel * width, width, pairs));
    }

    /// Panel `index`.
    #[cfg(test)]
    pub(in crate::kernels) fn panel(&self, index: usize) -> &[u32] {
        let size = self.depth() * self.width;
        &self.pairs[index * size..][..size]
    }

    /// Takes `scale` times `matrix`, between whose rows nothing may lie, rounded to bf16.
    pub(in crate::kernels) fn fill(&mut self, matrix: MatRef<'_>, scale: f32) {
        let (k, n, matrix) = (matrix.rows(), matrix.columns(), matrix.as_slice());
        self.reshape(k, n);
        let (depth, width) = (self.depth(), self.width);
        self.pairs.par_chunks_mut((depth * width).max(1)).enumerate().for_each(|(panel, pairs)| {
            let columns = panel * width..n.min((panel + 1) * width);
            for (line, rows) in pairs.chunks_exact_mut(width).zip(matrix.chunks(2 * n)) {
                let (low, high) = rows.split_at(n);
                line.fill(0);
                for (slot, &low) in line.iter_mut().zip(&low[columns.clone()]) {
                    *slot = round(scale * low);
                }
                if !high.is_empty() {
                    for (slot, &high) in line.iter_mut().zip(&high[columns.clone()]) {
                        *slot |= round(scale * high) << 16;
                    }
                }
            }
        });
    }

    /// Takes the matrix of `k` rows and `n` columns of which `write` writes a column, rounded to
    /// bf16.
    pub(in crate::kernels) fn fill_columns(
        &mut self,
        k: usize,
        n: usize,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.reshape(k, n);
        let (depth, width, isa) = (self.depth(), self.width, Isa::current());
        self.pairs.par_chunks_mut((depth * width).max(1)).enumerate().for_each_init(
            || (vec![0f32; k], vec![0u32; depth * width]),
            |(column, rounded), (panel, pairs)| {
                let columns = panel * width..n.min((panel + 1) * width);
                for (index, rounded) in columns.clone().zip(rounded.chunks_exact_mut(depth)) {
                    write(index, column);
                    convert_row(isa, column, rounded);
                }
                for (d, line) in pairs.chunks_exact_mut(width).enumerate() {
                    line.fill(0);
                    for (column, slot) in line.iter_mut().enumerate().take(columns.len()) {
                        *slot = rounded[column * depth + d];
                    }
                }
            },
        );
    }

    /// Takes the transpose of row-major `weights` `[n, k]`, rounded to bf16.
    pub(in crate::kernels) fn fill_transposed(&mut self, weights: MatRef<'_>) {
        self.fill_columns(weights.columns(), weights.rows(), |column, out| {
            out.copy_from_slice(weights.row(column));
        });
    }

    /// The transpose of row-major `weights` `[n, k]`, packed.
    pub(in crate::kernels) fn transposed(weights: MatRef<'_>) -> Self {
        let mut panels = Self::default();
        panels.fill_transposed(weights);
        panels
    }

    /// Bytes held.
    pub(in crate::kernels) fn bytes(&self) -> usize {
        size_of_val(&self.pairs[..])
    }

    /// Copies column `column`, `k` values, to `out`.
    pub(in crate::kernels) fn column(&self, column: usize, out: &mut [f32]) {
        assert!(column < self.n && out.len() == self.k, "column {column} of {}x{}", self.k, self.n);
        let start = column / self.width * self.depth() * self.width + column % self.width;
        let pairs = self.pairs[start..].iter().step_by(self.width);
        for (out, &pair) in out.chunks_mut(2).zip(pairs) {
            let (even, odd) = halves(pair);
            out[0] = even;
            if let Some(slot) = out.get_mut(1) {
                *slot = odd;
            }
        }
    }

    /// Packs a piece of the transpose as one panel of `width` columns: its rows `rows` (columns of
    /// this matrix, from the first of a panel on) by its columns from `first` (rows of this matrix,
    /// an even one). `out` receives `[pair of rows, width]`.
    pub(in crate::kernels) fn transposed_panel(
        &self,
        isa: Isa,
        rows: Range<usize>,
        first: usize,
        width: usize,
        out: &mut [u32],
    ) {
        assert!(
            rows.start.is_multiple_of(self.width) && first.is_multiple_of(2) && rows.end <= self.n
        );
        let depth = self.depth();
        let lines = first / 2..(first + width).div_ceil(2).min(depth);
        assert_eq!(out.len(), rows.len().div_ceil(2) * width, "a panel of {width} columns");
        if lines.len() < width / 2 {
            out.fill(0);
        }
        // Where a panel ends in columns that the matrix lacks, they hold zeros; so does the odd
        // half of a last line.
        for (panel, out) in (rows.start / self.width..).zip(out.chunks_mut(self.width / 2 * width))
        {
            let source = &self.pairs[(panel * depth + lines.start) * self.width..];
            transpose_pairs(isa, &source[..lines.len() * self.width], self.width, out, width);
        }
    }
}

/// Turns lines of pairs along one side of a matrix into lines of pairs along the other: numbers `2
/// c` and `2 c + 1` of columns `2 d` and `2 d + 1` stand in places `2 d` and `2 d + 1` of line `c`
/// of `source` and go to places `2 c` and `2 c + 1` of line `d` of `out`. Lines are `width` and
/// `out_width` long; as many columns are taken as `out` has lines for.
fn transpose_pairs(isa: Isa, source: &[u32], width: usize, out: &mut [u32], out_width: usize) {
    /// Lines and pairs of columns that are taken at once.
    const BLOCK: usize = 8;
    let (lines, columns) = (source.len() / width, out.len() / out_width);
    let fast = if isa >= Isa::Avx512Bf16 {
        (lines / BLOCK * BLOCK, columns / BLOCK * BLOCK)
    } else {
        (0, 0)
    };
    #[cfg(target_arch = "x86_64")]
    for c in (0..fast.0).step_by(BLOCK) {
        for d in (0..fast.1).step_by(BLOCK) {
            // SAFETY: a level is only chosen on a processor that has its instructions.
            unsafe {
                avx512::transpose_pairs(
                    &source[c * width + 2 * d..],
                    width,
                    &mut out[d * out_width + 2 * c..],
                    out_width,
                );
            }
        }
    }
    for (c, line) in source.chunks_exact(width).enumerate() {
        let first = if c < fast.0 { fast.1 } else { 0 };
        for (d, two) in line.as_chunks::<2>().0.iter().enumerate().take(columns).skip(first) {
            out[d * out_width + 2 * c] = two[0] & 0xFFFF | two[1] << 16;
            out[d * out_width + 2 * c + 1] = two[0] >> 16 | two[1] & 0xFFFF_0000;
        }
    }
}

/// The bits of the nearest bf16, without branches.
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    if x.is_nan() { quiet } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                assert_eq!(round(x), u32::from(half::bf16::from_f32(x).to_bits()), "{x}");
            }
        }
    }
}
