//! Products of the rows of a head: small right-hand matrices in panels of 64 columns, left-hand
//! ones either way round.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{LANES, paired};
use crate::kernels::bf16::avx512::{bf16x32, convert_row};
use crate::kernels::{MatMut, MatRef, Write};

/// Columns of a panel: four vectors, a usual head.
pub(super) const PANEL: usize = 64;

/// Rows of a tile; with four vectors each, its sums fill most registers.
pub(super) const ROWS: usize = 6;

/// A right-hand matrix: `[panel][pair of rows][column]`; zero where the matrix has no such row or
/// column.
#[derive(Debug, Default)]
pub(super) struct Strips {
    depth: usize,
    columns: usize,
    pairs: Vec<u32>,
}

impl Strips {
    /// Zeros are left where earlier contents of the same shape had them.
    fn reshape(&mut self, rows: usize, columns: usize) {
        (self.depth, self.columns) = (rows.div_ceil(2), columns);
        let length = columns.div_ceil(PANEL) * self.depth * PANEL;
        self.pairs.clear();
        self.pairs.resize(length, 0);
    }

    /// Takes `count` rows from `first` on.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn fill(&mut self, matrix: MatRef<'_>, first: usize, count: usize) {
        self.reshape(count, matrix.columns());
        for d in 0..self.depth {
            let low = matrix.row(first + 2 * d);
            let high = if 2 * d + 1 < count { matrix.row(first + 2 * d + 1) } else { &[] };
            for column in (0..low.len()).step_by(LANES) {
                let some = |row: &[f32]| {
                    !(!0u32 << row.len().saturating_sub(column).min(LANES)) as __mmask16
                };
                let at = (column / PANEL * self.depth + d) * PANEL + column % PANEL;
                let line = &mut self.pairs[at..at + LANES];
                // SAFETY: the masks leave what the rows hold; the line is 64 bytes.
                unsafe {
                    let low = _mm512_maskz_loadu_ps(some(low), low.as_ptr().add(column));
                    let high =
                        _mm512_maskz_loadu_ps(some(high), high.as_ptr().wrapping_add(column));
                    _mm512_storeu_si512(line.as_mut_ptr().cast(), paired(low, high));
                }
            }
        }
    }

    /// Takes the transpose of a matrix: its rows become columns.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn fill_transposed(&mut self, matrix: MatRef<'_>) {
        self.reshape(matrix.columns(), matrix.rows());
        let depth = self.depth;
        if depth == 0 {
            return;
        }
        let mut rounded = vec![0; LANES * depth];
        for first in (0..matrix.rows()).step_by(LANES) {
            let count = LANES.min(matrix.rows() - first);
            for (row, rounded) in rounded.chunks_exact_mut(depth).enumerate().take(count) {
                // SAFETY: the features are those of the caller.
                unsafe { convert_row(matrix.row(first + row), rounded) };
            }
            let panel = &mut self.pairs[first / PANEL * depth * PANEL..][..depth * PANEL];
            for (d, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                let line = &mut line[first % PANEL..][..count];
                for (slot, row) in line.iter_mut().zip(rounded.chunks_exact(depth)) {
                    *slot = row[d];
                }
            }
        }
    }
}

/// A left-hand matrix of pairs: pair `d` of row `r` is number `r * row + d * pair`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) pairs: &'a [u32],
    pub(super) row: usize,
    pub(super) pair: usize,
}

/// Which part of a product is taken.
pub(super) struct Part {
    /// Rows of the result, at most [`ROWS`], and as many of the left matrix; [`ROWS`] of these must
    /// be there to be read.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Pairs that are summed over; those of the right matrix begin `skip` further on.
    pub(super) pairs: Range<usize>,
    pub(super) skip: usize,
    /// Columns of the right matrix, the first a panel's first.
    pub(super) columns: Range<usize>,
}

