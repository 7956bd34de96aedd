//! Gradient of causal attention; the probabilities are recomputed from their log-sum-exp, block by
//! block.

use std::cell::Cell;

use rayon::prelude::*;

use super::{Heads, Layout, Rotation, Sequence, Span, sequences};
use crate::Precision;
#[cfg(target_arch = "x86_64")]
use crate::kernels::heads::{BackwardBuffers, HeadGradient, head_backward};
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
    /// Rotated queries, rotated keys and values side by side: `[rows, (query + 2 * key heads) *
    /// width]`.
    pub(crate) qkv: &'a [f32],
    /// The result, `[rows, query heads * width]`.
    pub(crate) out: &'a [f32],
    /// Log-sum-exp of the scores, `[rows, query heads]`.
    pub(crate) lse: &'a [f32],
}

/// Buffers of the backward pass, kept between layers.
#[derive(Debug, Default)]
pub(crate) struct HeadGradients {
    /// `[query heads, rows seen, 3 * width]`.
    partial: Vec<f32>,
    joined: Vec<f32>,
}

/// Gradient of attention over packed sequences, and of the rotation before it: `d_qkv` receives the
/// gradient of the unrotated queries, keys and values for the gradient `d_out`. `precision` is that
/// of the forward pass.
#[allow(clippy::too_many_arguments)] // the operands of one product and its gradients
pub(crate) fn attention_backward(
    heads: Heads,
    precision: Precision,
    layout: Layout<'_>,
    kept: Kept<'_>,
    rotation: &Rotation,
    d_out: &[f32],
    d_qkv: &mut [f32],
    buffers: &mut HeadGradients,
) {
    let width = heads.width;
    let HeadGradients { partial, joined } = buffers;
    let parts = sequences(heads, layout, kept.qkv, joined);
    // Each query head has its own part of the key gradients: no thread waits for another, and the
    // sum over the heads below is always taken in the same order.
    let seen = layout.seen();
    partial.resize(heads.queries * seen * 3 * width, 0.0);
    let mut rest = &mut partial[..];
    let mut pieces = Vec::with_capacity(heads.queries * parts.len());
    for head in 0..heads.queries {
        let mut start = 0;
        for &sequence in &parts {
            let rows = sequence.past + sequence.rows;
            let gradients = rest.split_off_mut(..rows * 3 * width).unwrap_or_default();
            pieces.push(Piece { head, sequence, start, gradients });
            start += sequence.rows;
        }
    }
    #[cfg(target_arch = "x86_64")]
    let rounded = precision == Precision::Bf16 && kernels::heads::available();
    #[cfg(not(target_arch = "x86_64"))]
    let _ = precision;
    pieces.into_par_iter().with_max_len(1).for_each(|mut piece| {
        #[cfg(target_arch = "x86_64")]
        if rounded {
            return piece.compute_in_bf16(heads, kept, d_out);
        }
        let (mut scores, mut d_scores) = BUFFERS.take();
        piece.compute(heads, kept, d_out, &mut scores, &mut d_scores);
        BUFFERS.set((scores, d_scores));
    });

    let stride = (heads.queries + 2 * heads.keys) * width;
    let partial = &partial[..];
    let places = Places::new(layout);
    d_qkv.par_chunks_mut(stride).enumerate().with_min_len(16).for_each(|(row, d)| {
        let part = |head: usize, place: usize, which: usize| {
            &partial[(head * seen + place) * 3 * width + which * width..][..width]
        };
        let (d_queries, d_rest) = d.split_at_mut(heads.queries * width);
        let (d_keys, d_values) = d_rest.split_at_mut(heads.keys * width);
        let places = places.of(row);
        for (head, d_query) in d_queries.chunks_exact_mut(width).enumerate() {
            // Queries are the segment's own.
            places.clone().take(1).for_each(|own| d_query.copy_from_slice(part(head, own, 0)));
        }
        for (which, out) in [(1, &mut *d_keys), (2, d_values)] {
            for (key_head, out) in out.chunks_exact_mut(width).enumerate() {
                out.fill(0.0);
                for head in key_head * heads.group()..(key_head + 1) * heads.group() {
                    places.clone().for_each(|place| kernels::add(out, part(head, place, which)));
                }
            }
        }
        rotation.rotate_row(row, d_queries, -1.0);
        rotation.rotate_row(row, d_keys, -1.0);
    });
}

/// Where the gradients of a row stand among those of one query head.
struct Places {
    segments: Vec<Place>,
}

struct Place {
    span: Span,
    /// Where the gradients of the segment's sequences begin: its own first, then those of the
    /// segments behind it.
    first: Vec<usize>,
}

