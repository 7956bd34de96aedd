//! Products with keys and values in bf16 where the processor multiplies it.

use std::arch::x86_64::*;

use super::{Lines, WordRows};
use crate::kernels::bf16::bf16x32;
use crate::kernels::{MatMut, Write};

/// [`multiply`](super::multiply) in bf16.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16. The columns are a multiple of 16; `matrix` holds
/// its lines, each row as many words as there are lines, and `out` has the shape of the result.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn product(
    rows: WordRows<'_>,
    matrix: Lines<'_>,
    mut out: MatMut<'_>,
    write: Write,
) {
    let mut row = 0;
    while row < rows.count {
        // SAFETY: so many rows are left; the rest is the caller's promise.
        row += unsafe {
            let tile = Tile {
                a: rows.words.as_ptr().add(row * rows.stride),
                stride: rows.stride,
                b: matrix.words.as_ptr(),
                columns: matrix.columns,
                lines: matrix.count,
                c: out.start().add(row * out.row_stride()),
                out_stride: out.row_stride(),
                write,
            };
            match rows.count - row {
                1 => tile.all_columns::<1>(),
                2 => tile.all_columns::<2>(),
                3 => tile.all_columns::<3>(),
                _ => tile.all_columns::<4>(),
            }
        };
    }
}

/// Where the operands and the result of a tile begin, and how far apart their rows and lines are.
#[derive(Clone, Copy)]
struct Tile {
    /// Rows of `lines` words.
    a: *const u32,
    stride: usize,
    /// Lines of the matrix, `columns` words apart.
    b: *const u32,
    columns: usize,
    lines: usize,
    c: *mut f32,
    out_stride: usize,
    write: Write,
}

impl Tile {
    /// All columns of `ROWS` rows, which it returns.
    ///
    /// # Safety
    /// As [`sum`](Self::sum), for all columns.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn all_columns<const ROWS: usize>(self) -> usize {
        let mut column = 0;
        while column < self.columns {
            // SAFETY: the columns of the tile exist, as their number is a multiple of sixteen; the
            // rest is the caller's promise.
            column += unsafe {
                let tile = Self { b: self.b.add(column), c: self.c.add(column), ..self };
                if column + 64 <= self.columns {
                    tile.sum::<ROWS, 4>()
                } else {
                    tile.sum::<ROWS, 1>()
                }
            };
        }
        ROWS
    }

    /// `ROWS` rows by `16 * VECTORS` columns, whose number it returns.
    ///
    /// # Safety
    /// The processor must have the features. `a` is readable for `ROWS` rows of `lines` words,
    /// `stride` apart; `b` for `lines` lines of `16 * VECTORS` words, `columns` apart; `c` is
    /// writable for `ROWS` rows of as many numbers, `out_stride` apart.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn sum<const ROWS: usize, const VECTORS: usize>(self) -> usize {
        let Self { a, stride, b, columns, lines, c, out_stride, write } = self;
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        // SAFETY: the caller promises that all of these addresses can be read and written.
        unsafe {
            if write.adds() {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(c.add(row * out_stride + 16 * v));
                    }
                }
            }
            for d in 0..lines {
                let line = b.add(d * columns);
                let mut b = [_mm512_setzero_si512(); VECTORS];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = _mm512_loadu_si512(line.add(16 * v).cast());
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let both = bf16x32(_mm512_set1_epi32(*a.add(row * stride + d) as i32));
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = _mm512_dpbf16_ps(*sum, both, bf16x32(*b));
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(c.add(row * out_stride + 16 * v), *sum);
                }
            }
        }
        16 * VECTORS
    }
}
