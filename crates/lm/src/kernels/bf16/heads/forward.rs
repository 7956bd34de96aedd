//! Results of one head of attention.

use std::arch::x86_64::*;

use super::strips::{Left, Part, ROWS, Strips, multiply};
use super::{BLOCK, Block, LANES, Sight, exp, lanes_within, round_rows};
use crate::kernels::{MatRef, scale};

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

/// Results of the rows from `first` on, at most [`BLOCK`] of them, of one query head: `queries` is
/// `[rows, width]`; `out`, whose rows are `stride` apart, receives the block's results, and `lse`
/// is told the logarithm of each row's softmax's denominator.
///
/// # Panics
/// Where [`super::available`] says no.
#[allow(clippy::too_many_arguments)] // the operands of one product and where its results go
pub(crate) fn head_forward(
    sight: Sight,
    queries: MatRef<'_>,
    first: usize,
    packed: &PackedHead,
    out: &mut [f32],
    stride: usize,
    mut lse: impl FnMut(usize, f32),
    buffers: &mut ForwardBuffers,
) {
    assert!(super::available());
    let block = Block::new(sight, first, queries.rows());
    let mut totals = [0.0; BLOCK];
    // SAFETY: the processor has the features, as asserted.
    unsafe { block_forward(queries, block, packed, out, stride, &mut totals, &mut lse, buffers) };
    for (row, total) in totals.into_iter().enumerate().take(block.count) {
        scale(&mut out[row * stride..][..queries.columns()], 1.0 / total);
    }
}

/// Results before they are divided by their `totals`.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[allow(clippy::too_many_arguments)] // as above
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn block_forward(
    queries: MatRef<'_>,
    block: Block,
    packed: &PackedHead,
    out: &mut [f32],
    out_stride: usize,
    totals: &mut [f32; BLOCK],
    lse: &mut impl FnMut(usize, f32),
    buffers: &mut ForwardBuffers,
) {
    let ForwardBuffers { query_rows, scores, probabilities } = buffers;
    let Block { first, count, start, stride, .. } = block;
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
            multiply(left, &packed.keys_across, part, &mut scores[row * stride..], stride, false);
        }
        for (row, total) in totals.iter_mut().enumerate().take(count) {
            let scores = &scores[row * stride..][..stride];
            let probabilities = &mut probabilities[row * stride / 2..][..stride / 2];
            let largest;
            (largest, *total) = softmax(block, row, scores, probabilities);
            lse(row, largest + total.ln());
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
            multiply(left, &packed.values, part, &mut out[row * out_stride..], out_stride, false);
        }
    }
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
