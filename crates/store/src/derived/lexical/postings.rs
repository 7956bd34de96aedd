//! Which texts, and which documents, hold a term.

use std::ops::Range;

use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;

use super::bm25::TermWeight;
use super::frequency_table::{FrequencyTable, Lists, listed_frequency};
use super::index::{Lexical, Segment};
use super::kernels::{Kernels, compact_both};
use super::windows::SegmentRange;
use crate::Result;

impl Lexical {
    /// The posting lists of a term.
    pub(super) fn lists(&self, term: &Term) -> Result<Lists> {
        self.segments.iter().map(|segment| segment.list(term)).collect()
    }
}

impl Segment {
    fn list(&self, term: &Term) -> Result<Option<BlockSegmentPostings>> {
        let inverted = self.reader.inverted_index(self.field)?;
        let found = inverted.read_block_postings(term, IndexRecordOption::WithFreqs);
        Ok(found.map_err(tantivy::TantivyError::from)?)
    }
}

/// Where to find out which texts of a window's segment hold a term.
pub(super) struct TermSource<'a> {
    list: &'a mut BlockSegmentPostings,
    /// How often each text of the range holds it, where there is a table.
    table: Option<&'a [u8]>,
    from: u32,
    to: u32,
}

impl<'a> TermSource<'a> {
    /// `None` where no text of the segment holds the term.
    pub(super) fn new(
        lists: &'a mut Lists,
        table: Option<&'a FrequencyTable>,
        range: &SegmentRange<'_>,
    ) -> Option<Self> {
        let (from, to) = (range.from, range.to);
        let list = lists[range.segment].as_mut()?;
        let table = table.map(|table| table.range(range.segment, from, to));
        Some(TermSource { list, table, from, to })
    }
}

/// Texts or documents that hold a term, and how often each does. Their numbers count from the first
/// text of a range, or the first document of a window.
#[derive(Default)]
pub(super) struct Postings {
    pub(super) ids: Vec<u32>,
    pub(super) frequencies: Vec<u32>,
}

/// Texts of a range up to which looking all of them up in a table is faster than reading a list.
const LOOK_UP_ALL: u32 = 128;

impl Postings {
    /// Adds all texts of a range that hold the term, deleted ones among them.
    pub(super) fn add_all(&mut self, source: &mut TermSource<'_>) {
        let texts = source.to - source.from;
        match source.table {
            Some(table) if texts <= LOOK_UP_ALL => self.look_up_in(table, 0..texts),
            _ => self.read(source.list, source.from, source.to, source.from),
        }
    }

    /// Adds those of some texts that hold the term. Where there is no table, texts must come by
    /// rising number.
    pub(super) fn add_some(&mut self, source: &mut TermSource<'_>, texts: &[u32]) {
        match source.table {
            Some(table) => self.look_up_in(table, texts.iter().copied()),
            None => {
                for &text in texts {
                    let frequency = listed_frequency(source.list, source.from + text);
                    if frequency > 0 {
                        self.ids.push(text);
                        self.frequencies.push(frequency);
                    }
                }
            }
        }
    }

    /// Adds those texts of some ranges that hold the term. Ranges count from the start of the
    /// segment, and rise.
    pub(super) fn add_ranges(
        &mut self,
        source: &mut TermSource<'_>,
        ranges: impl Iterator<Item = Range<u32>>,
    ) {
        match source.table {
            Some(table) => self.look_up_in(table, ranges.flatten().map(|text| text - source.from)),
            None => {
                ranges.for_each(|texts| self.read(source.list, texts.start, texts.end, source.from))
            }
        }
    }

    /// Adds those of some texts, in any order, that hold the term by its table.
    fn look_up_in(&mut self, table: &[u8], texts: impl Iterator<Item = u32>) {
        let known = self.ids.len();
        self.ids.extend(texts);
        let frequency = |text: &u32| u32::from(table[*text as usize]);
        self.frequencies.extend(self.ids[known..].iter().map(frequency));
        compact_both(&mut self.ids, &mut self.frequencies, known, |_, frequency| frequency > 0);
    }

    /// Adds the texts `from..to` of a segment that stand in its `list`, deleted ones among them, as
    /// numbers that count from `origin`. A list is read forwards only, so `from` must not lie
    /// before what was read last.
    pub(super) fn read(
        &mut self,
        list: &mut BlockSegmentPostings,
        from: u32,
        to: u32,
        origin: u32,
    ) {
        let mut at = list.seek(from);
        loop {
            let docs = list.docs().get(at..).unwrap_or_default();
            let count = docs.partition_point(|doc| *doc < to);
            self.ids.extend(docs[..count].iter().map(|doc| doc - origin));
            self.frequencies.extend_from_slice(&list.freqs()[at..][..count]);
            if docs.is_empty() || count < docs.len() {
                return;
            }
            list.advance();
            at = 0;
        }
    }

    /// Adds to `scores` what the term is worth to those that hold it. `lengths` and `scores` are
    /// indexed by number.
    pub(super) fn add_weights(&self, weight: TermWeight, lengths: &[f32], scores: &mut [f32]) {
        Kernels::current().add_weights(&self.ids, &self.frequencies, weight, lengths, scores);
    }

    /// Keeps those for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        compact_both(&mut self.ids, &mut self.frequencies, 0, |id, _| keep(id));
    }

    /// Keeps those that have a score.
    pub(super) fn retain_scored(&mut self, scores: &[f32]) {
        Kernels::current().keep_scored(&mut self.ids, &mut self.frequencies, scores);
    }

    pub(super) fn clear(&mut self) {
        self.ids.clear();
        self.frequencies.clear();
    }

    /// How often one of them holds the term at most.
    pub(super) fn max_frequency(&self) -> u32 {
        self.frequencies.iter().copied().max().unwrap_or(0)
    }
}

/// The documents that hold a term, and how often each does, collected from its texts in order.
#[derive(Default)]
pub(super) struct DocumentPostings {
    pub(super) postings: Postings,
    /// By document: one more than its place in `postings`, or 0 where it has none. Empty where the
    /// texts of each document follow each other.
    places: Vec<u32>,
}

impl DocumentPostings {
    pub(super) fn new(lexical: &Lexical) -> Self {
        let places = if lexical.contiguous { Vec::new() } else { vec![0; lexical.starts.len()] };
        DocumentPostings { postings: Postings::default(), places }
    }

    pub(super) fn clear(&mut self) {
        if !self.places.is_empty() {
            self.postings.ids.iter().for_each(|document| self.places[*document as usize] = 0);
        }
        self.postings.clear();
    }

    /// Adds the documents of texts. `documents` gives the document of each text of the range;
    /// documents count from `first`.
    pub(super) fn add_all(&mut self, texts: &Postings, documents: &[u32], first: u32) {
        for (&text, &frequency) in texts.ids.iter().zip(&texts.frequencies) {
            self.add(documents[text as usize] - first, frequency);
        }
    }

    fn add(&mut self, document: u32, frequency: u32) {
        let Postings { ids, frequencies } = &mut self.postings;
        if let (Some(last), Some(total)) = (ids.last(), frequencies.last_mut())
            && *last == document
        {
            *total += frequency;
            return;
        }
        if let Some(place) = self.places.get_mut(document as usize) {
            if *place > 0 {
                frequencies[*place as usize - 1] += frequency;
                return;
            }
            *place = ids.len() as u32 + 1;
        }
        ids.push(document);
        frequencies.push(frequency);
    }
}
