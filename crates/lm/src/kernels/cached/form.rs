//! How keys and values are laid out.

use crate::kernels::Isa;
use crate::kernels::bf16::convert_row;

/// How a cache holds its numbers. Both are kept in 32-bit words, so that all else is the same for
/// both.
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
    pub(crate) fn write_column(
        self,
        key: &[f32],
        matrix: &mut [u32],
        columns: usize,
        column: usize,
    ) {
        let mut words = [0; 64];
        for (part, key) in key.chunks(self.numbers(words.len())).enumerate() {
            let words = &mut words[..self.words(key.len())];
            self.encode(key, words);
            let lines = matrix[part * 64 * columns..].iter_mut().skip(column).step_by(columns);
            lines.zip(words).for_each(|(slot, word)| *slot = *word);
        }
    }

    /// Writes `value` as number `at` of the columns: line `at`, or half a line. An even number is
    /// written before the odd one that shares its words, which is zero until then.
    pub(crate) fn write_line(self, value: &[f32], matrix: &mut [u32], columns: usize, at: usize) {
        let line = &mut matrix[at / self.numbers(1) * columns..][..columns];
        let mut words = [0; 64];
        for (value, line) in
            value.chunks(self.numbers(words.len())).zip(line.chunks_mut(self.numbers(64)))
        {
            let words = &mut words[..self.words(value.len())];
            self.encode(value, words);
            match self {
                Form::F32 => line[..words.len()].copy_from_slice(words),
                Form::Bf16 => {
                    let halves = words.iter().flat_map(|word| [word & 0xFFFF, word >> 16]);
                    for (slot, half) in line.iter_mut().zip(halves).take(value.len()) {
                        *slot =
                            if at.is_multiple_of(2) { half } else { *slot & 0xFFFF | half << 16 };
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