impl Places {
    fn new(layout: Layout<'_>) -> Self {
        let mut segments: Vec<Place> = Vec::with_capacity(layout.segments.len());
        let mut place = 0;
        for (span, segment) in layout.spans().zip(layout.segments) {
            let before = |segment: &usize| layout.segments[*segment].parent;
            for parent in std::iter::successors(segment.parent, before) {
                segments[parent].first.push(place);
            }
            segments.push(Place { span, first: vec![place] });
            place += span.past + span.rows;
        }
        Self { segments }
    }

    /// In the segment that the row belongs to, then in those that have the row in their past.
    fn of(&self, row: usize) -> impl Iterator<Item = usize> + Clone {
        let segment = self.segments.partition_point(|place| place.span.start <= row) - 1;
        let Place { span, first } = &self.segments[segment];
        let within = span.past + row - span.start;
        first.iter().map(move |first| first + within)
    }
}

/// One query head of one sequence.
struct Piece<'a> {
    head: usize,
    sequence: Sequence<'a>,
    /// The sequence's first row in the pack.
    start: usize,
    /// `[past + rows, 3 * width]`: gradients of query, key and value; those of the past's queries
    /// are not meant.
    gradients: &'a mut [f32],
}

impl Piece<'_> {
    #[cfg(target_arch = "x86_64")]
    fn compute_in_bf16(&mut self, heads: Heads, kept: Kept<'_>, d_out: &[f32]) {
        thread_local! {
            /// Buffers of one thread; taken while in use.
            static BUFFERS: Cell<Option<Box<BackwardBuffers>>> = const { Cell::new(None) };
        }
        let Piece { head, start, sequence, .. } = *self;
        let Heads { queries, keys, width, .. } = heads;
        // This head's columns of the sequence's rows.
        fn of_rows(
            data: &[f32],
            rows: [usize; 2],
            head: usize,
            stride: usize,
            width: usize,
        ) -> MatRef<'_> {
            let [start, count] = rows;
            MatRef::strided(&data[start * stride + head * width..], count, width, stride)
        }
        let rows = [start, sequence.rows];
        let key_head = head / heads.group();
        let head = HeadGradient {
            sight: heads.sight(sequence.past),
            queries: of_rows(kept.qkv, rows, head, (queries + 2 * keys) * width, width),
            keys: sequence.keys_of(key_head, width),
            values: sequence.values_of(key_head, width),
            out: of_rows(kept.out, rows, head, queries * width, width),
            d_out: of_rows(d_out, rows, head, queries * width, width),
            lse: of_rows(kept.lse, rows, head, queries, 1),
        };
        let mut buffers = BUFFERS.take().unwrap_or_default();
        head_backward(&head, self.gradients, &mut buffers);
        BUFFERS.set(Some(buffers));
    }

    fn compute(
        &mut self,
        heads: Heads,
        kept: Kept<'_>,
        d_out: &[f32],
        scores: &mut Vec<f32>,
        d_scores: &mut Vec<f32>,
    ) {
        let width = heads.width;
        let Piece { head, start, sequence, .. } = *self;
        let key_head = head / heads.group();
        let (stride, out_stride) =
            ((heads.queries + 2 * heads.keys) * width, heads.queries * width);
        let queries = &kept.qkv[start * stride + head * width..];
        let keys = &sequence.keys[key_head * width..];
        let values = &sequence.values[key_head * width..];
        let out = &kept.out[start * out_stride + head * width..];
        let d_out = &d_out[start * out_stride + head * width..];
        self.gradients.fill(0.0);
        for first in (0..sequence.rows).step_by(ROWS) {
            let block = ROWS.min(sequence.rows - first);
            // As in the forward pass, keys that no row of the block sees are left out.
            let lowest = heads.first_seen(sequence.past + first);
            let visible = sequence.past + first + block - lowest;
            let (keys, values) =
                (&keys[lowest * sequence.stride..], &values[lowest * sequence.stride..]);
            scores.resize(block * visible, 0.0);
            d_scores.resize(block * visible, 0.0);
            let q = MatRef::strided(&queries[first * stride..], block, width, stride);
            let k = MatRef::strided(keys, visible, width, sequence.stride);
            let v = MatRef::strided(values, visible, width, sequence.stride);
            let dy = MatRef::strided(&d_out[first * out_stride..], block, width, out_stride);
            let view = MatMut::new(scores, block, visible);
            gemm(view, false, heads.factor, q, k.t(), Threads::One);
            gemm(MatMut::new(d_scores, block, visible), false, 1.0, dy, v.t(), Threads::One);
            let lines = scores.chunks_exact_mut(visible).zip(d_scores.chunks_exact_mut(visible));
            for (i, (s, d)) in lines.enumerate() {
                let row = first + i;
                let at = row * out_stride..row * out_stride + width;
                let mean = kernels::dot(&out[at.clone()], &d_out[at]);
                let lse = kept.lse[(start + row) * heads.queries + head];
                let position = sequence.past + row;
                let seen = heads.first_seen(position) - lowest..position + 1 - lowest;
                let (s_seen, d_seen) = (&mut s[seen.clone()], &mut d[seen.clone()]);
                kernels::softmax_backward_row(s_seen, d_seen, lse, mean, heads.factor);
                for line in [s, d] {
                    line[..seen.start].fill(0.0);
                    line[seen.end..].fill(0.0);
                }
            }
            let p = MatRef::new(scores, block, visible);
            let ds = MatRef::new(d_scores, block, visible);
            let own = (sequence.past + first) * 3;
            gemm(into(self.gradients, own, block, width), false, 1.0, ds, k, Threads::One);
            let keys_from = lowest * 3 + 1;
            gemm(
                into(self.gradients, keys_from, visible, width),
                true,
                1.0,
                ds.t(),
                q,
                Threads::One,
            );
            gemm(
                into(self.gradients, keys_from + 1, visible, width),
                true,
                1.0,
                p.t(),
                dy,
                Threads::One,
            );
        }
    }
}

