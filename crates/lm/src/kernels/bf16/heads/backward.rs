//! Gradient of one head of attention, the probabilities recomputed from their log-sum-exps.

use std::arch::x86_64::*;

use super::strips::{Left, Part, ROWS, Strips, multiply};
use super::{BLOCK, Block, LANES, Sight, exp, lanes_within, paired, round_rows};
use crate::kernels::{MatMut, MatRef, Write, dot};

/// One query head of one sequence: what the forward pass left, and the gradient of its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadGradient<'a> {
    pub(crate) sight: Sight,
    /// `[rows, width]`, as `out` and `d_out`.
    pub(crate) queries: MatRef<'a>,
    /// `[past + rows, width]`, as `values`.
    pub(crate) keys: MatRef<'a>,
    pub(crate) values: MatRef<'a>,
    pub(crate) out: MatRef<'a>,
    pub(crate) d_out: MatRef<'a>,
    /// Log-sum-exps of the rows, `[rows, 1]`.
    pub(crate) lse: MatRef<'a>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct BackwardBuffers {
    /// The head's keys and values as right-hand matrices, transposed and, the keys, straight.
    keys_across: Strips,
    values_across: Strips,
    keys: Strips,
    /// The block's rows of the queries and of the gradient, as both factors.
    queries: Strips,
    d_out: Strips,
    query_rows: Vec<u32>,
    d_out_rows: Vec<u32>,
    /// `[BLOCK, stride]`
    scores: Vec<f32>,
    d_probabilities: Vec<f32>,
    /// Pairs of rows: `[BLOCK / 2, stride]`.
    probability_pairs: Vec<u32>,
    d_score_pairs: Vec<u32>,
    /// Pairs within rows: `[BLOCK, stride / 2]`.
    d_score_rows: Vec<u32>,
}

/// Writes the gradients of queries, keys and values to `gradients`, `[past + rows, 3 * width]`;
/// those of the past's queries are zeros.
///
/// # Panics
/// Where [`super::available`] says no.
pub(crate) fn head_backward(
    head: &HeadGradient<'_>,
    gradients: &mut [f32],
    buffers: &mut BackwardBuffers,
) {
    assert!(super::available());
    gradients.fill(0.0);
    let rows = head.queries.rows();
    // SAFETY: the processor has the features, as asserted.
    unsafe {
        buffers.keys_across.fill_transposed(head.keys);
        buffers.values_across.fill_transposed(head.values);
        buffers.keys.fill(head.keys, 0, head.keys.rows());
        for first in (0..rows).step_by(BLOCK) {
            block_backward(head, Block::new(head.sight, first, rows), gradients, buffers);
        }
    }
}

/// Adds what some rows give.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn block_backward(
    head: &HeadGradient<'_>,
    block: Block,
    gradients: &mut [f32],
    buffers: &mut BackwardBuffers,
) {
    let width = head.queries.columns();
    let Block { first, count, start, stride, .. } = block;
    buffers.scores.resize(BLOCK * stride, 0.0);
    buffers.d_probabilities.resize(BLOCK * stride, 0.0);
    buffers.probability_pairs.resize(BLOCK / 2 * stride, 0);
    buffers.d_score_pairs.resize(BLOCK / 2 * stride, 0);
    buffers.d_score_rows.resize(BLOCK * stride / 2, 0);
    // SAFETY: the features are those of the caller.
    unsafe {
        buffers.queries.fill(head.queries, first, count);
        buffers.d_out.fill(head.d_out, first, count);
        let depth = round_rows(head.queries, first, count, &mut buffers.query_rows);
        round_rows(head.d_out, first, count, &mut buffers.d_out_rows);
        for row in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - row);
            for (left, right, scores) in [
                (&buffers.query_rows, &buffers.keys_across, &mut buffers.scores),
                (&buffers.d_out_rows, &buffers.values_across, &mut buffers.d_probabilities),
            ] {
                let left = Left { pairs: left, row: depth, pair: 1 };
                let columns = start..start + block.keys_of_tile(row);
                let part = Part { first: row, count: rows, pairs: 0..depth, skip: 0, columns };
                let scores = MatMut::new(&mut scores[row * stride..], rows, stride);
                multiply(left, right, part, scores, Write::Set);
            }
        }
        softmax_backward(head, block, buffers);

        let left = Left { pairs: &buffers.d_score_rows, row: stride / 2, pair: 1 };
        for row in (0..count).step_by(ROWS) {
            let rows = ROWS.min(count - row);
            let pairs = 0..block.keys_of_tile(row).div_ceil(2);
            let part = Part { first: row, count: rows, pairs, skip: start / 2, columns: 0..width };
            let at = (head.sight.past + first + row) * 3 * width;
            let target = MatMut::strided(&mut gradients[at..], rows, width, 3 * width);
            multiply(left, &buffers.keys, part, target, Write::Set);
        }
        for key in (0..block.keys()).step_by(ROWS) {
            let rows = ROWS.min(block.keys() - key);
            // Rows before the key's own do not see it.
            let pairs =
                (start + key).saturating_sub(head.sight.past + first) / 2..count.div_ceil(2);
            for (left, right, which) in [
                (&buffers.d_score_pairs, &buffers.queries, 1),
                (&buffers.probability_pairs, &buffers.d_out, 2),
            ] {
                let left = Left { pairs: left, row: 1, pair: stride };
                let part = Part {
                    first: key,
                    count: rows,
                    pairs: pairs.clone(),
                    skip: 0,
                    columns: 0..width,
                };
                let at = (3 * (start + key) + which) * width;
                let target = MatMut::strided(&mut gradients[at..], rows, width, 3 * width);
                multiply(left, right, part, target, Write::Add);
            }
        }
    }
}

