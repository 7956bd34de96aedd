//! Results of one head of attention: scores of a block of rows, softmax, and the sum of the values
//! weighted by it. Probabilities are rounded before they are divided by their sum, and the sum is
//! taken before they are rounded, so that the division of the result is all that is left.

use std::arch::x86_64::*;

use super::strips::{Left, Part, ROWS, Strips, multiply};
use super::{BLOCK, Block, LANES, Sight, exp, lanes_within, round_rows};
use crate::kernels::{MatMut, MatRef, Write, scale};

/// Keys and values of one key head of one sequence, packed once for all rows and query heads.
#[derive(Debug, Default)]
pub(crate) struct PackedHead {
    keys_across: Strips,
    values: Strips,
}

impl PackedHead {
    /// Takes keys and values, `[past + rows, width]` each.
    ///
    /// # Panics
    /// Where [`super::available`] says no.
    pub(crate) fn fill(&mut self, keys: MatRef<'_>, values: MatRef<'_>) {
        assert!(super::available());
        // SAFETY: the processor has the features, as asserted.
        unsafe {
            self.keys_across.fill_transposed(keys);
            self.values.fill(values, 0, values.rows());
        }
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct ForwardBuffers {
    query_rows: Vec<u32>,
    /// `[BLOCK, stride]`
    scores: Vec<f32>,
    /// Pairs within rows: `[BLOCK, stride / 2]`.
    probabilities: Vec<u32>,
}

/// One query head of one sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryHead<'a> {
    pub(crate) sight: Sight,
    /// `[rows, width]`
    pub(crate) queries: MatRef<'a>,
    /// Keys and values of its key head.
    pub(crate) packed: &'a PackedHead,
}

/// Results of the rows from `first` on, at most [`BLOCK`] of them: `out` receives them, `[rows,
/// width]`, and `lse` is told the logarithm of each row's softmax's denominator.
///
/// # Panics
/// Where [`super::available`] says no.
pub(crate) fn head_forward(
    head: QueryHead<'_>,
    first: usize,
    mut out: MatMut<'_>,
    mut lse: impl FnMut(usize, f32),
    buffers: &mut ForwardBuffers,
) {
    assert!(super::available());
    let block = Block::new(head.sight, first, head.queries.rows());
    // SAFETY: the processor has the features, as asserted.
    let softmaxes = unsafe { block_forward(head, block, out.reborrow(), buffers) };
    for (row, (largest, total)) in softmaxes.into_iter().enumerate().take(block.count) {
        lse(row, largest + total.ln());
        scale(out.row_mut(row), 1.0 / total);
    }
}

/// Results before they are divided by the sums of their softmaxes; returns the largest score and
/// the sum of each row.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn block_forward(
    head: QueryHead<'_>,
    block: Block,
    mut out: MatMut<'_>,
    buffers: &mut ForwardBuffers,
) -> [(f32, f32); BLOCK] {
    let QueryHead { queries, packed, .. } = head;
    let ForwardBuffers { query_rows, scores, probabilities } = buffers;
    let Block { first, count, start, stride, .. } = block;
    let mut softmaxes = [(0.0, 0.0); BLOCK];
    scores.resize(BLOCK * stride, 0.0);
    probabilities.resize(BLOCK * stride / 2, 0);
    // SAFETY: the features are those of the caller.
    unsafe {
        let depth = round_rows(queries, first, count, query_rows);
        for row in (0..count).step_by(ROWS) {
            let left = Left { pairs: query_rows, row: depth, pair: 1 };
            let columns = start..start + block.keys_of_tile(row);
            let part = Part {
                first: row,
                count: ROWS.min(count - row),
                pairs: 0..depth,
                skip: 0,
                columns,
            };
            let scores = MatMut::new(&mut scores[row * stride..], part.count, stride);
            multiply(left, &packed.keys_across, part, scores, Write::Set);
        }
        for (row, of_row) in softmaxes.iter_mut().enumerate().take(count) {
            let scores = &scores[row * stride..][..stride];
            let probabilities = &mut probabilities[row * stride / 2..][..stride / 2];
            *of_row = softmax(block, row, scores, probabilities);
        }
        for row in (0..count).step_by(ROWS) {
            let left = Left { pairs: probabilities, row: stride / 2, pair: 1 };
            let part = Part {
                first: row,
                count: ROWS.min(count - row),
                pairs: 0..block.keys_of_tile(row).div_ceil(2),
                skip: start / 2,
                columns: 0..queries.columns(),
            };
            let out = out.rows_from(row, part.count);
            multiply(left, &packed.values, part, out, Write::Set);
        }
    }
    softmaxes
}

/// From the scores of a row to its rounded probabilities, not yet divided by their sum; returns the
/// largest score and the sum.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn softmax(
    block: Block,
    row: usize,
    scores: &[f32],
    probabilities: &mut [u32],
) -> (f32, f32) {
    let (seen, factor) = (block.seen(row), _mm512_set1_ps(block.sight.factor));
    let load = |vector: usize| {
        let line = &scores[vector * LANES..][..LANES];
        // SAFETY: a line of 64 bytes.
        _mm512_mul_ps(unsafe { _mm512_loadu_ps(line.as_ptr()) }, factor)
    };
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for vector in seen.start / LANES..seen.end.div_ceil(LANES) {
        let some = lanes_within(vector, &seen);
        largest = _mm512_mask_max_ps(largest, some, largest, load(vector));
    }
    let largest = _mm512_reduce_max_ps(largest);
    let mut total = _mm512_setzero_ps();
    for vector in 0..block.vectors(row).min(scores.len() / LANES) {
        let some = lanes_within(vector, &seen);
        let shifted = _mm512_sub_ps(load(vector), _mm512_set1_ps(largest));
        let p = _mm512_maskz_mov_ps(some, exp(shifted));
        total = _mm512_add_ps(total, p);
        let line = &mut probabilities[vector * LANES / 2..][..LANES / 2];
        // SAFETY: a line of 32 bytes.
        unsafe {
            let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(p));
            _mm256_storeu_si256(line.as_mut_ptr().cast(), halves);
        }
    }
    (largest, _mm512_reduce_add_ps(total))
}
