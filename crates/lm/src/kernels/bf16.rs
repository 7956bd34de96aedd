//! Products with frozen bf16 matrices: packed once into panels, multiplied in register tiles.
//!
//! A panel holds [`WIDTH`] columns of the right-hand matrix; within it the two bf16 of an even and the next odd
//! `k` lie side by side for each column, as the `dpbf16` instruction wants its operand. A tile keeps up to eight
//! rows by 48 columns of sums in registers while it runs down `k`. Every result element is summed in the same
//! order whatever the number of rows, the tile or the thread, so that one token alone gets bit for bit what it
//! gets in a batch.

#[cfg(target_arch = "x86_64")]
mod avx512;

use half::bf16;
use rayon::prelude::*;

/// Columns of a panel: three vectors of sixteen sums.
pub(super) const WIDTH: usize = 48;

/// Rows whose converted values stay in the second-level cache while the panels run past.
const ROW_BLOCK: usize = 64;

/// Below this many multiplications a product stays on one thread.
const SPLIT_WORK: usize = 1 << 16;

/// Whether the processor multiplies bf16 pairs itself.
pub(super) fn native() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// A frozen right-hand matrix of `k` rows and `n` columns, packed.
#[derive(Debug)]
pub(super) struct Panels {
    k: usize,
    n: usize,
    /// `[panel][pair of k][column in panel]`, each two bf16: the even `k` in the low half. Zero where the matrix
    /// has no column or no odd row.
    pairs: Vec<u32>,
}

fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | u32::from(bf16::from_f32(high).to_bits()) << 16
}

fn halves(pair: u32) -> (f32, f32) {
    (bf16::from_bits(pair as u16).to_f32(), bf16::from_bits((pair >> 16) as u16).to_f32())
}

impl Panels {
    /// Packs the matrix whose element `(row, column)` is `at(row, column)`, rounding to bf16.
    pub(super) fn pack(k: usize, n: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let depth = k.div_ceil(2);
        let mut pairs = vec![0u32; n.div_ceil(WIDTH) * depth * WIDTH];
        pairs.par_chunks_mut((depth * WIDTH).max(1)).enumerate().for_each(|(panel, pairs)| {
            let first = panel * WIDTH;
            for (d, line) in pairs.chunks_mut(WIDTH).enumerate() {
                for (column, slot) in line.iter_mut().enumerate().take(n - first) {
                    let odd = if 2 * d + 1 < k { at(2 * d + 1, first + column) } else { 0.0 };
                    *slot = pair(at(2 * d, first + column), odd);
                }
            }
        });
        Self { k, n, pairs }
    }

