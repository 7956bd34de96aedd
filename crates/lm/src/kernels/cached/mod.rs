//! Products with keys and values as the key-value cache holds them.
//!
//! Keys and values of a block of tokens are right-hand matrices that need no rearranging: a matrix
//! lies in lines, one for each number that is summed over, and a line holds all columns side by
//! side (tokens for keys, numbers of a head for values). In bf16 a line holds two numbers for each
//! column, the even one in the low half. So sixteen results are computed at once and no register is
//! ever summed across. Every result is summed in the same order whatever the number of rows.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
mod form;

pub(crate) use form::Form;

#[cfg(target_arch = "x86_64")]
use super::Isa;
use super::{MatMut, Write};

/// The left-hand rows of a product, as words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordRows<'a> {
    pub(crate) count: usize,
    /// Words of each row, rows `stride` apart.
    pub(crate) words: &'a [u32],
    pub(crate) stride: usize,
}

impl WordRows<'_> {
    /// The rows from `first` on.
    #[inline(always)]
    fn starting_at(self, first: usize) -> Self {
        Self { count: self.count - first, words: &self.words[first * self.stride..], ..self }
    }
}

/// The right-hand matrix of a product, as lines of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    /// Lines that are summed over.
    pub(crate) count: usize,
    /// Words of a line, a multiple of 16.
    pub(crate) columns: usize,
    /// `[count, columns]`; whatever follows is not read.
    pub(crate) words: &'a [u32],
}

/// `out = rows * matrix` or `out += rows * matrix`; the first `matrix.count` words of each row
/// count.
pub(crate) fn multiply(
    form: Form,
    rows: WordRows<'_>,
    matrix: Lines<'_>,
    out: MatMut<'_>,
    write: Write,
) {
    let WordRows { count, words, stride } = rows;
    if count == 0 {
        return;
    }
    let Lines { count: lines, columns, .. } = matrix;
    assert!(
        columns.is_multiple_of(16) && lines * columns <= matrix.words.len(),
        "{lines} lines of {columns}"
    );
    assert!((count - 1) * stride + lines <= words.len(), "{count} rows of {lines} words");
    assert!(out.shape() == (count, columns), "{count} results of {columns}");
    match form {
        Form::F32 => floats::f32_product(rows, matrix, out, write),
        Form::Bf16 => {
            #[cfg(target_arch = "x86_64")]
            if Isa::current() >= Isa::Avx512Bf16 {
                // SAFETY: a level is only chosen on a processor that has its instructions; the
                // lengths are asserted above.
                unsafe { avx512::product(rows, matrix, out, write) };
                return;
            }
            floats::bf16_product(rows, matrix, out, write);
        }
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
        let expected =
            (0..count * columns).map(|i| product(i / columns, i % columns) as f32).collect();
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
                    let rows = WordRows { count, words: &words, stride: lines };
                    let lines = Lines { count: lines, columns, words: &matrix };
                    for (write, factor) in [(Write::Set, 1.0), (Write::Add, 2.0)] {
                        let target = MatMut::strided(&mut out, count, columns, columns + 3);
                        multiply(form, rows, lines, target, write);
                        for (found, expected) in
                            out.chunks(columns + 3).zip(expected.chunks(columns))
                        {
                            let expected: Vec<f32> = expected.iter().map(|x| factor * x).collect();
                            assert_close(&found[..columns], &expected, 1e-4);
                            assert_eq!(found[columns..], [7.0; 3]);
                        }
                    }
                    let mut portable = vec![0.0; count * columns];
                    if form == Form::Bf16 {
                        let target = MatMut::new(&mut portable, count, columns);
                        floats::bf16_product(rows, lines, target, Write::Set);
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
            let all = WordRows { count, words: &words, stride: lines };
            let matrix = Lines { count: lines, columns, words: &matrix };
            let target = MatMut::new(&mut together, count, columns);
            multiply(form, all, matrix, target, Write::Set);
            for (words, together) in words.chunks(lines).zip(together.chunks(columns)) {
                let mut alone = vec![0.0; columns];
                let one = WordRows { count: 1, words, ..all };
                multiply(form, one, matrix, MatMut::new(&mut alone, 1, columns), Write::Set);
                assert_eq!(alone, together);
            }
        }
    }
}
