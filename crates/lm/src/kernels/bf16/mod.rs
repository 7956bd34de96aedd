//! Products with right-hand matrices in bf16: packed into panels, multiplied in register tiles.
//!
//! The layout is that of packed panels and register tiles (Goto and van de Geijn 2008). A panel
//! holds up to [`WIDTH`] columns of the right-hand matrix; within it the two bf16 of an even and
//! the next odd `k` lie side by side for each column, as the `dpbf16` instruction wants its
//! operand. A tile keeps the sums of some rows and the columns of a panel in registers while it
//! runs down `k`.
//!
//! Invariant: every result element is summed in the same order, whatever the number of rows, the
//! tile or the thread, so one token alone gets bit for bit what it gets in a batch.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
#[cfg(target_arch = "x86_64")]
pub(crate) mod heads;
mod outer;
mod panels;
mod product;
mod tile;

use half::bf16;
use rayon::prelude::*;

use super::{Isa, MatRef};

#[cfg(target_arch = "x86_64")]
pub(super) use avx512::bf16x32;
pub(crate) use outer::{Orientation, outer};
pub(super) use panels::Panels;
pub(super) use product::{
    OnTheFly, TRANSPOSED_ROWS, Term, multiply, multiply_on_the_fly, multiply_transposed,
};
pub(super) use tile::Destination;

/// Columns of a panel of a large matrix: three vectors of sixteen sums.
pub(super) const WIDTH: usize = 48;

/// Pairs to be rounded that are worth a thread's while.
const WORK: usize = 1 << 13;

fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | u32::from(bf16::from_f32(high).to_bits()) << 16
}

pub(super) fn halves(pair: u32) -> (f32, f32) {
    // A bf16 is the upper half of an f32.
    (f32::from_bits(pair << 16), f32::from_bits(pair & 0xFFFF_0000))
}

/// Rows rounded to bf16, the left-hand side of a product: a buffer that is filled again and again.
#[derive(Debug, Default)]
pub(crate) struct Rounded {
    /// Pairs of a row; the last one's high half is zero where a row has an odd length.
    depth: usize,
    pairs: Vec<u32>,
}

impl Rounded {
    /// Room for `rows` rows of `k` numbers.
    pub(crate) fn with_room(rows: usize, k: usize) -> Self {
        Self { depth: 0, pairs: Vec::with_capacity(rows * k.div_ceil(2)) }
    }

    /// Takes the rows of `values`, between which nothing may lie.
    pub(crate) fn fill(&mut self, values: MatRef<'_>) {
        let (rows, k, values) = (values.rows(), values.columns(), values.as_slice());
        let (depth, isa) = (k.div_ceil(2), Isa::current());
        // Grown once; stale contents are overwritten below.
        if self.pairs.len() < rows * depth {
            self.pairs.resize(rows * depth, 0);
        }
        self.depth = depth;
        let lines = self.pairs.par_chunks_mut(depth.max(1)).zip(values.par_chunks(k.max(1)));
        lines
            .with_min_len(WORK.div_ceil(depth.max(1)))
            .for_each(|(pairs, row)| convert_row(isa, row, pairs));
    }

    /// Writes the rounded numbers of `rows` rows of `k` to `out`, `[rows, k]`.
    pub(crate) fn expand(&self, rows: usize, k: usize, out: &mut [f32]) {
        assert!(out.len() == rows * k && self.depth == k.div_ceil(2), "{rows} rows of {k}");
        let lines = self.pairs.par_chunks(self.depth.max(1)).zip(out.par_chunks_mut(k.max(1)));
        lines.with_min_len(WORK.div_ceil(self.depth.max(1))).for_each(|(pairs, row)| {
            let (twos, last) = row.as_chunks_mut::<2>();
            for (two, &pair) in twos.iter_mut().zip(pairs) {
                *two = halves(pair).into();
            }
            if let (Some(last), Some(&pair)) = (last.first_mut(), pairs.last()) {
                *last = halves(pair).0;
            }
        });
    }

    /// All pairs of `rows` rows, to be multiplied by a matrix of as many rows as these have
    /// columns.
    pub(super) fn term<'a>(&'a self, right: &'a Panels) -> Term<'a> {
        Term::new(&self.pairs, self.depth, right)
    }

    /// From column `first` on, which is even.
    pub(super) fn term_from<'a>(&'a self, first: usize, right: &'a Panels) -> Term<'a> {
        assert!(first.is_multiple_of(2), "column {first} is the second of a pair");
        Term::new(&self.pairs[first / 2..], self.depth, right)
    }
}

/// Rounds one row to bf16 pairs; a missing odd partner is zero.
pub(super) fn convert_row(isa: Isa, row: &[f32], pairs: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512Bf16 {
        // SAFETY: a level is only chosen on a processor that has its instructions.
        unsafe { avx512::convert_row(row, pairs) };
        return;
    }
    let _ = isa;
    portable_convert_row(row, pairs);
}

fn portable_convert_row(row: &[f32], pairs: &mut [u32]) {
    for (slot, two) in pairs.iter_mut().zip(row.chunks(2)) {
        *slot = pair(two[0], two.get(1).copied().unwrap_or(0.0));
    }
}

#[cfg(test)]
mod tests;