    /// Packs the transpose of row-major `weights` `[n, k]`, rounding to bf16.
    pub(super) fn pack_transposed(weights: &[f32], n: usize, k: usize) -> Self {
        assert_eq!(weights.len(), n * k, "weights of {n}x{k}");
        let (depth, native) = (k.div_ceil(2), native());
        let mut pairs = vec![0u32; n.div_ceil(WIDTH) * depth * WIDTH];
        let columns = weights.par_chunks((WIDTH * k).max(1));
        pairs.par_chunks_mut((depth * WIDTH).max(1)).zip(columns).for_each_init(
            || vec![0u32; depth * WIDTH],
            |converted, (pairs, columns)| {
                for (column, converted) in columns.chunks_exact(k).zip(converted.chunks_exact_mut(depth)) {
                    convert_row(native, column, converted);
                }
                let present = columns.len() / k;
                for (d, line) in pairs.chunks_exact_mut(WIDTH).enumerate() {
                    for (column, slot) in line.iter_mut().enumerate().take(present) {
                        *slot = converted[column * depth + d];
                    }
                }
            },
        );
        Self { k, n, pairs }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.pairs[..])
    }

    /// The same matrix with rows and columns exchanged.
    pub(super) fn transposed(&self) -> Self {
        Self::pack(self.n, self.k, |row, column| self.at(column, row))
    }

    /// Element `(row, column)`.
    fn at(&self, row: usize, column: usize) -> f32 {
        let line = (column / WIDTH * self.k.div_ceil(2) + row / 2) * WIDTH;
        let (even, odd) = halves(self.pairs[line + column % WIDTH]);
        if row.is_multiple_of(2) { even } else { odd }
    }

    /// Copies column `column`, `k` values, to `out`.
    pub(super) fn column(&self, column: usize, out: &mut [f32]) {
        assert!(column < self.n && out.len() == self.k, "column {column} of {}x{}", self.k, self.n);
        let start = column / WIDTH * self.k.div_ceil(2) * WIDTH + column % WIDTH;
        let pairs = self.pairs[start..].iter().step_by(WIDTH);
        for (out, &pair) in out.chunks_mut(2).zip(pairs) {
            let (even, odd) = halves(pair);
            out[0] = even;
            if let Some(slot) = out.get_mut(1) {
                *slot = odd;
            }
        }
    }

    /// `c = a * self`, or `c += a * self` when `accumulate`; `a` is `[rows, k]`, `c` is `[rows, n]`. `a` is
    /// rounded to bf16 in `converted`, a buffer kept by the caller.
    pub(super) fn multiply(
        &self,
        rows: usize,
        a: &[f32],
        c: &mut [f32],
        accumulate: bool,
        converted: &mut Vec<u32>,
    ) {
        assert!(a.len() == rows * self.k && c.len() == rows * self.n, "{rows} rows on {}x{}", self.k, self.n);
        if rows == 0 || self.n == 0 {
            return;
        }
        let depth = self.k.div_ceil(2);
        // Grown once; stale contents are overwritten below.
        if converted.len() < rows * depth {
            converted.resize(rows * depth, 0);
        }
        let converted = &mut converted[..rows * depth];
        let native = native();
        let one = |(pairs, row): (&mut [u32], &[f32])| convert_row(native, row, pairs);
        let lines = converted.par_chunks_mut(depth.max(1)).zip(a.par_chunks(self.k.max(1)));
        lines.with_min_len(SPLIT_WORK.div_ceil(8 * depth.max(1))).for_each(one);

        let blocks = rows.div_ceil(ROW_BLOCK);
        // Whole tiles of eight rows, evenly spread over the blocks.
        let block = rows.div_ceil(blocks).next_multiple_of(8);
        let panels = self.n.div_ceil(WIDTH);
        let pieces = if rows * depth * self.n < SPLIT_WORK { 1 } else { 4 * rayon::current_num_threads() };
        let stride = panels.div_ceil(pieces.div_ceil(blocks).min(panels));
        let product =
            Product { panels: self, a: converted, rows, c: Destination(c.as_mut_ptr()), accumulate };
        let run = |piece: usize| {
            let (row_block, panel_block) = (piece % blocks, piece / blocks);
            let rows = row_block * block..((row_block + 1) * block).min(rows);
            let panels = panel_block * stride..((panel_block + 1) * stride).min(panels);
            product.piece(native, rows, panels);
        };
        let pieces = blocks * panels.div_ceil(stride);
        if pieces == 1 { run(0) } else { (0..pieces).into_par_iter().with_max_len(1).for_each(run) }
    }
}

/// Rounds one row to bf16 pairs; a missing odd partner is zero.
fn convert_row(native: bool, row: &[f32], pairs: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if native {
        // SAFETY: `native` says that the processor has the features.
        unsafe { avx512::convert_row(row, pairs) };
        return;
    }
    let _ = native;
    portable_convert_row(row, pairs);
}

fn portable_convert_row(row: &[f32], pairs: &mut [u32]) {
    for (slot, two) in pairs.iter_mut().zip(row.chunks(2)) {
        *slot = pair(two[0], two.get(1).copied().unwrap_or(0.0));
    }
}

/// Start of the result, written in disjoint pieces by several threads.
#[derive(Clone, Copy)]
pub(super) struct Destination(pub(super) *mut f32);
// SAFETY: the pieces of a product cover disjoint ranges of rows and panels, so no element is written twice; the
// buffer outlives the product because `multiply` borrows it exclusively until all pieces are done.
unsafe impl Send for Destination {}
// SAFETY: as above.
unsafe impl Sync for Destination {}

/// One product in progress.
struct Product<'a> {
    panels: &'a Panels,
    a: &'a [u32],
    rows: usize,
    c: Destination,
    accumulate: bool,
}

