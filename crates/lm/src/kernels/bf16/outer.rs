//! Products summed over rows, as gradients of weights are: both factors rounded to bf16, sums in
//! f32.

#[cfg(target_arch = "x86_64")]
use crate::kernels::Isa;
use crate::kernels::{MatMut, MatRef, Threads, Write, gemm};

/// Which way round the result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orientation {
    /// `[columns of the left factor, columns of the right one]`
    Straight,
    /// `[columns of the right factor, columns of the left one]`
    Transposed,
}

/// `g += factor * leftᵀ right`, or its transpose. Both have one row for each that is summed over;
/// `left` is the narrow one. The result does not depend on the number of threads.
pub(crate) fn outer(
    g: MatMut<'_>,
    orientation: Orientation,
    factor: f32,
    left: MatRef<'_>,
    right: MatRef<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    if Isa::current() >= Isa::Avx512Bf16 && left.is_row_major() && right.is_row_major() {
        return vector::outer(g, orientation, factor, left, right);
    }
    let product = match orientation {
        Orientation::Straight => left.t().times(right),
        Orientation::Transposed => right.t().times(left),
    };
    gemm(g, Write::Add, product.scaled(factor), Threads::All);
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::*;
    use std::cell::Cell;

    use rayon::prelude::*;

    use super::super::avx512::{bf16x32, paired};
    use super::super::tile::Destination;
    use super::{MatMut, MatRef, Orientation};

    /// Numbers of a vector, and columns of either factor that one tile covers.
    const LANES: usize = 16;

    /// Pairs of rows that are packed at a time.
    const PAIRS: usize = 64;

    /// From the pairs of one vector to those of the next. One more than they need, because the
    /// first-level cache keeps few lines that lie a multiple of 4 KiB apart; so it would with the
    /// factor's own rows, hence the packing.
    const STRIP: usize = PAIRS + 1;

    /// Of these, pairs whose columns are run through together.
    const ROW_PAIRS: usize = 2;

    /// One tile of sums, `[column of left][column of right]`.
    type Tile = [[f32; LANES]; LANES];

    /// Pairs of two rows for sixteen columns.
    type Line = [u32; LANES];

    thread_local! {
        /// Sums and packed pairs of one thread; taken while in use.
        static BUFFERS: Cell<(Vec<Tile>, Vec<Line>)> = const { Cell::new((Vec::new(), Vec::new())) };
    }

    pub(super) fn outer(
        mut g: MatMut<'_>,
        orientation: Orientation,
        factor: f32,
        left: MatRef<'_>,
        right: MatRef<'_>,
    ) {
        let (rank, n) = (left.columns(), right.columns());
        let shape = match orientation {
            Orientation::Straight => (rank, n),
            Orientation::Transposed => (n, rank),
        };
        assert!(
            left.rows() == right.rows() && g.shape() == shape,
            "{:?} from {rank} and {n} columns",
            g.shape()
        );
        let (blocks, depth) = (rank.div_ceil(LANES), left.rows().div_ceil(2));
        let mut pairs = vec![Line::default(); blocks * depth];
        for (block, pairs) in pairs.chunks_exact_mut(depth.max(1)).enumerate() {
            // SAFETY: the level was found before this was called.
            unsafe { pack(left, 0, block * LANES, pairs) };
        }
        let piece = n.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(4 * LANES);
        let (stride, result) = (g.row_stride(), Destination(g.start()));
        (0..n.div_ceil(piece)).into_par_iter().with_max_len(1).for_each(|at| {
            let columns = at * piece..n.min((at + 1) * piece);
            let vectors = columns.len().div_ceil(LANES);
            let (mut sums, mut strip) = BUFFERS.take();
            sums.clear();
            sums.resize(blocks * vectors, Tile::default());
            strip.resize(vectors * STRIP, Line::default());
            for first in (0..depth).step_by(PAIRS) {
                let some = first..depth.min(first + PAIRS);
                // All columns of a few rows at a time, as they lie in memory.
                for d in (0..some.len()).step_by(ROW_PAIRS) {
                    let count = ROW_PAIRS.min(some.len() - d);
                    for vector in 0..vectors {
                        let lines = &mut strip[vector * STRIP + d..][..count];
                        // SAFETY: the level was found before this was called.
                        unsafe {
                            pack(right, 2 * (first + d), columns.start + vector * LANES, lines)
                        };
                    }
                }
                for vector in 0..vectors {
                    let right = &strip[vector * STRIP..][..some.len()];
                    for block in 0..blocks {
                        let left = &pairs[block * depth..][some.clone()];
                        // SAFETY: the level was found before this was called.
                        unsafe { add(&mut sums[block * vectors + vector], left, right) };
                    }
                }
            }
            for (index, tile) in sums.iter().enumerate() {
                let (block, vector) = (index / vectors, index % vectors);
                for (i, line) in tile.iter().enumerate().take(rank - block * LANES) {
                    let (row, column) = (block * LANES + i, columns.start + vector * LANES);
                    for (j, sum) in line.iter().enumerate().take(n - column) {
                        let at = match orientation {
                            Orientation::Straight => row * stride + column + j,
                            Orientation::Transposed => (column + j) * stride + row,
                        };
                        // SAFETY: row and column lie within the result (its shape is asserted
                        // above), and this piece alone writes these columns.
                        unsafe { *result.at(at) += factor * sum };
                    }
                }
            }
            BUFFERS.set((sums, strip));
        });
    }

    /// Adds to a tile what the pairs of `left` give with those of `right`.
    ///
    /// # Safety
    /// The processor must have AVX-512 F and BF16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn add(tile: &mut Tile, left: &[Line], right: &[Line]) {
        // SAFETY: lines of 64 bytes.
        let mut sums: [__m512; LANES] =
            std::array::from_fn(|i| unsafe { _mm512_loadu_ps(tile[i].as_ptr()) });
        for (left, right) in left.iter().zip(right) {
            // SAFETY: a line of 64 bytes.
            let right = bf16x32(unsafe { _mm512_loadu_si512(right.as_ptr().cast()) });
            for (sum, &left) in sums.iter_mut().zip(left) {
                *sum = _mm512_dpbf16_ps(*sum, bf16x32(_mm512_set1_epi32(left as i32)), right);
            }
        }
        for (line, sum) in tile.iter_mut().zip(sums) {
            // SAFETY: a line is 64 bytes.
            unsafe { _mm512_storeu_ps(line.as_mut_ptr(), sum) };
        }
    }

    /// Writes the pairs of as many rows from `row` on as `lines` take, for the columns from
    /// `column` on.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack(matrix: MatRef<'_>, row: usize, column: usize, lines: &mut [Line]) {
        for (d, line) in lines.iter_mut().enumerate() {
            // SAFETY: the features are those of the caller; a line is 64 bytes.
            unsafe {
                _mm512_storeu_si512(
                    line.as_mut_ptr().cast(),
                    rows_paired(matrix, row + 2 * d, column),
                );
            }
        }
    }

    /// Pairs of the numbers of row `row`, which exists, and of the one after it, which counts as
    /// zeros where there is none, for the sixteen columns from `column` on or as many as there are;
    /// the rest is zero.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    #[inline]
    unsafe fn rows_paired(matrix: MatRef<'_>, row: usize, column: usize) -> __m512i {
        let low = &matrix.row(row)[column..];
        let some = ((1u32 << low.len().min(LANES)) - 1) as __mmask16;
        // SAFETY: the mask leaves columns that each row has.
        unsafe {
            let low = _mm512_maskz_loadu_ps(some, low.as_ptr());
            let high = match row + 1 < matrix.rows() {
                true => _mm512_maskz_loadu_ps(some, matrix.row(row + 1)[column..].as_ptr()),
                false => _mm512_setzero_ps(),
            };
            paired(low, high)
        }
    }
}
