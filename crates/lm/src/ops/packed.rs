//! Packed sequences, some with a beginning in common, as attention sees them.

use super::{Heads, Sequence};
use crate::decoder::pack::Segment;

/// How the rows of a pack divide into segments, each behind its parent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    pub(crate) segments: &'a [Segment],
}

/// The rows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First row.
    pub(crate) start: usize,
    /// Rows.
    pub(crate) rows: usize,
    /// Rows before it in its sequences.
    pub(crate) past: usize,
}

impl Layout<'_> {
    /// Rows in all.
    pub(crate) fn rows(self) -> usize {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// Rows of every segment.
    pub(crate) fn spans(self) -> impl Iterator<Item = Span> {
        let mut ends = Vec::with_capacity(self.segments.len());
        let mut start = 0;
        self.segments.iter().map(move |segment| {
            let past = segment.parent.map_or(0, |parent| ends[parent]);
            let span = Span { start, rows: segment.length, past };
            ends.push(past + segment.length);
            start += segment.length;
            span
        })
    }

    /// Position of every row within its sequences.
    pub(crate) fn positions(self) -> impl Iterator<Item = usize> + Clone {
        let spans: Vec<Span> = self.spans().collect();
        spans.into_iter().flat_map(|span| span.past..span.past + span.rows)
    }

    /// Rows that attention looks at, counted once for each segment that does.
    pub(crate) fn seen(self) -> usize {
        self.spans().map(|span| span.past + span.rows).sum()
    }

    /// Rows of the longest sequence.
    pub(crate) fn longest(self) -> usize {
        self.spans().map(|span| span.past + span.rows).max().unwrap_or(0)
    }
}

/// The segments of a pack in the order of their rows, each of which attends on its own, to what
/// precedes it and to itself.
///
/// `qkv` holds queries, keys and values side by side. Keys and values of a segment with a past are
/// put together in `joined`, which is a buffer: a copy far smaller than any product of the layer.
pub(crate) fn sequences<'a>(
    heads: Heads,
    layout: Layout<'_>,
    qkv: &'a [f32],
    joined: &'a mut Vec<f32>,
) -> Vec<Sequence<'a>> {
    let (query, kv) = (heads.queries * heads.width, heads.keys * heads.width);
    let stride = query + 2 * kv;
    let spans: Vec<Span> = layout.spans().collect();
    joined.clear();
    for (index, _) in spans.iter().enumerate().filter(|(_, span)| span.past > 0) {
        for part in path(layout, index) {
            let Span { start, rows, .. } = spans[part];
            let rows = qkv[start * stride..(start + rows) * stride].chunks_exact(stride);
            rows.for_each(|row| joined.extend_from_slice(&row[query..]));
        }
    }
    let mut joined = &joined[..];
    let sequence = |&Span { start, rows, past }: &Span| {
        if past == 0 {
            let keys = &qkv[start * stride + query..];
            return Sequence { rows, past, keys, values: &keys[kv..], stride };
        }
        let keys = joined.split_off(..(past + rows) * 2 * kv).unwrap_or_default();
        Sequence { rows, past, keys, values: &keys[kv..], stride: 2 * kv }
    };
    spans.iter().map(sequence).collect()
}

/// The segments that lead to one, itself the last.
fn path(layout: Layout<'_>, segment: usize) -> Vec<usize> {
    let before = |&segment: &usize| layout.segments[segment].parent;
    let mut path: Vec<usize> = std::iter::successors(Some(segment), before).collect();
    path.reverse();
    path
}
