//! Products with keys and values in bf16 where the processor multiplies it.

use std::arch::x86_64::*;

use crate::kernels::bf16::bf16x32;

/// [`multiply`](super::multiply) in bf16.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16. `columns` is a multiple of 16; `matrix` holds
/// `lines` lines; `words` holds `count` rows of `lines` words and `out` as many of `columns`
/// numbers, at their distances.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn product(
    count: usize,
    words: &[u32],
    stride: usize,
    matrix: &[u32],
    lines: usize,
    columns: usize,
    out: &mut [f32],
    out_stride: usize,
    accumulate: bool,
) {
    let mut row = 0;
    while row < count {
        // SAFETY: so many rows are left; the rest is the caller's promise.
        row += unsafe {
            let a = words.as_ptr().add(row * stride);
            let b = matrix.as_ptr();
            let c = out.as_mut_ptr().add(row * out_stride);
            match count - row {
                1 => block::<1>(a, stride, b, columns, lines, c, out_stride, accumulate),
                2 => block::<2>(a, stride, b, columns, lines, c, out_stride, accumulate),
                3 => block::<3>(a, stride, b, columns, lines, c, out_stride, accumulate),
                _ => block::<4>(a, stride, b, columns, lines, c, out_stride, accumulate),
            }
        };
    }
}

/// All columns of `ROWS` rows, which it returns.
///
/// # Safety
/// As [`tile`], for all columns.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn block<const ROWS: usize>(
    a: *const u32,
    stride: usize,
    b: *const u32,
    columns: usize,
    lines: usize,
    c: *mut f32,
    out_stride: usize,
    accumulate: bool,
) -> usize {
    let mut column = 0;
    while column < columns {
        // SAFETY: the columns of the tile exist, as their number is a multiple of sixteen; the rest
        // is the caller's promise.
        column += unsafe {
            let (b, c) = (b.add(column), c.add(column));
            if column + 64 <= columns {
                tile::<ROWS, 4>(a, stride, b, columns, lines, c, out_stride, accumulate)
            } else {
                tile::<ROWS, 1>(a, stride, b, columns, lines, c, out_stride, accumulate)
            }
        };
    }
    ROWS
}

/// `ROWS` rows by `16 * VECTORS` columns, whose number it returns.
///
/// # Safety
/// The processor must have the features. `a` is readable for `ROWS` rows of `lines` words, `stride`
/// apart; `b` for `lines` lines of `16 * VECTORS` words, `columns` apart; `c` is writable for
/// `ROWS` rows of as many numbers, `out_stride` apart.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn tile<const ROWS: usize, const VECTORS: usize>(
    a: *const u32,
    stride: usize,
    b: *const u32,
    columns: usize,
    lines: usize,
    c: *mut f32,
    out_stride: usize,
    accumulate: bool,
) -> usize {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    // SAFETY: the caller promises that all of these addresses can be read and written.
    unsafe {
        if accumulate {
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
