//! Gradient of causal attention; the probabilities are recomputed from their log-sum-exp, block by
//! block.

use std::cell::Cell;

use rayon::prelude::*;

use super::{Heads, Layout, Rotation, Sequence, Span, sequences};
use crate::Precision;
#[cfg(target_arch = "x86_64")]
use crate::kernels::heads::{BackwardBuffers, HeadGradient, head_backward};
use crate::kernels::{self, MatMut, MatRef, Threads, Write, gemm};

/// Query rows taken at a time.
const ROWS: usize = 64;

thread_local! {
    /// Scores and their gradients of one thread; taken while in use.
    static BUFFERS: Cell<(Vec<f32>, Vec<f32>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Attention over a pack and the rotation before it, as one layer has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedAttention<'a> {
    pub(crate) heads: Heads,
    /// That of the forward pass.
    pub(crate) precision: Precision,
    pub(crate) layout: Layout<'a>,
    pub(crate) rotation: &'a Rotation,
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

impl PackedAttention<'_> {
    /// The gradient of attention and of the rotation: `d_qkv` receives that of the unrotated
    /// queries, keys and values for the gradient `d_out` of the result.
    pub(crate) fn backward(
        self,
        kept: Kept<'_>,
        d_out: &[f32],
        d_qkv: &mut [f32],
        buffers: &mut HeadGradients,
    ) {
        let Self { heads, layout, .. } = self;
        let HeadGradients { partial, joined } = buffers;
        let parts = sequences(heads, layout, kept.qkv, joined);
        // Each query head has its own part of the key gradients: no thread waits for another, and
        // the sum over the heads below is always taken in the same order.
        partial.resize(heads.queries * layout.seen() * 3 * heads.width, 0.0);
        let mut rest = &mut partial[..];
        let mut pieces = Vec::with_capacity(heads.queries * parts.len());
        for head in 0..heads.queries {
            let mut start = 0;
            for &sequence in &parts {
                let rows = sequence.past + sequence.rows;
                let gradients = rest.split_off_mut(..rows * 3 * heads.width).unwrap_or_default();
                pieces.push(GradientPiece { heads, head, sequence, start, gradients });
                start += sequence.rows;
            }
        }
        #[cfg(target_arch = "x86_64")]
        let rounded = self.precision == Precision::Bf16 && kernels::heads::available();
        #[cfg(not(target_arch = "x86_64"))]
        let _ = self.precision;
        pieces.into_par_iter().with_max_len(1).for_each(|mut piece| {
            #[cfg(target_arch = "x86_64")]
            if rounded {
                return piece.compute_in_bf16(kept, d_out);
            }
            let mut buffers = BUFFERS.take();
            piece.compute(kept, d_out, &mut buffers);
            BUFFERS.set(buffers);
        });
        self.gather(partial, d_qkv);
    }

    /// Adds up what the query heads and the sequences give to each row, and undoes the rotation.
    fn gather(self, partial: &[f32], d_qkv: &mut [f32]) {
        let Self { heads, layout, rotation, .. } = self;
        let (width, seen) = (heads.width, layout.seen());
        let stride = (heads.queries + 2 * heads.keys) * width;
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
                let own = places.clone().take(1);
                own.for_each(|own| d_query.copy_from_slice(part(head, own, 0)));
            }
            for (which, out) in [(1, &mut *d_keys), (2, d_values)] {
                for (key_head, out) in out.chunks_exact_mut(width).enumerate() {
                    out.fill(0.0);
                    for head in key_head * heads.group()..(key_head + 1) * heads.group() {
                        let parts = places.clone().map(|place| part(head, place, which));
                        parts.for_each(|part| kernels::add(out, part));
                    }
                }
            }
            rotation.rotate_row(row, d_queries, -1.0);
            rotation.rotate_row(row, d_keys, -1.0);
        });
    }
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
struct GradientPiece<'a> {
    heads: Heads,
    head: usize,
    sequence: Sequence<'a>,
    /// The sequence's first row in the pack.
    start: usize,
    /// `[past + rows, 3 * width]`: gradients of query, key and value; those of the past's queries
    /// are not meant.
    gradients: &'a mut [f32],
}

