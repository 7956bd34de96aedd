//! An open text index: tantivy's segments, with what scoring reads of each text in lists of its
//! own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use tantivy::Index;
use tantivy::columnar::Column;
use tantivy::index::SegmentReader;
use tantivy::schema::Field;

use super::layout::{CHUNK, Fields, Stamp, schema, stamp_of};
use super::term_cache::TermCache;
use super::texts::Take;
use super::writing::{in_order, write};
use crate::derived::places::place_of;
use crate::{ChunkId, Error, Result};

/// Texts in a window: as many as keep their scores and lengths in the first caches.
pub(super) const WINDOW_TEXTS: usize = 8192;

/// Stands for a chunk where a text is deleted.
pub(super) const DELETED: ChunkId = ChunkId(0);

/// An open text index.
pub(crate) struct Lexical {
    pub(super) index: Index,
    pub(super) fields: Fields,
    pub(super) stamp: Stamp,
    pub(super) segments: Vec<Segment>,
    /// Where each chunk stands, by rising chunk number: segment and text.
    pub(super) places: Vec<(ChunkId, u32, u32)>,
    /// Segment and number of each document's first text, by the numbers that texts have for them.
    pub(super) starts: Vec<(u32, u32)>,
    /// Length of each document in terms.
    pub(super) documents: Vec<f32>,
    /// Whether the texts of each document follow each other, one segment read after the other.
    pub(super) contiguous: bool,
    /// What there is in each language, by its packed code.
    pub(super) languages: BTreeMap<u64, Population>,
    pub(super) term_cache: TermCache,
    /// Lengths of the shortest text and document, in terms.
    pub(super) shortest_text: f32,
    pub(super) shortest_document: f32,
    /// Texts that are scored together.
    pub(super) window_texts: usize,
}

/// What there is in one language.
#[derive(Default)]
pub(super) struct Population {
    pub(super) texts: usize,
    pub(super) documents: usize,
    /// In terms, all together.
    pub(super) length: u64,
}

/// Texts by tantivy's numbers, what is told of each in a list of its own, as scoring reads lengths
/// and documents of many.
pub(super) struct Segment {
    pub(super) field: Field,
    pub(super) reader: SegmentReader,
    /// Texts in the segments before it, deleted ones among them.
    pub(super) before: usize,
    pub(super) chunks: Vec<ChunkId>,
    /// In terms.
    pub(super) lengths: Vec<f32>,
    /// Places in [`Lexical::documents`].
    pub(super) documents: Vec<u32>,
}

/// The numbers that documents get while segments are read: by order of their first text.
#[derive(Default)]
struct DocumentNumbers {
    /// By the number that the database gives.
    by_id: HashMap<u64, u32>,
    /// The document of the text read last.
    last: Option<u32>,
}

impl Lexical {
    /// Opens the index in `folder`; `None` when it is missing, damaged, or made by another format
    /// or from another database.
    pub(crate) fn open(folder: &Path, wanted: &Stamp) -> Option<Self> {
        let index = Index::open_in_dir(folder).ok()?;
        let (schema, fields) = schema();
        if index.schema() != schema || !index.validate_checksum().ok()?.is_empty() {
            return None;
        }
        let stamp = stamp_of(&index)?;
        if !stamp.can_follow(wanted) {
            return None;
        }
        Self::load(index, fields, stamp).ok()
    }

    /// Makes a new index in the empty folder `folder`. `texts` hands over each chunk with its
    /// words.
    pub(crate) fn build(
        folder: &Path,
        stamp: Stamp,
        texts: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let (schema, fields) = schema();
        let index = Index::create_in_dir(folder, schema)?;
        write(&index, fields, &stamp, &HashSet::new(), texts)?;
        Self::load(index, fields, stamp)
    }

