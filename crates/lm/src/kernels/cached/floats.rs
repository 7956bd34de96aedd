//! Products with keys and values in f32, and in bf16 where the processor does not multiply it.

use super::{Lines, WordRows};
use crate::kernels::bf16::halves;
use crate::kernels::vector::{multiply_add, vectorised};
use crate::kernels::{MatMut, Write};

/// The first `ROWS` rows by sixteen columns from `column`.
#[inline(always)]
fn f32_tile<const FMA: bool, const ROWS: usize>(
    rows: WordRows<'_>,
    matrix: Lines<'_>,
    column: usize,
    mut out: MatMut<'_>,
    write: Write,
) {
    let mut sums = [[0f32; 16]; ROWS];
    if write.adds() {
        for (row, sums) in sums.iter_mut().enumerate() {
            sums.copy_from_slice(&out.row_mut(row)[column..][..16]);
        }
    }
    for (d, line) in matrix.words.chunks_exact(matrix.columns).take(matrix.count).enumerate() {
        let Some(line) = line[column..].first_chunk::<16>() else { return };
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = f32::from_bits(rows.words[row * rows.stride + d]);
            for (sum, &b) in sums.iter_mut().zip(line) {
                *sum = multiply_add::<FMA>(a, f32::from_bits(b), *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        out.row_mut(row)[column..][..16].copy_from_slice(sums);
    }
}

vectorised! {
    /// [`multiply`](super::multiply) in f32.
    fn f32_product(rows: WordRows<'_>, matrix: Lines<'_>, out: MatMut<'_>, write: Write) {
        let mut out = out;
        let mut row = 0;
        while row < rows.count {
            let count = if row + 4 <= rows.count { 4 } else { 1 };
            let some = rows.starting_at(row);
            for column in (0..matrix.columns).step_by(16) {
                let out = out.rows_from(row, count);
                match count {
                    4 => f32_tile::<FMA, 4>(some, matrix, column, out, write),
                    _ => f32_tile::<FMA, 1>(some, matrix, column, out, write),
                }
            }
            row += count;
        }
    }
}

/// [`multiply`](super::multiply) in bf16 where the processor does not multiply it.
pub(super) fn bf16_product(
    rows: WordRows<'_>,
    matrix: Lines<'_>,
    mut out: MatMut<'_>,
    write: Write,
) {
    for row in 0..rows.count {
        let out = out.row_mut(row);
        if !write.adds() {
            out.fill(0.0);
        }
        let words = &rows.words[row * rows.stride..][..matrix.count];
        for (&word, line) in words.iter().zip(matrix.words.chunks_exact(matrix.columns)) {
            let (even, odd) = halves(word);
            for (sum, &pair) in out.iter_mut().zip(line) {
                let (b_even, b_odd) = halves(pair);
                *sum += even * b_even + odd * b_odd;
            }
        }
    }
}