impl GradientPiece<'_> {
    /// This head's columns of the sequence's rows, out of rows of `heads` heads of `width` numbers.
    fn of_rows<'b>(&self, data: &'b [f32], heads: usize, width: usize) -> MatRef<'b> {
        let stride = heads * width;
        let data = &data[self.start * stride + self.head * width..];
        MatRef::strided(data, self.sequence.rows, width, stride)
    }

    /// The same of queries, results, the results' gradient and log-sum-exps.
    fn operands<'b>(&self, kept: Kept<'b>, d_out: &'b [f32]) -> [MatRef<'b>; 4] {
        let Heads { queries, keys, width, .. } = self.heads;
        [
            self.of_rows(kept.qkv, queries + 2 * keys, width),
            self.of_rows(kept.out, queries, width),
            self.of_rows(d_out, queries, width),
            self.of_rows(kept.lse, queries, 1),
        ]
    }

    #[cfg(target_arch = "x86_64")]
    fn compute_in_bf16(&mut self, kept: Kept<'_>, d_out: &[f32]) {
        thread_local! {
            /// Buffers of one thread; taken while in use.
            static BUFFERS: Cell<Option<Box<BackwardBuffers>>> = const { Cell::new(None) };
        }
        let (heads, sequence) = (self.heads, self.sequence);
        let key_head = self.head / heads.group();
        let [queries, out, d_out, lse] = self.operands(kept, d_out);
        let head = HeadGradient {
            sight: heads.sight(sequence.past),
            queries,
            keys: sequence.keys_of(key_head, heads.width),
            values: sequence.values_of(key_head, heads.width),
            out,
            d_out,
            lse,
        };
        let mut buffers = BUFFERS.take().unwrap_or_default();
        head_backward(&head, self.gradients, &mut buffers);
        BUFFERS.set(Some(buffers));
    }

    fn compute(&mut self, kept: Kept<'_>, d_out: &[f32], buffers: &mut (Vec<f32>, Vec<f32>)) {
        let (heads, sequence, (scores, d_scores)) = (self.heads, self.sequence, buffers);
        let width = heads.width;
        let column = self.head / heads.group() * width;
        let operands = self.operands(kept, d_out);
        self.gradients.fill(0.0);
        for first in (0..sequence.rows).step_by(ROWS) {
            let block = ROWS.min(sequence.rows - first);
            // As in the forward pass, keys that no row of the block sees are left out.
            let lowest = heads.first_seen(sequence.past + first);
            let visible = sequence.past + first + block - lowest;
            let at = lowest * sequence.stride + column;
            let k = MatRef::strided(&sequence.keys[at..], visible, width, sequence.stride);
            let v = MatRef::strided(&sequence.values[at..], visible, width, sequence.stride);
            let [q, out, dy, lse] = operands.map(|rows| rows.rows_from(first, block));
            scores.resize(block * visible, 0.0);
            d_scores.resize(block * visible, 0.0);
            let mut p = MatMut::new(scores, block, visible);
            let mut ds = MatMut::new(d_scores, block, visible);
            gemm(p.reborrow(), Write::Set, q.times(k.t()).scaled(heads.factor), Threads::One);
            gemm(ds.reborrow(), Write::Set, dy.times(v.t()), Threads::One);
            for row in 0..block {
                let mean = kernels::dot(out.row(row), dy.row(row));
                let position = sequence.past + first + row;
                let seen = heads.first_seen(position) - lowest..position + 1 - lowest;
                let (s, d) = (p.row_mut(row), ds.row_mut(row));
                let (s_seen, d_seen) = (&mut s[seen.clone()], &mut d[seen.clone()]);
                kernels::softmax_backward_row(s_seen, d_seen, lse.row(row)[0], mean, heads.factor);
                for line in [s, d] {
                    line[..seen.start].fill(0.0);
                    line[seen.end..].fill(0.0);
                }
            }
            let (p, ds) = (p.as_ref(), ds.as_ref());
            let mut to = |write, at, rows, product| {
                gemm(into(self.gradients, at, rows, width), write, product, Threads::One);
            };
            to(Write::Set, (sequence.past + first) * 3, block, ds.times(k));
            to(Write::Add, lowest * 3 + 1, visible, ds.t().times(q));
            to(Write::Add, lowest * 3 + 2, visible, p.t().times(dy));
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
    use crate::ops::testing::{assert_gradient, noise};
    use crate::ops::{AttentionOutput, attention};

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
                let parts = sequences(heads, layout, qkv, &mut joined);
                let queries = MatRef::strided(qkv, rows, 4 * 6, stride);
                attention(heads, F32, &parts, queries, AttentionOutput { out, lse });
            };
            let (x, d_out) = (noise(1, rows * stride), noise(2, rows * 24));
            let (mut qkv, mut out, mut lse) =
                (x.clone(), vec![0.0; rows * 24], vec![0.0; rows * 4]);
            run(&mut qkv, &mut out, &mut lse);
            let mut dx = vec![0.0; x.len()];
            let kept = Kept { qkv: &qkv, out: &out, lse: &lse };
            let mut buffers = HeadGradients { partial: vec![5.0; 3], joined: vec![5.0; 3] };
            let pass = PackedAttention { heads, precision: F32, layout, rotation: &rotation };
            pass.backward(kept, &d_out, &mut dx, &mut buffers);
            assert_gradient(&x, &d_out, &dx, 2e-3, |x, y| run(&mut x.to_vec(), y, &mut []));
        }
    }
}