    /// Brings the index up to date: takes out the chunks in `gone`, adds what `texts` hands over.
    pub(crate) fn update(
        self,
        stamp: Stamp,
        gone: &HashSet<ChunkId>,
        texts: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<Self> {
        let Lexical { index, fields, segments, .. } = self;
        drop(segments);
        write(&index, fields, &stamp, gone, texts)?;
        Self::load(index, fields, stamp)
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether its folder is still there and nothing has been written to it since it was opened.
    pub(crate) fn is_on_disk(&self) -> bool {
        stamp_of(&self.index).is_some_and(|stamp| stamp == self.stamp)
    }

    /// How many texts there are.
    pub(crate) fn texts(&self) -> usize {
        self.places.len()
    }

    /// The chunks in the index.
    pub(crate) fn chunks(&self) -> HashSet<ChunkId> {
        self.places.iter().map(|(chunk, ..)| *chunk).collect()
    }

    /// Whether there are several windows, which several threads can take.
    pub(crate) fn has_windows(&self) -> bool {
        self.contiguous && self.places.len() > self.window_texts
    }

    /// Makes windows of other sizes.
    #[cfg(test)]
    pub(crate) fn score_together(&mut self, texts: usize) {
        self.window_texts = texts;
        self.term_cache = Default::default();
    }

    /// Whether each document is one text.
    pub(super) fn each_is_one_text(&self) -> bool {
        self.starts.len() == self.places.len()
    }

    /// Segment and number of a chunk's text.
    pub(super) fn place(&self, chunk: ChunkId) -> Option<(usize, u32)> {
        let at = place_of(chunk, self.places.len(), |at| self.places[at].0)?;
        let (_, segment, text) = self.places[at];
        Some((segment as usize, text))
    }

    fn load(index: Index, fields: Fields, stamp: Stamp) -> Result<Self> {
        let readers = in_order(&index)?;
        let mut lexical = Lexical {
            index,
            fields,
            stamp,
            segments: Vec::new(),
            places: Vec::new(),
            starts: Vec::new(),
            documents: Vec::new(),
            contiguous: true,
            languages: BTreeMap::new(),
            term_cache: TermCache::default(),
            shortest_text: f32::INFINITY,
            shortest_document: f32::INFINITY,
            window_texts: WINDOW_TEXTS,
        };
        let mut numbers = DocumentNumbers::default();
        for reader in readers {
            lexical.read_segment(reader, &mut numbers)?;
        }
        lexical.places.sort_unstable();
        lexical.shortest_document = lexical.documents.iter().copied().fold(f32::INFINITY, f32::min);
        Ok(lexical)
    }

    /// Adds the texts of the next segment to the lists.
    fn read_segment(&mut self, reader: SegmentReader, numbers: &mut DocumentNumbers) -> Result<()> {
        let column = |name| reader.fast_fields().u64(name);
        let (chunks, lengths) = (column(CHUNK)?, column("length")?);
        let (owners, codes) = (column("document")?, column("language")?);
        let (segment, texts) = (self.segments.len() as u32, reader.max_doc() as usize);
        let before = self.segments.last().map_or(0, |last| last.before + last.chunks.len());
        let mut of_segment = Segment {
            field: self.fields.text,
            reader: reader.clone(),
            before,
            chunks: vec![DELETED; texts],
            lengths: vec![0.0; texts],
            documents: vec![0; texts],
        };
        for text in (0..reader.max_doc()).filter(|text| !reader.is_deleted(*text)) {
            let value = |column: &Column<u64>| column.first(text).unwrap_or(0);
            let (chunk, length) = (ChunkId(value(&chunks).cast_signed()), value(&lengths));
            let population = self.languages.entry(value(&codes)).or_default();
            let known = self.documents.len();
            let document = *numbers.by_id.entry(value(&owners)).or_insert_with(|| {
                population.documents += 1;
                self.starts.push((segment, text));
                self.documents.push(0.0);
                known as u32
            });
            population.texts += 1;
            population.length += length;
            self.documents[document as usize] += length as f32;
            self.contiguous &= numbers.last == Some(document) || document as usize == known;
            numbers.last = Some(document);
            self.shortest_text = self.shortest_text.min(length as f32);
            let at = text as usize;
            of_segment.chunks[at] = chunk;
            of_segment.lengths[at] = length as f32;
            of_segment.documents[at] = document;
            self.places.push((chunk, segment, text));
        }
        self.segments.push(of_segment);
        Ok(())
    }
}
