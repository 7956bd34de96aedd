//! Texts that are scored together.

use std::ops::Range;

use super::index::{Lexical, Segment};
use crate::ChunkId;

/// Some documents with all their texts.
pub(super) struct Window<'a> {
    pub(super) documents: Range<u32>,
    /// What it holds of each segment, in order.
    pub(super) ranges: Vec<SegmentRange<'a>>,
    /// Texts in all ranges, deleted ones among them.
    pub(super) texts: usize,
}

/// The part of a window that lies in one segment: texts that follow each other.
pub(super) struct SegmentRange<'a> {
    pub(super) segment: usize,
    /// Of the texts in the segment.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Texts of the window before these.
    pub(super) before: usize,
    pub(super) chunks: &'a [ChunkId],
    pub(super) lengths: &'a [f32],
    pub(super) documents: &'a [u32],
}

impl Lexical {
    /// The documents from `first` on that have about so many texts; all where the texts of a
    /// document lie apart. `None` behind the last.
    pub(super) fn window_from(&self, first: u32, texts: usize) -> Option<Window<'_>> {
        let (first, all) = (first as usize, self.starts.len());
        let start = self.starts.get(first)?;
        let mut next = all;
        if self.contiguous {
            let end = self.number(start).saturating_add(texts);
            // No document is without a text.
            let last = all.min(first.saturating_add(texts));
            let each_has_one = self.starts.get(last).is_some_and(|start| self.number(start) == end);
            let near = &self.starts[first + 1..last];
            next = match each_has_one {
                true => last,
                false => first + 1 + near.partition_point(|start| self.number(start) < end),
            };
        }
        Some(self.window(first as u32..next as u32))
    }

    /// A window of some documents, whose texts must follow each other where it is not one of all.
    pub(super) fn window(&self, documents: Range<u32>) -> Window<'_> {
        let starts = |document: u32| self.starts.get(document as usize).copied();
        let last = (self.segments.len().saturating_sub(1) as u32, u32::MAX);
        let (start, end) =
            (starts(documents.start).unwrap_or(last), starts(documents.end).unwrap_or(last));
        let (mut ranges, mut texts) = (Vec::new(), 0);
        let segments = self.segments.iter().enumerate();
        for (at, segment) in segments.take(end.0 as usize + 1).skip(start.0 as usize) {
            let all = segment.chunks.len() as u32;
            let from = if at == start.0 as usize { start.1.min(all) } else { 0 };
            let to = if at == end.0 as usize { end.1.min(all) } else { all };
            ranges.push(segment.range(at, from, to, texts));
            texts += (to - from) as usize;
        }
        Window { documents, ranges, texts }
    }

    /// The texts of a document in a range, by their numbers in the segment, where the texts of each
    /// follow each other.
    pub(super) fn texts_in(&self, range: &SegmentRange<'_>, document: u32) -> Option<Range<u32>> {
        let at = range.segment as u32;
        let start = *self.starts.get(document as usize)?.max(&(at, range.from));
        let next = self.starts.get(document as usize + 1).copied();
        let end = (at, range.to).min(next.unwrap_or((at, range.to)));
        (start < end).then_some(start.1..end.1)
    }

    /// How many texts stand before one.
    fn number(&self, &(segment, text): &(u32, u32)) -> usize {
        self.segments[segment as usize].before + text as usize
    }
}

impl Segment {
    fn range(&self, segment: usize, from: u32, to: u32, before: usize) -> SegmentRange<'_> {
        let texts = from as usize..to as usize;
        SegmentRange {
            segment,
            from,
            to,
            before,
            chunks: &self.chunks[texts.clone()],
            lengths: &self.lengths[texts.clone()],
            documents: &self.documents[texts],
        }
    }
}
