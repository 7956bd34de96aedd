//! Vectors in two bytes a number.
//!
//! `number = scale * (first + second / 254)`, with a scale for each vector. The first bytes lie together and are all that a
//! search walks over; the second ones lie apart, and only the best few are compared again with both, which is as good as f32:
//! the error of a number is below a 64,000th of the vector's largest.

use std::path::Path;

use memmap2::Mmap;

use super::kernels::{self, BLOCK};

/// How many more rows are compared again in full than are wanted: rounding to a byte moves no true neighbour further down.
const AGAIN: usize = 64;

/// The numbers of all vectors.
#[derive(Debug)]
pub(super) struct Rows {
    dimension: usize,
    /// `len` rows of [`Rows::width`] bytes, each 128 above its value, padded with 128.
    pub(super) first: Vec<u8>,
    pub(super) second: Second,
    pub(super) scales: Vec<f32>,
}

/// The second bytes, `dimension` a row, each 128 above its value: those of the file where there is one, then what came since.
#[derive(Debug, Default)]
pub(super) struct Second {
    mapped: Option<Mmap>,
    new: Vec<u8>,
}

/// What rows are compared with: a vector in one byte a number.
pub(super) struct Code {
    numbers: Vec<i8>,
    /// What the 128 in every byte of a row adds to an inner product.
    offset: i32,
    scale: f32,
}

impl Second {
    /// The bytes of a file that nobody changes: it is written once, and the project's lock keeps other processes away.
    pub(super) fn mapped(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        // SAFETY: derived files are never changed, only replaced by others of another name and removed (see `super::file`), and
        // the project's lock is held while the store lives, so the bytes under the map stay as they are.
        let mapped = unsafe { Mmap::map(&file)? };
        Ok(Second { mapped: Some(mapped), new: Vec::new() })
    }

    fn row(&self, at: usize, dimension: usize) -> &[u8] {
        let mapped = self.mapped.as_deref().unwrap_or_default();
        match at * dimension {
            start if start < mapped.len() => &mapped[start..start + dimension],
            start => &self.new[start - mapped.len()..][..dimension],
        }
    }