impl Product<'_> {
    /// Computes the result for a range of rows and of panels. Distinct calls must get disjoint pieces.
    fn piece(&self, native: bool, rows: std::ops::Range<usize>, panels: std::ops::Range<usize>) {
        assert!(
            rows.end <= self.rows && panels.end <= self.panels.n.div_ceil(WIDTH),
            "piece outside the result"
        );
        #[cfg(target_arch = "x86_64")]
        if native {
            // SAFETY: `native` says that the processor has the features; the piece lies within the result.
            unsafe { avx512::piece(self, rows, panels) };
            return;
        }
        let _ = native;
        self.portable_piece(rows, panels);
    }

    fn portable_piece(&self, rows: std::ops::Range<usize>, panels: std::ops::Range<usize>) {
        let (n, depth) = (self.panels.n, self.panels.k.div_ceil(2));
        for panel in panels {
            let columns = WIDTH.min(n - panel * WIDTH);
            let lines = &self.panels.pairs[panel * depth * WIDTH..][..depth * WIDTH];
            for row in rows.clone() {
                let mut sums = [0f32; WIDTH];
                for (&a, line) in self.a[row * depth..][..depth].iter().zip(lines.as_chunks::<WIDTH>().0) {
                    let (even, odd) = halves(a);
                    for (sum, &b) in sums.iter_mut().zip(line) {
                        let (b_even, b_odd) = halves(b);
                        *sum += even * b_even + odd * b_odd;
                    }
                }
                for (column, sum) in sums.iter().enumerate().take(columns) {
                    // SAFETY: row and column lie within the result, and this piece alone writes there.
                    unsafe {
                        let slot = self.c.0.add(row * n + panel * WIDTH + column);
                        *slot = if self.accumulate { *slot + sum } else { *sum };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    /// Sums in f64 of inputs rounded to bf16: what any kernel should come near.
    fn reference(m: usize, k: usize, n: usize, a: &[f32], w: &[f32]) -> Vec<f32> {
        let round = |x: f32| bf16::from_f32(x).to_f64();
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|p| round(a[i * k + p]) * round(w[j * k + p])).sum::<f64>() as f32;
            }
        }
        c
    }

    #[test]
    fn odd_shapes_match_the_scalar_reference_in_both_orientations() {
        let rows = [1, 2, 3, 4, 5, 7, 8, 9, 13, 64, 65, 131];
        for (k, n) in [(1, 1), (2, 48), (3, 47), (33, 49), (64, 200), (66, 96), (576, 145)] {
            let w = noise(1, n * k);
            let panels = Panels::pack_transposed(&w, n, k);
            assert_eq!(panels.pairs, Panels::pack(k, n, |row, column| w[column * k + row]).pairs);
            let back = panels.transposed();
            let transposed: Vec<f32> = (0..k * n).map(|i| w[i % n * k + i / n]).collect();
            for m in rows {
                let (x, dy) = (noise(2, m * k), noise(3, m * n));
                let mut converted = Vec::new();
                let mut y = noise(4, m * n);
                let expected: Vec<f32> =
                    y.iter().zip(reference(m, k, n, &x, &w)).map(|(a, b)| a + b).collect();
                panels.multiply(m, &x, &mut y, true, &mut converted);
                assert_close(&y, &expected, 1e-4);
                let mut dx = vec![7.0; m * k];
                back.multiply(m, &dy, &mut dx, false, &mut converted);
                assert_close(&dx, &reference(m, n, k, &dy, &transposed), 1e-4);
            }
        }
    }

    #[test]
    fn the_portable_kernel_agrees_with_the_native_one() {
        let (m, k, n) = (9, 37, 100);
        let (a, w) = (noise(1, m * k), noise(2, n * k));
        let panels = Panels::pack(k, n, |row, column| w[column * k + row]);
        let depth = k.div_ceil(2);
        let (mut portable, mut chosen) = (vec![0u32; depth], vec![0u32; depth]);
        let mut all = Vec::new();
        for row in a.chunks(k) {
            portable_convert_row(row, &mut portable);
            convert_row(native(), row, &mut chosen);
            assert_eq!(portable, chosen);
            all.extend_from_slice(&portable);
        }
        let mut c = vec![0.0; m * n];
        let product =
            Product { panels: &panels, a: &all, rows: m, c: Destination(c.as_mut_ptr()), accumulate: false };
        product.portable_piece(0..m, 0..3);
        assert_close(&c, &reference(m, k, n, &a, &w), 1e-5);
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
        let (m, k, n) = (75, 130, 250);
        let (a, w) = (noise(1, m * k), noise(2, n * k));
        let panels = Panels::pack(k, n, |row, column| w[column * k + row]);
        let (mut together, mut converted) = (vec![0.0; m * n], Vec::new());
        panels.multiply(m, &a, &mut together, false, &mut converted);
        for size in 1..9 {
            let mut some = vec![0.0; size * n];
            panels.multiply(size, &a[3 * k..][..size * k], &mut some, false, &mut converted);
            assert_eq!(some, together[3 * n..][..size * n]);
        }
    }

    #[test]
    fn columns_can_be_read_back() {
        let (k, n) = (5, 50);
        let panels = Panels::pack(k, n, |row, column| (row * n + column) as f32);
        let mut out = [0.0; 5];
        panels.column(49, &mut out);
        assert_eq!(out, [49.0, 99.0, 149.0, 199.0, 249.0]);
    }
}
