//! Who holds a term.

use std::ops::Range;

use tantivy::Term;
use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;

use super::kernels::{Level, compact_both};
use super::windows::Piece;
use super::{Lexical, Segment};
use crate::Result;
use crate::bm25::Norm;

/// A term's posting list in each segment; `None` where no text there holds it. Reading goes
/// forwards only.
pub(super) type Lists = Vec<Option<BlockSegmentPostings>>;

impl Lexical {
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

/// How often each text holds a term, in a byte, by segment: what a list has to be read for is
/// looked up here at once.
pub(super) struct Table(Vec<Vec<u8>>);

impl Table {
    /// `None` where a text holds the term more often than a byte can tell.
    pub(super) fn new(lists: &Lists, segments: &[Segment]) -> Option<Self> {
        let of_segment = |(list, segment): (&Option<BlockSegmentPostings>, &Segment)| {
            let mut frequencies = vec![0; segment.chunks.len()];
            let Some(mut list) = list.clone() else { return Some(frequencies) };
            while !list.docs().is_empty() {
                for (text, frequency) in list.docs().iter().zip(list.freqs()) {
                    frequencies[*text as usize] = u8::try_from(*frequency).ok()?;
                }
                list.advance();
            }
            Some(frequencies)
        };
        lists.iter().zip(segments).map(of_segment).collect::<Option<_>>().map(Table)
    }
}

/// How often a text of a segment holds a term. Those asked for before must stand before it.
pub(super) fn frequency(
    lists: &mut Lists,
    table: Option<&Table>,
    segment: usize,
    text: u32,
) -> u32 {
    match (&mut lists[segment], table) {
        (None, _) => 0,
        (Some(_), Some(table)) => u32::from(table.0[segment][text as usize]),
        (Some(list), None) => listed_frequency(list, text),
    }
}

/// How often a text holds the term of a list. Those asked for before must stand before it.
fn listed_frequency(list: &mut BlockSegmentPostings, text: u32) -> u32 {
    let at = list.seek(text);
    if list.doc(at) == text { list.freq(at) } else { 0 }
}

/// What tells who of a piece holds a term.
pub(super) struct Source<'a> {
    list: &'a mut BlockSegmentPostings,
    /// How often each text of the piece holds it, where there is a table.
    table: Option<&'a [u8]>,
    from: u32,
    to: u32,
}

impl<'a> Source<'a> {
    /// `None` where no text of the segment holds the term.
    pub(super) fn new(
        lists: &'a mut Lists,
        table: Option<&'a Table>,
        piece: &Piece<'_>,
    ) -> Option<Self> {
        let (from, to) = (piece.from, piece.to);
        let list = lists[piece.segment].as_mut()?;
        let table = table.map(|table| &table.0[piece.segment][from as usize..to as usize]);
        Some(Source { list, table, from, to })
    }
}

/// Texts or documents that hold a term, and how often each does. They are counted from the first
/// one that could.
#[derive(Default)]
pub(super) struct Postings {
    pub(super) holders: Vec<u32>,
    pub(super) frequencies: Vec<u32>,
}

/// Texts of a piece up to which all of them are rather looked up in a table than read from a list.
const FEW: u32 = 128;

impl Postings {
    /// Adds all of a piece, deleted texts among them, as all of these: by their place in the piece.
    pub(super) fn add_all(&mut self, source: &mut Source<'_>) {
        let texts = source.to - source.from;
        match source.table {
            Some(table) if texts <= FEW => self.look_up_in(table, 0..texts),
            _ => self.read(source.list, source.from, source.to, source.from),
        }
    }

    /// Adds those of some texts, given by their place in the piece; by rising number where there is
    /// no table.
    pub(super) fn add_some(&mut self, source: &mut Source<'_>, texts: &[u32]) {
        match source.table {
            Some(table) => self.look_up_in(table, texts.iter().copied()),
            None => {
                for &text in texts {
                    let frequency = listed_frequency(source.list, source.from + text);
                    if frequency > 0 {
                        self.holders.push(text);
                        self.frequencies.push(frequency);
                    }
                }
            }
        }
    }