/// `c = left right`, or `c += …`, for a part; `c` begins with the part's first row and column.
/// Whole vectors are written, except behind the last column of the matrix.
///
/// # Safety
/// The processor must have AVX-512 F and BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn multiply(
    left: Left<'_>,
    right: &Strips,
    part: Part,
    mut c: MatMut<'_>,
    write: Write,
) {
    let Part { first, count, pairs, skip, columns } = part;
    if columns.is_empty() || count == 0 {
        return;
    }
    let reach = columns.end.next_multiple_of(LANES).min(right.columns.max(columns.end));
    let last_pair = pairs.end.max(pairs.start + 1) - 1;
    assert!(count <= ROWS && columns.start.is_multiple_of(PANEL) && columns.end <= right.columns);
    let (rows, width) = c.shape();
    assert!(count <= rows && reach - columns.start <= width, "{count} rows of {columns:?}");
    assert!(
        pairs.is_empty() || pairs.end + skip <= right.depth,
        "{pairs:?} and {skip} of {}",
        right.depth
    );
    assert!(
        pairs.is_empty()
            || (first + ROWS - 1) * left.row + last_pair * left.pair < left.pairs.len(),
        "rows {first} of {}",
        left.pairs.len()
    );
    for start in columns.clone().step_by(PANEL) {
        let end = reach.min(start + PANEL);
        let last = !(!0u32 << ((end - start - 1) % LANES + 1)) as __mmask16;
        // SAFETY: rows and pairs exist in both matrices, and rows and columns in the result, as
        // asserted.
        unsafe {
            let tile = Tile {
                left: left.pairs.as_ptr().add(first * left.row + pairs.start * left.pair),
                row: left.row,
                pair: left.pair,
                right: right
                    .pairs
                    .as_ptr()
                    .add((start / PANEL * right.depth + pairs.start + skip) * PANEL),
                depth: pairs.len(),
                c: c.start().add(start - columns.start),
                stride: c.row_stride(),
                count,
                last,
                write,
            };
            match (end - start).div_ceil(LANES) {
                1 => tile.sum::<1>(),
                2 => tile.sum::<2>(),
                3 => tile.sum::<3>(),
                _ => tile.sum::<4>(),
            }
        }
    }
}

/// Some rows by the vectors of one panel.
struct Tile {
    left: *const u32,
    row: usize,
    pair: usize,
    right: *const u32,
    depth: usize,
    c: *mut f32,
    stride: usize,
    count: usize,
    /// Columns of the last vector that exist.
    last: __mmask16,
    write: Write,
}

impl Tile {
    /// # Safety
    /// The processor must have AVX-512 F and BF16; `left` must have [`ROWS`] rows of `depth` pairs,
    /// `right` as many lines, and `c` must be writable over `count` rows.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn sum<const VECTORS: usize>(self) {
        let Self { left, row, pair, right, depth, c, stride, count, last, write } = self;
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        // SAFETY: as the caller promises.
        unsafe {
            for d in 0..depth {
                let line = right.add(d * PANEL);
                let pairs: [_; VECTORS] = std::array::from_fn(|v| {
                    bf16x32(_mm512_loadu_si512(line.add(v * LANES).cast()))
                });
                for (i, sums) in sums.iter_mut().enumerate() {
                    let both = bf16x32(_mm512_set1_epi32(*left.add(i * row + d * pair) as i32));
                    for (sum, pairs) in sums.iter_mut().zip(pairs) {
                        *sum = _mm512_dpbf16_ps(*sum, both, pairs);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                if i == count {
                    break;
                }
                for (v, &sum) in sums.iter().enumerate() {
                    let some = if v + 1 == VECTORS { last } else { !0 };
                    let slot = c.add(i * stride + v * LANES);
                    let old = _mm512_maskz_loadu_ps(if write.adds() { some } else { 0 }, slot);
                    _mm512_mask_storeu_ps(slot, some, _mm512_add_ps(sum, old));
                }
            }
        }
    }
}
