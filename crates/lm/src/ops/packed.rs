//! Packed sequences behind a common beginning, as attention sees them.

use super::{Heads, Sequence};

/// How the rows of a pack divide: the common beginning first, then the rest of every sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout<'a> {
    /// Rows of the common beginning.
    pub(crate) shared: usize,
    /// Rows of each sequence behind it.
    pub(crate) lengths: &'a [usize],
}

impl Layout<'_> {
    /// Rows in all.
    pub(crate) fn rows(self) -> usize {
        self.shared + self.lengths.iter().sum::<usize>()
    }

    /// Position of every row within its sequence.
    pub(crate) fn positions(self) -> impl Iterator<Item = usize> + Clone {
        let Layout { shared, lengths } = self;
        (0..shared).chain(lengths.iter().flat_map(move |&length| shared..shared + length))
    }

    /// Rows that attention looks at, counted once for each sequence that does.
    pub(crate) fn seen(self) -> usize {
        let behind: usize = self.lengths.iter().map(|length| self.shared + length).sum();
        behind + self.shared
    }
}

/// The parts of a pack that attend on their own, in the order of their rows: the common beginning, unless it is
/// empty, and every sequence with the beginning as its past.
///
/// `qkv` holds queries, keys and values side by side. Keys and values of a part with a past are put together in
/// `joined`, which is a buffer: a copy far smaller than any product of the layer.
pub(crate) fn sequences<'a>(
    heads: Heads,
    layout: Layout<'_>,
    qkv: &'a [f32],
    joined: &'a mut Vec<f32>,
) -> Vec<Sequence<'a>> {
    let (query, kv) = (heads.queries * heads.width, heads.keys * heads.width);
    let stride = query + 2 * kv;
    let rows_of = |first: usize, rows: usize| &qkv[first * stride..(first + rows) * stride];
    let Layout { shared, lengths } = layout;
    joined.clear();
    if shared > 0 {
        let mut start = shared;
        for &length in lengths {
            for part in [rows_of(0, shared), rows_of(start, length)] {
                part.chunks_exact(stride).for_each(|row| joined.extend_from_slice(&row[query..]));
            }
            start += length;
        }
    }
    let joined = &joined[..];
    let alone = |first: usize, rows: usize| {
        let keys = &qkv[first * stride + query..];
        Sequence { rows, past: 0, keys, values: &keys[kv..], stride }
    };
    let mut parts = Vec::with_capacity(1 + lengths.len());
    if shared > 0 {
        parts.push(alone(0, shared));
    }
    let (mut start, mut at) = (shared, 0);
    for &rows in lengths {
        parts.push(if shared == 0 {
            alone(start, rows)
        } else {
            let keys = &joined[at * 2 * kv..];
            Sequence { rows, past: shared, keys, values: &keys[kv..], stride: 2 * kv }
        });
        start += rows;
        at += shared + rows;
    }
    parts
}
