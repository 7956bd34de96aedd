//! Who holds a term.

use tantivy::Term;
use tantivy::schema::IndexRecordOption;

use super::{DELETED, Lexical, Segment};
use crate::Result;
use crate::bm25::Norm;

/// Texts of a segment that hold a term, or documents, and how often each does.
#[derive(Default)]
pub(super) struct Postings {
    pub(super) holders: Vec<u32>,
    pub(super) frequencies: Vec<u32>,
}

/// Weights that are computed at once, by vector instructions.
const TOGETHER: usize = 128;

impl Postings {
    /// Adds to the holders' `scores` what the term is worth to them. `lengths` and `scores` are of all that could hold it.
    pub(super) fn add_weights(&self, norm: Norm, idf: f32, lengths: &[f32], scores: &mut [f32]) {
        let mut weights = [0.0; TOGETHER];
        let holders = self.holders.chunks(TOGETHER);
        for (holders, frequencies) in holders.zip(self.frequencies.chunks(TOGETHER)) {
            let weights = &mut weights[..holders.len()];
            for (length, &holder) in weights.iter_mut().zip(holders) {
                *length = lengths[holder as usize];
            }
            norm.weigh(idf, frequencies, weights);
            for (weight, &holder) in weights.iter().zip(holders) {
                scores[holder as usize] += weight;
            }
        }
    }

    /// Keeps the holders for which `keep` holds.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let mut kept = 0;
        // Without a branch, as nobody can tell which stay.
        for at in 0..self.holders.len() {
            let (holder, frequency) = (self.holders[at], self.frequencies[at]);
            (self.holders[kept], self.frequencies[kept]) = (holder, frequency);
            kept += usize::from(keep(holder));
        }
        self.holders.truncate(kept);
        self.frequencies.truncate(kept);
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

/// Which texts are read.
#[derive(Clone, Copy)]
pub(super) enum Of<'a> {
    All,
    /// Those of documents with this mark.
    Marked(u8),
    /// These, by segment and by rising number.
    Texts(&'a [Vec<u32>]),
}

/// The same within a segment.
#[derive(Clone, Copy)]
pub(super) enum OfSegment<'a> {
    All,
    Marked(&'a [u8], u8),
    Texts(&'a [u32]),
}

impl<'a> Of<'a> {
    /// `marks` are of all documents.
    pub(super) fn in_segment(self, segment: usize, marks: &'a [u8]) -> OfSegment<'a> {
        match self {
            Of::All => OfSegment::All,
            Of::Marked(mark) => OfSegment::Marked(marks, mark),
            Of::Texts(texts) => OfSegment::Texts(&texts[segment]),
        }
    }
}

impl Segment {
    /// Reads which of some texts hold a term, deleted ones left out.
    pub(super) fn read(&self, term: &Term, of: OfSegment<'_>, into: &mut Postings) -> Result<()> {
        into.clear();
        if matches!(of, OfSegment::Texts([])) {
            return Ok(());
        }
        let inverted = self.reader.inverted_index(self.field)?;
        let found = inverted.read_block_postings(term, IndexRecordOption::WithFreqs);
        let Some(mut block) = found.map_err(tantivy::TantivyError::from)? else { return Ok(()) };
        if let OfSegment::Texts(texts) = of {
            for &text in texts {
                // Blocks that hold none of them are passed by.
                let at = block.seek(text);
                if block.doc(at) == text {
                    into.holders.push(text);
                    into.frequencies.push(block.freq(at));
                }
            }
            return Ok(());
        }
        while !block.docs().is_empty() {
            into.holders.extend_from_slice(block.docs());
            into.frequencies.extend_from_slice(block.freqs());
            block.advance();
        }
        if self.reader.has_deletes() {
            into.retain(|text| self.chunks[text as usize] != DELETED);
        }
        if let OfSegment::Marked(marks, mark) = of {
            into.retain(|text| marks[self.documents[text as usize] as usize] == mark);
        }
        Ok(())
    }
}

/// The documents that hold a term, collected from its texts in order, and how often each does.
#[derive(Default)]
pub(super) struct Holding {
    pub(super) documents: Postings,
    /// One more than the place of each document above, 0 where it is not there; empty where the texts of each follow each other.
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

    /// Adds the documents of a segment's texts.
    pub(super) fn add_all(&mut self, segment: &Segment, texts: &Postings) {
        for (&text, &frequency) in texts.holders.iter().zip(&texts.frequencies) {
            self.add(segment.documents[text as usize], frequency);
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