/// From scores `s` and gradients `dp` of the probabilities to the rounded probabilities `p =
/// exp(s * factor - lse)` and gradients of the scores, `p * (dp - mean) * factor`, where `mean`
/// is the sum of `p * dp` over the row.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn softmax_backward(head: &HeadGradient<'_>, block: Block, buffers: &mut BackwardBuffers) {
    let BackwardBuffers {
        scores,
        d_probabilities,
        probability_pairs,
        d_score_pairs,
        d_score_rows,
        ..
    } = buffers;
    let Block { first, count, stride, .. } = block;
    let factor = _mm512_set1_ps(head.sight.factor);
    for low in (0..count).step_by(2) {
        // The last pair may lack its second row, which then sees nothing.
        let rows = [low, (low + 1).min(count - 1)];
        let seen = [block.seen(low), if low + 1 < count { block.seen(low + 1) } else { 0..0 }];
        let row = |row: usize| first + row;
        let lse = rows.map(|at| _mm512_set1_ps(head.lse.row(row(at))[0]));
        let mean =
            rows.map(|at| _mm512_set1_ps(dot(head.out.row(row(at)), head.d_out.row(row(at)))));
        let lines = rows.map(|at| at * stride..(at + 1) * stride);
        let (probability_pairs, d_score_pairs) = (
            &mut probability_pairs[low / 2 * stride..][..stride],
            &mut d_score_pairs[low / 2 * stride..][..stride],
        );
        for vector in 0..block.vectors(rows[1]).min(stride / LANES) {
            let column = vector * LANES;
            let mut p = [_mm512_setzero_ps(); 2];
            let mut d = p;
            for i in 0..2 {
                let some = lanes_within(vector, &seen[i]);
                if some == 0 {
                    continue;
                }
                let at = lines[i].start + column;
                // SAFETY: sixteen numbers from there lie in each buffer's row.
                unsafe {
                    let s = _mm512_loadu_ps(scores[at..at + LANES].as_ptr());
                    let dp = _mm512_loadu_ps(d_probabilities[at..at + LANES].as_ptr());
                    p[i] = _mm512_maskz_mov_ps(some, exp(_mm512_fmsub_ps(s, factor, lse[i])));
                    let slope = _mm512_mul_ps(_mm512_sub_ps(dp, mean[i]), factor);
                    d[i] = _mm512_maskz_mul_ps(some, p[i], slope);
                }
            }
            // SAFETY: each slice is as long as what is stored.
            unsafe {
                let line = &mut probability_pairs[column..column + LANES];
                _mm512_storeu_si512(line.as_mut_ptr().cast(), paired(p[0], p[1]));
                let line = &mut d_score_pairs[column..column + LANES];
                _mm512_storeu_si512(line.as_mut_ptr().cast(), paired(d[0], d[1]));
                for (i, d) in d.into_iter().enumerate().take(count - low) {
                    let at = ((low + i) * stride + column) / 2;
                    let line = &mut d_score_rows[at..at + LANES / 2];
                    let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(d));
                    _mm256_storeu_si256(line.as_mut_ptr().cast(), halves);
                }
            }
        }
    }
}
