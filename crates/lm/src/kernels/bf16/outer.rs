//! Products summed over rows, as gradients of weights are: both factors rounded to bf16, sums in f32.

use super::super::{Isa, MatMut, MatRef, Threads, gemm};

/// Which way round the result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orientation {
    /// `[columns of the left factor, columns of the right one]`
    Straight,
    /// `[columns of the right factor, columns of the left one]`
    Transposed,
}

/// `g += factor * leftᵀ right`, or its transpose. Both have one row for each that is summed over; `left` is the narrow one. The
/// result does not depend on the number of threads.
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
    match orientation {
        Orientation::Straight => gemm(g, true, factor, left.t(), right, Threads::All),
        Orientation::Transposed => gemm(g, true, factor, right.t(), left, Threads::All),
    }
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::*;
    use std::cell::Cell;

    use rayon::prelude::*;

    use super::super::avx512::bf16x32;
    use super::super::product::Destination;
    use super::{MatMut, MatRef, Orientation};

    /// Numbers of a vector, and columns of either factor that one tile covers.
    const LANES: usize = 16;

    /// Pairs of rows that a tile runs down before it turns to the next columns: they stay in the first-level cache.
    const PAIRS: usize = 64;

    /// One tile of sums, `[column of left][column of right]`.
    type Tile = [[f32; LANES]; LANES];

    thread_local! {
        /// Sums of one thread; taken while in use.
        static SUMS: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
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
        let mut pairs = vec![[0u32; LANES]; blocks * depth];
        for (block, pairs) in pairs.chunks_exact_mut(depth.max(1)).enumerate() {
            for (d, line) in pairs.iter_mut().enumerate() {
                // SAFETY: the level was found before this was called; the store is as long as the line.
                unsafe {
                    _mm512_storeu_si512(line.as_mut_ptr().cast(), rows_paired(left, 2 * d, block * LANES))
                };
            }
        }
        let piece = n.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(4 * LANES);
        let (stride, result) = (g.row_stride(), Destination(g.start()));
        (0..n.div_ceil(piece)).into_par_iter().with_max_len(1).for_each(|at| {
            let columns = at * piece..n.min((at + 1) * piece);
            let vectors = columns.len().div_ceil(LANES);
            let mut sums = SUMS.take();
            sums.clear();
            sums.resize(blocks * vectors, [[0.0; LANES]; LANES]);
            for first in (0..depth).step_by(PAIRS) {
                let some = first..depth.min(first + PAIRS);
                for vector in 0..vectors {
                    let column = columns.start + vector * LANES;
                    for block in 0..blocks {
                        let left = &pairs[block * depth..][some.clone()];
                        let tile = &mut sums[block * vectors + vector];
                        // SAFETY: the level was found before this was called.
                        unsafe { add(tile, left, right, 2 * first, column) };
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
                        // SAFETY: row and column lie within the result (its shape is asserted above), and this
                        // piece alone writes these columns.
                        unsafe { *result.at(at) += factor * sum };
                    }
                }
            }
            SUMS.set(sums);
        });
    }

    /// Adds to a tile what `left`'s pairs of rows and `right`'s rows from `row` on give for the columns from `column` on.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn add(tile: &mut Tile, left: &[[u32; LANES]], right: MatRef<'_>, row: usize, column: usize) {
        // SAFETY: lines of 64 bytes.
        let mut sums: [__m512; LANES] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(tile[i].as_ptr()) });
        for (d, left) in left.iter().enumerate() {
            // SAFETY: passed on to the caller.
            let both = bf16x32(unsafe { rows_paired(right, row + 2 * d, column) });
            for (sum, &left) in sums.iter_mut().zip(left) {
                *sum = _mm512_dpbf16_ps(*sum, bf16x32(_mm512_set1_epi32(left as i32)), both);
            }
        }
        for (line, sum) in tile.iter_mut().zip(sums) {
            // SAFETY: a line is 64 bytes.
            unsafe { _mm512_storeu_ps(line.as_mut_ptr(), sum) };
        }
    }

    /// Pairs of the numbers of row `row`, which exists, and of the one after it, which counts as zeros where there is none, for the
    /// sixteen columns from `column` on or as many as there are; the rest is zero.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    #[inline]
    unsafe fn rows_paired(matrix: MatRef<'_>, row: usize, column: usize) -> __m512i {
        // Word `j` of the first row, then word `j` of the second.
        const ORDER: [i16; 32] = {
            let mut order = [0; 32];
            let mut word = 0;
            while word < 32 {
                order[word] = (word / 2 + word % 2 * 16) as i16;
                word += 1;
            }
            order
        };
        let low = &matrix.row(row)[column..];
        let some = ((1u32 << low.len().min(LANES)) - 1) as __mmask16;
        // SAFETY: the mask leaves columns that each row has; the order is 64 bytes.
        unsafe {
            let low = _mm512_maskz_loadu_ps(some, low.as_ptr());
            let high = match row + 1 < matrix.rows() {
                true => _mm512_maskz_loadu_ps(some, matrix.row(row + 1)[column..].as_ptr()),
                false => _mm512_setzero_ps(),
            };
            // The first argument becomes the upper half.
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_permutexvar_epi16(_mm512_loadu_si512(ORDER.as_ptr().cast()), both)
        }
    }
}
