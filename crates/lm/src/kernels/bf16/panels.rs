//! A right-hand matrix in panels of bf16 pairs.

use std::ops::Range;

use rayon::prelude::*;

use super::{WIDTH, convert_row, halves, native, pair};

/// A right-hand matrix of `k` rows and `n` columns, packed.
#[derive(Debug)]
pub(in crate::kernels) struct Panels {
    pub(super) k: usize,
    pub(super) n: usize,
    /// Columns of a panel: 16, 32 or 48.
    pub(super) width: usize,
    /// `[panel][pair of k][column in panel]`, each two bf16: the even `k` in the low half. Zero where the matrix
    /// has no column or no odd row.
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

    /// `(k, n)`.
    pub(in crate::kernels) fn shape(&self) -> (usize, usize) {
        (self.k, self.n)
    }

    pub(super) fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// Takes the matrix whose element `(row, column)` is `at(row, column)`, rounded to bf16.
    pub(in crate::kernels) fn fill(&mut self, k: usize, n: usize, at: impl Fn(usize, usize) -> f32 + Sync) {
        (self.k, self.n, self.width) = (k, n, Self::width(n));
        let (depth, width) = (self.depth(), self.width);
        self.pairs.resize(self.count() * depth * width, 0);
        self.pairs.par_chunks_mut((depth * width).max(1)).enumerate().for_each(|(panel, pairs)| {
            let first = panel * width;
            for (d, line) in pairs.chunks_mut(width).enumerate() {
                line.fill(0);
                for (column, slot) in line.iter_mut().enumerate().take(n - first) {
                    let odd = if 2 * d + 1 < k { at(2 * d + 1, first + column) } else { 0.0 };
                    *slot = pair(at(2 * d, first + column), odd);
                }
            }
        });
    }

    /// Takes the transpose of row-major `weights` `[n, k]`, rounded to bf16.
    pub(in crate::kernels) fn fill_transposed(&mut self, weights: &[f32], n: usize, k: usize) {
        assert_eq!(weights.len(), n * k, "weights of {n}x{k}");
        (self.k, self.n, self.width) = (k, n, Self::width(n));
        let (depth, width, native) = (self.depth(), self.width, native());
        self.pairs.resize(self.count() * depth * width, 0);
        let columns = weights.par_chunks((width * k).max(1));
        self.pairs.par_chunks_mut((depth * width).max(1)).zip(columns).for_each_init(
            || vec![0u32; depth * width],
            |converted, (pairs, columns)| {
                for (column, converted) in columns.chunks_exact(k).zip(converted.chunks_exact_mut(depth)) {
                    convert_row(native, column, converted);
                }
                let present = columns.len() / k;
                for (d, line) in pairs.chunks_exact_mut(width).enumerate() {
                    line.fill(0);
                    for (column, slot) in line.iter_mut().enumerate().take(present) {
                        *slot = converted[column * depth + d];
                    }
                }
            },
        );
    }

    /// The transpose of row-major `weights` `[n, k]`, packed.
    pub(in crate::kernels) fn transposed(weights: &[f32], n: usize, k: usize) -> Self {
        let mut panels = Self::default();
        panels.fill_transposed(weights, n, k);
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

    /// Packs a piece of the transpose as one panel of `width` columns: its rows `rows` (columns of this matrix, from the
    /// first of a panel on) by its columns from `first` (rows of this matrix, an even one). `out` receives
    /// `[pair of rows, width]`.
    pub(super) fn transposed_panel(
        &self,
        rows: Range<usize>,
        first: usize,
        width: usize,
        out: &mut Vec<u32>,
    ) {
        assert!(rows.start.is_multiple_of(self.width) && first.is_multiple_of(2) && rows.end <= self.n);
        let depth = self.depth();
        let lines = first / 2..(first + width).div_ceil(2).min(depth);
        out.resize(rows.len().div_ceil(2) * width, 0);
        if lines.len() < width / 2 {
            out.fill(0);
        }
        // Where a panel ends in columns that the matrix lacks, they hold zeros; so does the odd half of a last line.
        for (panel, out) in (rows.start / self.width..).zip(out.chunks_mut(self.width / 2 * width)) {
            let source = &self.pairs[panel * depth * self.width..][..depth * self.width];
            for (column, line) in lines.clone().enumerate() {
                let line = &source[line * self.width..][..self.width];
                for (two, out) in line.as_chunks::<2>().0.iter().zip(out.chunks_exact_mut(width)) {
                    out[2 * column] = two[0] & 0xFFFF | two[1] << 16;
                    out[2 * column + 1] = two[0] >> 16 | two[1] & 0xFFFF_0000;
                }
            }
        }
    }
}
