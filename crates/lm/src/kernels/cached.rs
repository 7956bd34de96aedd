//! Products with keys and values as the key-value cache holds them.
//!
//! Keys and values of a block of tokens are right-hand matrices that need no rearranging: a matrix lies in lines, one
//! for each number that is summed over, and a line holds all columns side by side (tokens for keys, numbers of a head
//! for values). In bf16 a line holds two numbers for each column, the even one in the low half. So sixteen results are
//! computed at once and no register is ever summed across. Every result is summed in the same order whatever the
//! number of rows.

use super::Isa;
use super::bf16::{convert_row, halves};
use super::vector::{multiply_add, vectorised};

/// How a cache holds its numbers. Both are kept in 32-bit words, so that all else is the same for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One f32 to a word.
    F32,
    /// Two bf16 to a word.
    Bf16,
}

impl Form {
    /// Words, or lines of words, that hold `count` numbers.
    pub(crate) fn words(self, count: usize) -> usize {
        match self {
            Form::F32 => count,
            Form::Bf16 => count.div_ceil(2),
        }
    }

    /// Writes a row of the left-hand matrix as words.
    pub(crate) fn encode(self, row: &[f32], words: &mut [u32]) {
        match self {
            Form::F32 => words.iter_mut().zip(row).for_each(|(word, x)| *word = x.to_bits()),
            Form::Bf16 => convert_row(Isa::current(), row, words),
        }
    }

    /// Writes `key` as column `column` of a matrix with `columns` columns.
    pub(crate) fn write_column(self, key: &[f32], matrix: &mut [u32], columns: usize, column: usize) {
        let mut words = [0; 64];
        for (part, key) in key.chunks(self.numbers(words.len())).enumerate() {
            let words = &mut words[..self.words(key.len())];
            self.encode(key, words);
            let lines = matrix[part * 64 * columns..].iter_mut().skip(column).step_by(columns);
            lines.zip(words).for_each(|(slot, word)| *slot = *word);
        }
    }

    /// Writes `value` as number `at` of the columns: line `at`, or half a line. An even number is written before the
    /// odd one that shares its words, which is zero until then.
    pub(crate) fn write_line(self, value: &[f32], matrix: &mut [u32], columns: usize, at: usize) {
        let line = &mut matrix[at / self.numbers(1) * columns..][..columns];
        let mut words = [0; 64];
        for (value, line) in value.chunks(self.numbers(words.len())).zip(line.chunks_mut(self.numbers(64))) {
            let words = &mut words[..self.words(value.len())];
            self.encode(value, words);
            match self {
                Form::F32 => line[..words.len()].copy_from_slice(words),
                Form::Bf16 => {
                    let halves = words.iter().flat_map(|word| [word & 0xFFFF, word >> 16]);
                    for (slot, half) in line.iter_mut().zip(halves).take(value.len()) {
                        *slot = if at.is_multiple_of(2) { half } else { *slot & 0xFFFF | half << 16 };
                    }
                }
            }
        }
    }

    /// Numbers that `words` words hold.
    fn numbers(self, words: usize) -> usize {
        match self {
            Form::F32 => words,
            Form::Bf16 => 2 * words,
        }
    }
}

/// The left-hand rows of a product and where its results go.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) count: usize,
    /// Words of each row, rows `stride` apart.
    pub(crate) words: &'a [u32],
    pub(crate) stride: usize,
    /// `[count, columns]`, rows `out_stride` apart.
    pub(crate) out: &'a mut [f32],
    pub(crate) out_stride: usize,
}

/// `out = rows * matrix`, or `+=` when `accumulate`. The matrix has `lines` lines of `columns` words; `columns` is a
/// multiple of 16, and the first `lines` words of each row count.
pub(crate) fn multiply(
    form: Form,
    rows: Rows<'_>,
    matrix: &[u32],
    lines: usize,
    columns: usize,
    accumulate: bool,
) {
    let Rows { count, words, stride, out, out_stride } = rows;
    if count == 0 {
        return;
    }
    assert!(columns.is_multiple_of(16) && lines * columns <= matrix.len(), "{lines} lines of {columns}");
    assert!((count - 1) * stride + lines <= words.len(), "{count} rows of {lines} words");
    assert!((count - 1) * out_stride + columns <= out.len(), "{count} results of {columns}");
    match form {
        Form::F32 => f32_product(count, words, stride, matrix, lines, columns, out, out_stride, accumulate),
        Form::Bf16 => {
            #[cfg(target_arch = "x86_64")]
            if Isa::current() >= Isa::Avx512Bf16 {
                // SAFETY: a level is only chosen on a processor that has its instructions; the lengths are asserted above.
                unsafe {
                    avx512::product(count, words, stride, matrix, lines, columns, out, out_stride, accumulate)
                };
                return;
            }
            portable_product(count, words, stride, matrix, lines, columns, out, out_stride, accumulate);
        }
    }
}

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
    /// [`multiply`] in f32.
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