    /// Adds those of some ranges of texts, given by their numbers in the segment and rising.
    pub(super) fn add_ranges(
        &mut self,
        source: &mut Source<'_>,
        ranges: impl Iterator<Item = Range<u32>>,
    ) {
        match source.table {
            Some(table) => self.look_up_in(table, ranges.flatten().map(|text| text - source.from)),
            None => {
                ranges.for_each(|texts| self.read(source.list, texts.start, texts.end, source.from))
            }
        }
    }

    /// Adds those of some texts, in any order, that a table says to hold the term.
    fn look_up_in(&mut self, table: &[u8], texts: impl Iterator<Item = u32>) {
        let known = self.holders.len();
        self.holders.extend(texts);
        let frequency = |text: &u32| u32::from(table[*text as usize]);
        self.frequencies.extend(self.holders[known..].iter().map(frequency));
        compact_both(&mut self.holders, &mut self.frequencies, known, |_, frequency| frequency > 0);
    }

    /// Adds those of the texts `from..to` of a segment that stand in its `list`, deleted ones among
    /// them, by their distance from `origin`. What was read before must lie before.
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
            self.holders.extend(docs[..count].iter().map(|doc| doc - origin));
            self.frequencies.extend_from_slice(&list.freqs()[at..][..count]);
            if docs.is_empty() || count < docs.len() {
                return;
            }
            list.advance();
            at = 0;
        }
    }

    /// Adds to the holders' `scores` what the term is worth to them. `lengths` and `scores` are of
    /// all that could hold it.
    pub(super) fn add_weights(&self, worth: (Norm, f32), lengths: &[f32], scores: &mut [f32]) {
        Level::current().add_weights(&self.holders, &self.frequencies, worth, lengths, scores);
    }

    /// Keeps the holders for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        compact_both(&mut self.holders, &mut self.frequencies, 0, |holder, _| keep(holder));
    }

    /// Keeps the holders that have a score.
    pub(super) fn retain_scored(&mut self, scores: &[f32]) {
        Level::current().keep_scored(&mut self.holders, &mut self.frequencies, scores);
    }

    pub(super) fn clear(&mut self) {
        self.holders.clear();
        self.frequencies.clear();
    }

    /// How often one holds the term at most.
    pub(super) fn most(&self) -> u32 {
        self.frequencies.iter().copied().max().unwrap_or(0)
    }
}

/// The documents that hold a term, collected from its texts in order, and how often each does.
#[derive(Default)]
pub(super) struct Holding {
    pub(super) documents: Postings,
    /// One more than the place of each document above, 0 where it is not there; empty where the
    /// texts of each follow each other.
    places: Vec<u32>,
}

impl Holding {
    pub(super) fn new(lexical: &Lexical) -> Self {
        let places = if lexical.contiguous { Vec::new() } else { vec![0; lexical.starts.len()] };
        Holding { documents: Postings::default(), places }
    }

    pub(super) fn clear(&mut self) {
        if !self.places.is_empty() {
            self.documents.holders.iter().for_each(|document| self.places[*document as usize] = 0);
        }
        self.documents.clear();
    }

    /// Adds the documents of texts: `documents` are of all that could hold the term, and counted
    /// from `first`.
    pub(super) fn add_all(&mut self, texts: &Postings, documents: &[u32], first: u32) {
        for (&text, &frequency) in texts.holders.iter().zip(&texts.frequencies) {
            self.add(documents[text as usize] - first, frequency);
        }
    }

    fn add(&mut self, document: u32, frequency: u32) {
        let Postings { holders, frequencies } = &mut self.documents;
        if let (Some(last), Some(total)) = (holders.last(), frequencies.last_mut())
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
            *place = holders.len() as u32 + 1;
        }
        holders.push(document);
        frequencies.push(frequency);
    }
}