/// The gradients of query (0), key (1) or value (2) in a piece, from the row `at / 3` on.
fn into(piece: &mut [f32], at: usize, rows: usize, width: usize) -> MatMut<'_> {
    MatMut::strided(&mut piece[at * width..], rows, width, 3 * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision::F32;
    use crate::Segment;
    use crate::ops::attention;
    use crate::ops::testing::{assert_gradient, noise};

    #[test]
    fn the_gradient_through_rotation_and_attention_matches_differences() {
        let alone = |lengths: &[usize]| -> Vec<Segment> {
            lengths.iter().map(|&length| Segment { parent: None, length }).collect()
        };
        let behind = |shared: usize, lengths: &[usize]| -> Vec<Segment> {
            let own = lengths.iter().map(|&length| Segment { parent: Some(0), length });
            [Segment { parent: None, length: shared }].into_iter().chain(own).collect()
        };
        // A beginning, two behind it of which the first is shared again, and one that stands apart.
        let parents =
            [(None, 5), (Some(0), 20), (Some(1), 3), (Some(1), 9), (Some(0), 4), (None, 7)];
        let tree = parents.map(|(parent, length)| Segment { parent, length }).to_vec();
        for (segments, window) in [
            (alone(&[67, 1, 9]), None),
            (behind(5, &[67, 1, 9]), None),
            (behind(66, &[3, 8]), None),
            (tree.clone(), None),
            (alone(&[67, 1, 9]), Some(5)),
            (behind(5, &[67, 1, 9]), Some(7)),
            (behind(66, &[3, 8]), Some(6)),
            (behind(66, &[3, 8]), Some(1)),
            (tree, Some(6)),
        ] {
            let layout = Layout { segments: &segments };
            let heads = Heads { window, factor: 0.7, ..Heads::plain(4, 2, 6) };
            let rows = layout.rows();
            let stride = 8 * 6;
            let mut rotation = Rotation::default();
            rotation.prepare(layout.positions(), &[0.7, 0.2, 0.05]);
            let run = |qkv: &mut [f32], out: &mut [f32], lse: &mut [f32]| {
                rotation.forward(qkv, 6, stride);
                let mut joined = Vec::new();
                attention(
                    heads,
                    F32,
                    &sequences(heads, layout, qkv, &mut joined),
                    qkv,
                    stride,
                    out,
                    lse,
                );
            };
            let (x, d_out) = (noise(1, rows * stride), noise(2, rows * 24));
            let (mut qkv, mut out, mut lse) =
                (x.clone(), vec![0.0; rows * 24], vec![0.0; rows * 4]);
            run(&mut qkv, &mut out, &mut lse);
            let mut dx = vec![0.0; x.len()];
            let kept = Kept { qkv: &qkv, out: &out, lse: &lse };
            let mut buffers = HeadGradients { partial: vec![5.0; 3], joined: vec![5.0; 3] };
            attention_backward(heads, F32, layout, kept, &rotation, &d_out, &mut dx, &mut buffers);
            assert_gradient(&x, &d_out, &dx, 2e-3, |x, y| run(&mut x.to_vec(), y, &mut []));
        }
    }
}