    /// All bytes, in order: of the file, then those in memory.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [self.mapped.as_deref().unwrap_or_default(), &self.new]
    }
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Rows { dimension, first: Vec::new(), second: Second::default(), scales: Vec::new() }
    }

    /// Rows as a file holds them. `None` when the parts do not fit each other.
    pub(super) fn from_parts(
        dimension: usize,
        first: Vec<u8>,
        second: Second,
        scales: Vec<f32>,
    ) -> Option<Self> {
        let rows = Rows { dimension, first, second, scales };
        let second: usize = rows.second.parts().iter().map(|part| part.len()).sum();
        let fit = rows.first.len() == rows.len() * rows.width() && second == rows.len() * dimension;
        fit.then_some(rows)
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Bytes of a row's first bytes with their padding.
    pub(super) fn width(&self) -> usize {
        self.dimension.next_multiple_of(BLOCK)
    }

    /// Adds a vector of `dimension` finite numbers.
    pub(super) fn push(&mut self, vector: impl Iterator<Item = f32> + Clone) {
        let largest = vector.clone().fold(0f32, |largest, number| largest.max(number.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        for number in vector {
            let whole = (number / scale).round().clamp(-127.0, 127.0);
            let part = ((number / scale - whole) * 254.0).round().clamp(-127.0, 127.0);
            self.first.push((whole + 128.0) as u8);
            self.second.new.push((part + 128.0) as u8);
        }
        self.scales.push(scale);
        self.first.resize(self.len() * self.width(), 128);
    }

    /// Keeps the rows for which `keep` holds, in order; what is dropped is overwritten.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let (width, dimension) = (self.width(), self.dimension);
        let mut second = Vec::new();
        let mut kept = 0;
        for at in (0..self.len()).filter(|&at| keep(at)) {
            self.first.copy_within(at * width..(at + 1) * width, kept * width);
            second.extend_from_slice(self.second.row(at, dimension));
            self.scales[kept] = self.scales[at];
            kept += 1;
        }
        self.first[kept * width..].fill(0);
        self.first.truncate(kept * width);
        self.second = Second { mapped: None, new: second };
        self.scales.truncate(kept);
    }

    /// What rows are compared with, for a query.
    pub(super) fn code(&self, query: &[f32]) -> Code {
        let mut one = Rows::new(self.dimension);
        one.push(query.iter().copied());
        one.code_of(0)
    }

    /// What rows are compared with, for one of them.
    pub(super) fn code_of(&self, at: usize) -> Code {
        let row = &self.first[at * self.width()..][..self.width()];
        let numbers: Vec<i8> = row.iter().map(|&byte| (byte ^ 128).cast_signed()).collect();
        let offset = 128 * numbers.iter().map(|&number| i32::from(number)).sum::<i32>();
        Code { numbers, offset, scale: self.scales[at] }
    }

    /// About the cosines of `code` with the rows `from..to`.
    pub(super) fn cosines(
        &self,
        code: &Code,
        range: std::ops::Range<usize>,
        dots: &mut Vec<i32>,
        cosines: &mut Vec<f32>,
    ) {
        kernels::all_dots(
            &self.first[range.start * self.width()..range.end * self.width()],
            &code.numbers,
            dots,
        );
        cosines.clear();
        let scales = &self.scales[range];
        cosines.extend(
            dots.iter().zip(scales).map(|(dot, scale)| (dot - code.offset) as f32 * (scale * code.scale)),
        );
    }

    /// About the cosines of `code` with the rows `which`.
    pub(super) fn cosines_of(&self, code: &Code, which: &[u32], dots: &mut Vec<i32>, cosines: &mut Vec<f32>) {
        kernels::some_dots(&self.first, which, &code.numbers, dots);
        cosines.clear();
        let scale = |row: u32| self.scales[row as usize] * code.scale;
        cosines.extend(dots.iter().zip(which).map(|(dot, &row)| (dot - code.offset) as f32 * scale(row)));
    }

    /// The cosine of `query` with a row, from both bytes.
    pub(super) fn fine_cosine(&self, query: &[f32], at: usize) -> f32 {
        let first = &self.first[at * self.width()..][..self.dimension];
        kernels::fine_dot(first, self.second.row(at, self.dimension), query) * self.scales[at]
    }

    /// Everything that is known of a row: the same for copies of a vector alone.
    pub(super) fn bits(&self, at: usize) -> Vec<u8> {
        let first = &self.first[at * self.width()..][..self.dimension];
        [first, self.second.row(at, self.dimension), &self.scales[at].to_le_bytes()].concat()
    }

    /// Whether two rows are copies of a vector.
    pub(super) fn are_copies(&self, a: u32, b: u32) -> bool {
        self.scales[a as usize] == self.scales[b as usize] && self.bits(a as usize) == self.bits(b as usize)
    }

    /// How many rows to compare again in full where `count` are wanted.
    pub(super) fn again(count: usize) -> usize {
        count + count / 2 + AGAIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_are_as_good_as_a_float() {
        for dimension in [1usize, 3, 64, 100, 384] {
            let mut rows = Rows::new(dimension);
            let vector = |seed: usize| -> Vec<f32> {
                let numbers: Vec<f32> =
                    (0..dimension).map(|at| ((at * 7 + seed * 13 + 1) as f32).sin()).collect();
                super::super::unit(numbers)
            };
            (0..20).for_each(|seed| rows.push(vector(seed).into_iter()));
            let query = vector(50);
            let code = rows.code(&query);
            let (mut dots, mut all, mut some) = (Vec::new(), Vec::new(), Vec::new());
            rows.cosines(&code, 0..20, &mut dots, &mut all);
            rows.cosines_of(&code, &[19, 3], &mut dots, &mut some);
            assert_eq!(some, [all[19], all[3]]);
            for (seed, rough) in all.iter().enumerate() {
                let exact: f32 = vector(seed).iter().zip(&query).map(|(a, b)| a * b).sum();
                assert!((rough - exact).abs() < 0.01, "{dimension} {rough} {exact}");
                assert!((rows.fine_cosine(&query, seed) - exact).abs() < 3e-5, "{dimension}");
            }
            let before = rows.fine_cosine(&query, 7);
            rows.retain(|row| row % 2 == 1);
            assert_eq!((rows.len(), rows.fine_cosine(&query, 3)), (10, before));
        }
    }

    #[test]
    fn a_vector_of_zeros_is_like_nothing() {
        let mut rows = Rows::new(5);
        rows.push([0.0; 5].into_iter());
        assert_eq!(rows.fine_cosine(&[1.0; 5], 0), 0.0);
    }
}
