//! One head of attention with products of bf16, for processors that have them: sums, softmax and
//! results in f32.
//!
//! The functions are safe to call at the level [`Isa::Avx512Bf16`](super::Isa) alone, which
//! [`available`] tells.

mod backward;
mod forward;
mod strips;
#[cfg(test)]
mod tests;

use std::arch::x86_64::*;
use std::ops::Range;

use super::avx512::{convert_row, paired};
use crate::kernels::{Isa, MatRef};
pub(crate) use backward::{BackwardBuffers, HeadGradient, head_backward};
pub(crate) use forward::{ForwardBuffers, PackedHead, QueryHead, head_forward};
use strips::{PANEL, ROWS};

/// Numbers of a vector.
const LANES: usize = 16;

/// Query rows that are taken at a time: whole tiles, and few enough that their scores stay in the
/// second-level cache.
pub(crate) const BLOCK: usize = 48;

/// Whether heads can be multiplied in bf16 on this machine.
pub(crate) fn available() -> bool {
    Isa::current() >= Isa::Avx512Bf16
}

/// Which keys a row sees, and what scores are multiplied by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    /// Keys before the first row.
    pub(crate) past: usize,
    /// Keys that a row sees, its own included; `None` = all before it.
    pub(crate) window: Option<usize>,
    pub(crate) factor: f32,
}

impl Sight {
    /// Keys that row `row` sees.
    fn seen(self, row: usize) -> Range<usize> {
        let end = self.past + row + 1;
        self.window.map_or(0, |window| end.saturating_sub(window))..end
    }
}

/// Some rows of a head against the keys that any of them sees: where their scores stand.
#[derive(Clone, Copy)]
struct Block {
    sight: Sight,
    /// First of the rows, and their number.
    first: usize,
    count: usize,
    /// First key of the scores, the first of a panel.
    start: usize,
    /// From one row of scores to the next; room for a whole tile behind the last key.
    stride: usize,
}

impl Block {
    fn new(sight: Sight, first: usize, rows: usize) -> Self {
        let count = BLOCK.min(rows - first);
        let start = sight.seen(first).start / PANEL * PANEL;
        let keys = sight.seen(first + count - 1).end - start;
        Self { sight, first, count, start, stride: (keys + ROWS).next_multiple_of(PANEL) }
    }

    /// Scores that row `row` of the block has.
    fn seen(&self, row: usize) -> Range<usize> {
        let seen = self.sight.seen(self.first + row);
        seen.start - self.start..seen.end - self.start
    }

    /// Scores that exist for any of the rows.
    fn keys(&self) -> usize {
        self.seen(self.count - 1).end
    }

    /// Scores that a tile of rows from `row` on needs.
    fn keys_of_tile(&self, row: usize) -> usize {
        self.seen((row + ROWS).min(self.count) - 1).end
    }

    /// Vectors of a row that must be written so that tiles, of rows or of keys, which reach past
    /// what the row sees find zeros.
    fn vectors(&self, row: usize) -> usize {
        (self.seen(row).end + ROWS).div_ceil(LANES)
    }
}

/// Rounds `count` rows from `first` on to pairs, `[BLOCK, stride]`.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn round_rows(
    matrix: MatRef<'_>,
    first: usize,
    count: usize,
    pairs: &mut Vec<u32>,
) -> usize {
    let stride = matrix.columns().div_ceil(2);
    pairs.resize(BLOCK * stride, 0);
    for (row, pairs) in pairs.chunks_exact_mut(stride).enumerate().take(count) {
        // SAFETY: the features are those of the caller.
        unsafe { convert_row(matrix.row(first + row), pairs) };
    }
    stride
}

/// The lanes of vector `vector` that lie in `range`.
fn lanes_within(vector: usize, range: &Range<usize>) -> __mmask16 {
    let below = |end: usize| (1u32 << end.saturating_sub(vector * LANES).min(LANES)) - 1;
    (below(range.end) & !below(range.start)) as __mmask16
}

/// `eˣ`: range reduction and a polynomial (the coefficients of Cephes' `expf`), as the loops over
/// rows have it.
#[target_feature(enable = "avx512f")]
fn exp(x: __m512) -> __m512 {
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(
        _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E)),
    );
    // ln 2 in two parts, so that the reduced argument keeps its low bits.
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693_359_4), x);
    let r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.121_944_4e-4), r);
    let mut p = _mm512_set1_ps(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(coefficient));
    }
    let fraction = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0));
    _mm512_scalef_ps(fraction, n)
}