/// [`multiply`] in bf16 where the processor does not multiply it.
#[allow(clippy::too_many_arguments)] // the operands of a product and their distances
fn portable_product(
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
        for (&word, line) in words[row * stride..][..lines].iter().zip(matrix.chunks_exact(columns)) {
            let (even, odd) = halves(word);
            for (sum, &pair) in out.iter_mut().zip(line) {
                let (b_even, b_odd) = halves(pair);
                *sum += even * b_even + odd * b_odd;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    /// [`super::multiply`] in bf16.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and BF16. `columns` is a multiple of 16; `matrix` holds `lines` lines;
    /// `words` holds `count` rows of `lines` words and `out` as many of `columns` numbers, at their distances.
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
            let rows = match count - row {
                1 => 1,
                2 => 2,
                3 => 3,
                _ => 4,
            };
            let mut column = 0;
            while column < columns {
                let wide = column + 64 <= columns;
                // SAFETY: `row + rows <= count`, and the columns of the tile exist; the rest is the caller's promise.
                unsafe {
                    let a = words.as_ptr().add(row * stride);
                    let b = matrix.as_ptr().add(column);
                    let c = out.as_mut_ptr().add(row * out_stride + column);
                    match (rows, wide) {
                        (1, true) => tile::<1, 4>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (2, true) => tile::<2, 4>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (3, true) => tile::<3, 4>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (_, true) => tile::<4, 4>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (1, false) => tile::<1, 1>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (2, false) => tile::<2, 1>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (3, false) => tile::<3, 1>(a, stride, b, columns, lines, c, out_stride, accumulate),
                        (_, false) => tile::<4, 1>(a, stride, b, columns, lines, c, out_stride, accumulate),
                    }
                }
                column += if wide { 64 } else { 16 };
            }
            row += rows;
        }
    }

    /// `ROWS` rows by `16 * VECTORS` columns.
    ///
    /// # Safety
    /// The processor must have the features. `a` is readable for `ROWS` rows of `lines` words, `stride` apart; `b` for
    /// `lines` lines of `16 * VECTORS` words, `columns` apart; `c` is writable for `ROWS` rows of as many numbers,
    /// `out_stride` apart.
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
    ) {
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
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn bf16x32(bits: __m512i) -> __m512bh {
        // SAFETY: both are 64 bytes without invalid values.
        unsafe { std::mem::transmute(bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    fn rounded(form: Form, x: f32) -> f64 {
        match form {
            Form::F32 => x.into(),
            Form::Bf16 => half::bf16::from_f32(x).to_f64(),
        }
    }

    /// Rows, a matrix filled by columns or by lines, and the results in f64.
    fn case(
        form: Form,
        count: usize,
        depth: usize,
        columns: usize,
        by_line: bool,
    ) -> (Vec<u32>, Vec<u32>, Vec<f32>) {
        let (a, b) = (noise(1, count * depth), noise(2, columns * depth));
        let lines = form.words(depth);
        let mut words = vec![0; count * lines];
        for (row, words) in a.chunks(depth).zip(words.chunks_mut(lines)) {
            form.encode(row, words);
        }
        let mut matrix = vec![0; lines * columns];
        if by_line {
            for at in 0..depth {
                let value: Vec<f32> = (0..columns).map(|column| b[column * depth + at]).collect();
                form.write_line(&value, &mut matrix, columns, at);
            }
        } else {
            for (column, key) in b.chunks(depth).enumerate() {
                form.write_column(key, &mut matrix, columns, column);
            }
        }
        let product = |row: usize, column: usize| -> f64 {
            let (a, b) = (&a[row * depth..][..depth], &b[column * depth..][..depth]);
            a.iter().zip(b).map(|(&a, &b)| rounded(form, a) * rounded(form, b)).sum()
        };
        let expected = (0..count * columns).map(|i| product(i / columns, i % columns) as f32).collect();
        (words, matrix, expected)
    }

    #[test]
    fn odd_shapes_match_the_scalar_reference_however_the_matrix_was_written() {
        for form in [Form::F32, Form::Bf16] {
            for (count, depth, columns) in
                [(1, 1, 16), (2, 7, 64), (3, 64, 80), (5, 63, 16), (9, 130, 128), (4, 256, 208)]
            {
                for by_line in [false, true] {
                    let (words, matrix, expected) = case(form, count, depth, columns, by_line);
                    let lines = form.words(depth);
                    let mut out = vec![7.0; count * (columns + 3)];
                    for accumulate in [false, true] {
                        let rows = Rows {
                            count,
                            words: &words,
                            stride: lines,
                            out: &mut out,
                            out_stride: columns + 3,
                        };
                        multiply(form, rows, &matrix, lines, columns, accumulate);
                        let factor = if accumulate { 2.0 } else { 1.0 };
                        for (found, expected) in out.chunks(columns + 3).zip(expected.chunks(columns)) {
                            let expected: Vec<f32> = expected.iter().map(|x| factor * x).collect();
                            assert_close(&found[..columns], &expected, 1e-4);
                            assert_eq!(found[columns..], [7.0; 3]);
                        }
                    }
                    let mut portable = vec![0.0; count * columns];
                    if form == Form::Bf16 {
                        portable_product(
                            count,
                            &words,
                            lines,
                            &matrix,
                            lines,
                            columns,
                            &mut portable,
                            columns,
                            false,
                        );
                        assert_close(&portable, &expected, 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_gets_the_same_bits_alone_and_among_others() {
        for form in [Form::F32, Form::Bf16] {
            let (count, depth, columns) = (11, 64, 80);
            let (words, matrix, _) = case(form, count, depth, columns, false);
            let lines = form.words(depth);
            let mut together = vec![0.0; count * columns];
            let rows = Rows { count, words: &words, stride: lines, out: &mut together, out_stride: columns };
            multiply(form, rows, &matrix, lines, columns, false);
            for (words, together) in words.chunks(lines).zip(together.chunks(columns)) {
                let mut alone = vec![0.0; columns];
                let rows = Rows { count: 1, words, stride: lines, out: &mut alone, out_stride: columns };
                multiply(form, rows, &matrix, lines, columns, false);
                assert_eq!(alone, together);
            }
        }
    }
}
