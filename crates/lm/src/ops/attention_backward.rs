//! Gradient of causal attention; the probabilities are recomputed from their log-sum-exp, block by block.

use std::cell::Cell;

use rayon::prelude::*;

use super::{Heads, Rotation};
use crate::kernels::{self, MatMut, MatRef, Threads, gemm};

/// Query rows taken at a time.
const ROWS: usize = 64;

thread_local! {
    /// Scores and their gradients of one thread; taken while in use.
    static BUFFERS: Cell<(Vec<f32>, Vec<f32>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// What the forward pass left behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// Rotated queries, rotated keys and values side by side: `[rows, (query + 2 * key heads) * width]`.
    pub(crate) qkv: &'a [f32],
    /// The result, `[rows, query heads * width]`.
    pub(crate) out: &'a [f32],
    /// Log-sum-exp of the scores, `[rows, query heads]`.
    pub(crate) lse: &'a [f32],
}

/// Gradient of attention over sequences of the given lengths, none of which has a past, and of the rotation
/// before it: `d_qkv` receives the gradient of the unrotated queries, keys and values for the gradient `d_out`.
/// `partial` is a buffer.
pub(crate) fn attention_backward(
    heads: Heads,
    lengths: &[usize],
    kept: Kept<'_>,
    rotation: &Rotation,
    d_out: &[f32],
    d_qkv: &mut [f32],
    partial: &mut Vec<f32>,
) {
    let width = heads.width;
    let rows: usize = lengths.iter().sum();
    // Each query head has its own part of the key gradients: no thread waits for another, and the sum over
    // the heads below is always taken in the same order.
    partial.resize(heads.queries * rows * 3 * width, 0.0);
    let mut rest = &mut partial[..];
    let mut pieces = Vec::with_capacity(heads.queries * lengths.len());
    for head in 0..heads.queries {
        let mut start = 0;
        for &length in lengths {
            let piece = rest.split_off_mut(..length * 3 * width).unwrap_or_default();
            pieces.push((head, start, length, piece));
            start += length;
        }
    }
    pieces.into_par_iter().with_max_len(1).for_each(|(head, start, length, piece)| {
        let (mut scores, mut d_scores) = BUFFERS.take();
        head_backward(heads, head, start, length, kept, d_out, piece, &mut scores, &mut d_scores);
        BUFFERS.set((scores, d_scores));
    });

    let stride = (heads.queries + 2 * heads.keys) * width;
    let partial = &partial[..];
    d_qkv.par_chunks_mut(stride).enumerate().with_min_len(16).for_each(|(row, d)| {
        let part =
            |head: usize, which: usize| &partial[(head * rows + row) * 3 * width + which * width..][..width];
        let (d_queries, d_rest) = d.split_at_mut(heads.queries * width);
        let (d_keys, d_values) = d_rest.split_at_mut(heads.keys * width);
        for (head, d_query) in d_queries.chunks_exact_mut(width).enumerate() {
            d_query.copy_from_slice(part(head, 0));
        }
        for (which, out) in [(1, &mut *d_keys), (2, d_values)] {
            for (key_head, out) in out.chunks_exact_mut(width).enumerate() {
                let first = key_head * heads.group();
                out.copy_from_slice(part(first, which));
                for head in first + 1..first + heads.group() {
                    kernels::add(out, part(head, which));
                }
            }
        }
        rotation.rotate_row(row, d_queries, -1.0);
        rotation.rotate_row(row, d_keys, -1.0);
    });
}

/// One query head of one sequence; `piece` is `[length, 3 * width]`: gradients of query, key and value.
#[allow(clippy::too_many_arguments)] // one call site; the operands of one operator
fn head_backward(
    heads: Heads,
    head: usize,
    start: usize,
    length: usize,
    kept: Kept<'_>,
    d_out: &[f32],
    piece: &mut [f32],
    scores: &mut Vec<f32>,
    d_scores: &mut Vec<f32>,
) {
    let width = heads.width;
    let key_head = head / heads.group();
    let (stride, out_stride) = ((heads.queries + 2 * heads.keys) * width, heads.queries * width);
    let queries = &kept.qkv[start * stride + head * width..];
    let keys = &kept.qkv[start * stride + (heads.queries + key_head) * width..];
    let values = &kept.qkv[start * stride + (heads.queries + heads.keys + key_head) * width..];
    let out = &kept.out[start * out_stride + head * width..];
    let d_out = &d_out[start * out_stride + head * width..];
    piece.fill(0.0);
    for first in (0..length).step_by(ROWS) {
        let block = ROWS.min(length - first);
        let visible = first + block;
        scores.resize(block * visible, 0.0);
        d_scores.resize(block * visible, 0.0);
        let q = MatRef::strided(&queries[first * stride..], block, width, stride);
        let k = MatRef::strided(keys, visible, width, stride);
        let v = MatRef::strided(values, visible, width, stride);
        let dy = MatRef::strided(&d_out[first * out_stride..], block, width, out_stride);
        let view = MatMut::new(scores, block, visible);
        gemm(view, false, heads.factor(), q, k.t(), Threads::One);
        gemm(MatMut::new(d_scores, block, visible), false, 1.0, dy, v.t(), Threads::One);
        let lines = scores.chunks_exact_mut(visible).zip(d_scores.chunks_exact_mut(visible));
        for (i, (s, d)) in lines.enumerate() {
            let row = first + i;
            let at = row * out_stride..row * out_stride + width;
            let mean = kernels::dot(&out[at.clone()], &d_out[at]);
            let lse = kept.lse[(start + row) * heads.queries + head];
            let (seen, hidden) = s.split_at_mut(row + 1);
            let (d_seen, d_hidden) = d.split_at_mut(row + 1);
            kernels::softmax_backward_row(seen, d_seen, lse, mean, heads.factor());
            hidden.fill(0.0);
            d_hidden.fill(0.0);
        }
        let p = MatRef::new(scores, block, visible);
        let ds = MatRef::new(d_scores, block, visible);
        gemm(into(piece, first * 3, block, width), false, 1.0, ds, k, Threads::One);
        gemm(into(piece, 1, visible, width), true, 1.0, ds.t(), q, Threads::One);
        gemm(into(piece, 2, visible, width), true, 1.0, p.t(), dy, Threads::One);
    }
}

/// The gradients of query (0), key (1) or value (2) in a piece, from the row `at / 3` on.
fn into(piece: &mut [f32], at: usize, rows: usize, width: usize) -> MatMut<'_> {
    MatMut::strided(&mut piece[at * width..], rows, width, 3 * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_gradient, noise};
    use crate::ops::{Sequence, attention};

    #[test]
    fn the_gradient_through_rotation_and_attention_matches_differences() {
        let heads = Heads { queries: 4, keys: 2, width: 6 };
        let lengths = [67, 1, 9];
        let rows = 77;
        let stride = 8 * 6;
        let mut rotation = Rotation::default();
        rotation.prepare(lengths.iter().flat_map(|&n| 0..n), &[0.7, 0.2, 0.05]);
        let run = |qkv: &mut [f32], out: &mut [f32], lse: &mut [f32]| {
            rotation.forward(qkv, 6, stride);
            let mut start = 0;
            let sequences: Vec<_> = lengths
                .iter()
                .map(|&rows| {
                    let keys = &qkv[start * stride + 24..];
                    let values = &qkv[start * stride + 36..];
                    start += rows;
                    Sequence { rows, past: 0, keys, values, stride }
                })
                .collect();
            attention(heads, &sequences, qkv, stride, out, lse);
        };
        let (x, d_out) = (noise(1, rows * stride), noise(2, rows * 24));
        let (mut qkv, mut out, mut lse) = (x.clone(), vec![0.0; rows * 24], vec![0.0; rows * 4]);
        run(&mut qkv, &mut out, &mut lse);
        let mut dx = vec![0.0; x.len()];
        let kept = Kept { qkv: &qkv, out: &out, lse: &lse };
        attention_backward(heads, &lengths, kept, &rotation, &d_out, &mut dx, &mut vec![5.0; 3]);
        assert_gradient(&x, &d_out, &dx, 2e-3, |x, y| run(&mut x.to_vec(), y, &mut []));
    }
}
