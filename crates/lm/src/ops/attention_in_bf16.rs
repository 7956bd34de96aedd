//! Attention of training steps with rounded queries, keys, values and probabilities.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::{AttentionOutput, Heads, Sequence};
use crate::kernels::heads::{BLOCK, ForwardBuffers, PackedHead, QueryHead, Sight, head_forward};
use crate::kernels::{MatMut, MatRef};

thread_local! {
    /// Keys and values of the last call; taken while in use.
    static PACKED: Cell<Vec<PackedHead>> = const { Cell::new(Vec::new()) };
    /// Buffers of one thread; taken while in use.
    static BUFFERS: Cell<Option<Box<ForwardBuffers>>> = const { Cell::new(None) };
}

impl Sequence<'_> {
    /// Keys of a head, `[past + rows, width]`.
    pub(super) fn keys_of(&self, key_head: usize, width: usize) -> MatRef<'_> {
        MatRef::strided(&self.keys[key_head * width..], self.past + self.rows, width, self.stride)
    }

    /// Values of a head, laid out like its keys.
    pub(super) fn values_of(&self, key_head: usize, width: usize) -> MatRef<'_> {
        MatRef::strided(&self.values[key_head * width..], self.past + self.rows, width, self.stride)
    }
}

impl Heads {
    /// What rows behind `past` keys see.
    pub(super) fn sight(self, past: usize) -> Sight {
        Sight { past, window: self.window, factor: self.factor }
    }
}

/// Some rows of a sequence, for all heads, and where their results go.
struct RoundedPiece<'a> {
    sequence: usize,
    /// First row of the sequence in the batch.
    start: usize,
    /// Rows within the sequence.
    rows: Range<usize>,
    to: AttentionOutput<'a>,
}

/// As [`super::attention`].
pub(super) fn attention_in_bf16(
    heads: Heads,
    sequences: &[Sequence<'_>],
    queries: MatRef<'_>,
    to: AttentionOutput<'_>,
) {
    let AttentionOutput { mut out, mut lse } = to;
    let (width, stride) = (heads.width, heads.queries * heads.width);
    let mut packed = PACKED.take();
    packed.resize_with(sequences.len() * heads.keys, PackedHead::default);
    packed.par_iter_mut().enumerate().with_max_len(1).for_each(|(at, packed)| {
        let (sequence, key_head) = (&sequences[at / heads.keys], at % heads.keys);
        packed.fill(sequence.keys_of(key_head, width), sequence.values_of(key_head, width));
    });

    let (mut pieces, mut start) = (Vec::new(), 0);
    let lse_stride = if lse.is_empty() { 0 } else { heads.queries };
    for (index, sequence) in sequences.iter().enumerate() {
        for first in (0..sequence.rows).step_by(BLOCK) {
            let rows = first..sequence.rows.min(first + BLOCK);
            let out = out.split_off_mut(..rows.len() * stride).unwrap_or_default();
            let lse = lse.split_off_mut(..rows.len() * lse_stride).unwrap_or_default();
            let to = AttentionOutput { out, lse };
            pieces.push(RoundedPiece { sequence: index, start, rows, to });
        }
        start += sequence.rows;
    }
    pieces.into_par_iter().with_max_len(1).for_each(|piece| {
        let RoundedPiece { sequence: index, start, rows, to } = piece;
        let mut buffers = BUFFERS.take().unwrap_or_default();
        let sequence = &sequences[index];
        for head in 0..heads.queries {
            let packed = &packed[index * heads.keys + head / heads.group()];
            let queries = queries.rows_from(start, sequence.rows);
            let queries = queries.columns_from(head * width, width);
            let sight = heads.sight(sequence.past);
            let note = |row: usize, value: f32| {
                if let Some(slot) = to.lse.get_mut(row * heads.queries + head) {
                    *slot = value;
                }
            };
            let out = &mut to.out[head * width..];
            let out = MatMut::strided(out, rows.len(), width, stride);
            let head = QueryHead { sight, queries, packed };
            head_forward(head, rows.start, out, note, &mut buffers);
        }
        BUFFERS.set(Some(buffers));
    });
    PACKED.set(packed);
}
