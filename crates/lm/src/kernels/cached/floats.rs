//! Products with keys and values in f32, and in bf16 where the processor does not multiply it.

use crate::kernels::bf16::halves;
use crate::kernels::vector::{multiply_add, vectorised};

/// `ROWS` rows by sixteen columns from `column`.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
#[inline(always)]
fn f32_tile<const FMA: bool, const ROWS: usize>(
    words: &[u32],
    stride: usize,
    matrix: &[u32],
    lines: usize,
    columns: usize,
    column: usize,
    out: &mut [f32],
    out_stride: usize,
    accumulate: bool,
) {
    let mut sums = [[0f32; 16]; ROWS];
    if accumulate {
        for (row, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&out[row * out_stride + column..][..16]);
        }
    }
    for (d, line) in matrix.chunks_exact(columns).take(lines).enumerate() {
        let Some(line) = line[column..].first_chunk::<16>() else { return };
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = f32::from_bits(words[row * stride + d]);
            for (sum, &b) in sums.iter_mut().zip(line) {
                *sum = multiply_add::<FMA>(a, f32::from_bits(b), *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        out[row * out_stride + column..][..16].copy_from_slice(sums);
    }
}

vectorised! {
    /// [`multiply`](super::multiply) in f32.
    #[allow(clippy::too_many_arguments)] // the operands of a product and their distances
    fn f32_product(
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
            let (words, out) = (&words[row * stride..], &mut out[row * out_stride..]);
            let four = row + 4 <= count;
            for column in (0..columns).step_by(16) {
                if four {
                    f32_tile::<FMA, 4>(words, stride, matrix, lines, columns, column, out, out_stride, accumulate);
                } else {
                    f32_tile::<FMA, 1>(words, stride, matrix, lines, columns, column, out, out_stride, accumulate);
                }
            }
            row += if four { 4 } else { 1 };
        }
    }
}

/// [`multiply`](super::multiply) in bf16 where the processor does not multiply it.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
pub(super) fn bf16_product(
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
    for row in 0..count {
        let out = &mut out[row * out_stride..][..columns];
        if !accumulate {
            out.fill(0.0);
        }
        for (&word, line) in words[row * stride..][..lines].iter().zip(matrix.chunks_exact(columns))
        {
            let (even, odd) = halves(word);
            for (sum, &pair) in out.iter_mut().zip(line) {
                let (b_even, b_odd) = halves(pair);
                *sum += even * b_even + odd * b_odd;
            }
        }
    }
}
