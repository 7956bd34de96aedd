//! The vectors of a table, as they are searched: two bytes a number, as the database holds them
//! ([`packed`](crate::database::packed)).
//!
//! The first bytes lie together and are all that a search reads of most vectors. The second bytes
//! lie apart: only the best few are compared again with both, which is as good as f32.

use super::kernels::{self, BLOCK};
use super::pages;
use crate::database::packed::{ZERO, pack, parts};

/// How many more rows are compared again in full than are wanted: rounding to a byte moves no true
/// neighbour further down.
const AGAIN: usize = 64;

/// Whether a row may be found; all may where there is none.
pub(super) type Keep<'a> = Option<&'a (dyn Fn(usize) -> bool + Sync)>;

/// The numbers of all vectors.
#[derive(Debug)]
pub(super) struct Rows {
    dimension: usize,
    /// `len` rows of [`Rows::width`] bytes, each 128 above its value, padded with 128.
    first: Vec<u8>,
    /// `dimension` a row, each 128 above its value.
    second: Vec<u8>,
    scales: Vec<f32>,
}

/// What rows are compared with: a vector in one byte a number.
#[derive(Default)]
pub(super) struct Code {
    numbers: Vec<i8>,
    /// What the 128 in every byte of a row adds to an inner product.
    offset: i32,
    scale: f32,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Rows { dimension, first: Vec::new(), second: Vec::new(), scales: Vec::new() }
    }

    /// Makes room for so many more, and not for twice as many.
    pub(super) fn reserve(&mut self, rows: usize) {
        let width = self.width();
        pages::reserve(&mut self.first, rows * width);
        pages::reserve(&mut self.scales, rows);
        // Read for the best few alone.
        self.second.reserve_exact(rows * self.dimension);
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

    /// Adds a packed vector; false, and nothing is added, where it does not have `dimension`
    /// numbers.
    pub(super) fn push(&mut self, packed: &[u8]) -> bool {
        let Some((scale, first, second)) =
            parts(packed).filter(|(_, first, _)| first.len() == self.dimension)
        else {
            return false;
        };
        let width = self.width();
        pages::grow(&mut self.first, width);
        pages::grow(&mut self.scales, 1);
        self.first.extend_from_slice(first);
        self.second.extend_from_slice(second);
        self.scales.push(scale);
        self.first.resize(self.len() * width, ZERO as u8);
        true
    }

    /// Puts a row in the place of another.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        let (width, dimension) = (self.width(), self.dimension);
        self.first.copy_within(from * width..(from + 1) * width, to * width);
        self.second.copy_within(from * dimension..(from + 1) * dimension, to * dimension);
        self.scales[to] = self.scales[from];
    }

    /// Keeps the rows for which `keep` holds, in order; what is dropped is overwritten.
    pub(super) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let (width, dimension) = (self.width(), self.dimension);
        let mut kept = 0;
        for at in (0..self.len()).filter(|&at| keep(at)) {
            self.first.copy_within(at * width..(at + 1) * width, kept * width);
            self.second.copy_within(at * dimension..(at + 1) * dimension, kept * dimension);
            self.scales[kept] = self.scales[at];
            kept += 1;
        }
        self.first[kept * width..].fill(0);
        self.first.truncate(kept * width);
        self.second[kept * dimension..].fill(0);
        self.second.truncate(kept * dimension);
        self.scales.truncate(kept);
    }

    /// What rows are compared with, for a query.
    pub(super) fn code(&self, query: &[f32]) -> Code {
        let mut one = Rows::new(self.dimension);
        one.push(&pack(query));
        one.code_of(0)
    }

    /// What rows are compared with, for one of them.
    pub(super) fn code_of(&self, at: usize) -> Code {
        let mut code = Code::default();
        self.code_into(at, &mut code);
        code
    }

    /// As [`Rows::code_of`], in the place of another.
    pub(super) fn code_into(&self, at: usize, code: &mut Code) {
        code.numbers.clear();
        code.numbers.extend(self.row(at).iter().map(|&byte| (byte ^ 128).cast_signed()));
        code.offset = 128 * code.numbers.iter().map(|&number| i32::from(number)).sum::<i32>();
        code.scale = self.scales[at];
    }

    /// About the cosine of `code` with a row.
    pub(super) fn cosine(&self, code: &Code, at: usize) -> f32 {
        (kernels::one_dot(self.row(at), &code.numbers) - code.offset) as f32
            * (self.scales[at] * code.scale)
    }

    /// A row's first bytes with their padding.
    fn row(&self, at: usize) -> &[u8] {
        &self.first[at * self.width()..][..self.width()]
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
            dots.iter()
                .zip(scales)
                .map(|(dot, scale)| (dot - code.offset) as f32 * (scale * code.scale)),
        );
    }

    /// About the cosines of `code` with the rows `which`.
    pub(super) fn cosines_of(
        &self,
        code: &Code,
        which: &[u32],
        dots: &mut Vec<i32>,
        cosines: &mut Vec<f32>,
    ) {
        which.iter().for_each(|&row| kernels::prefetch(&self.scales[row as usize..][..1]));
        kernels::some_dots(&self.first, which, &code.numbers, dots);
        cosines.clear();
        let scale = |row: u32| self.scales[row as usize] * code.scale;
        cosines.extend(
            dots.iter().zip(which).map(|(dot, &row)| (dot - code.offset) as f32 * scale(row)),
        );
    }

    /// The cosine of `query` with a row, from both bytes.
    pub(super) fn fine_cosine(&self, query: &[f32], at: usize) -> f32 {
        let first = &self.first[at * self.width()..][..self.dimension];
        kernels::fine_dot(first, self.second_of(at), query) * self.scales[at]
    }

    fn second_of(&self, at: usize) -> &[u8] {
        &self.second[at * self.dimension..][..self.dimension]
    }

    /// Everything that is known of a row: the same for copies of a vector alone.
    pub(super) fn bits(&self, at: usize) -> Vec<u8> {
        let first = &self.first[at * self.width()..][..self.dimension];
        [first, self.second_of(at), &self.scales[at].to_le_bytes()].concat()
    }

    /// Whether two rows are copies of a vector.
    pub(super) fn are_copies(&self, a: u32, b: u32) -> bool {
        self.scales[a as usize] == self.scales[b as usize]
            && self.bits(a as usize) == self.bits(b as usize)
    }

    /// How many rows to compare again in full where `count` are wanted.
    pub(super) fn again(count: usize) -> usize {
        count.saturating_add(count / 2 + AGAIN)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::database::packed::{packed_numbers, unit, unpack};

    #[test]
    fn two_bytes_are_as_good_as_a_float() {
        for dimension in [1usize, 3, 64, 100, 384] {
            let mut rows = Rows::new(dimension);
            let vector = |seed: usize| -> Vec<f32> {
                let numbers: Vec<f32> =
                    (0..dimension).map(|at| ((at * 7 + seed * 13 + 1) as f32).sin()).collect();
                unit(numbers)
            };
            for seed in 0..20 {
                let packed = pack(&vector(seed));
                assert!(rows.push(&packed) && !rows.push(&packed[1..]) && !rows.push(&packed[..2]));
                let worst = unpack(&packed)
                    .unwrap()
                    .into_iter()
                    .zip(vector(seed))
                    .map(|(a, b)| (a - b).abs());
                let largest = vector(seed)
                    .into_iter()
                    .fold(0f32, |largest, number| largest.max(number.abs()));
                assert!(worst.fold(0f32, f32::max) <= largest / 64_000.0, "{dimension}");
                assert_eq!(packed_numbers(packed.len()), dimension);
            }
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
        assert!(rows.push(&pack(&[0.0; 5])));
        assert_eq!(rows.fine_cosine(&[1.0; 5], 0), 0.0);
    }
}
