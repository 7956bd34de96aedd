//! The text index: postings kept by tantivy, scored by our own BM25.
//!
//! tantivy fixes k1 at 1.2 and b at 0.75, counts deleted texts in its statistics until segments
//! merge, and rounds text lengths. So only its analyser, dictionary and postings are used; the
//! statistics are counted over what is there. A score then depends on the documents alone, not on
//! the order in which they came and went.
//!
//! A chunk is scored as itself and as a part of its document, half and half: a paragraph seldom
//! repeats what its document is about. On scifact's training queries this is worth 0.8 points of
//! nDCG@10, on squad's questions nothing (docs/log.md).

mod kernels;
mod postings;
mod scores;
mod sums;
mod windows;
mod words;
mod writing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::Index;
use tantivy::columnar::Column;
use tantivy::index::SegmentReader;
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};

use self::scores::WINDOW;
use self::words::Remembered;
use self::writing::{in_order, write};
use crate::{ChunkId, DocumentId, Error, Result};

/// Raised when analysis or layout of the index changes: older indexes are then rebuilt.
const FORMAT: u32 = 2;

/// A chunk as it is searched.
pub(crate) struct Searched<'a> {
    pub(crate) chunk: ChunkId,
    pub(crate) document: DocumentId,
    /// ISO 639-1 code of its language.
    pub(crate) language: &'a str,
    pub(crate) text: &'a str,
}

/// What takes chunks in, one after the other.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Searched<'_>) -> Result<()>;

/// What an index was made from; stored with each of its commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    format: u32,
    /// Identity of the database.
    store: String,
    /// Generation of the database.
    pub(crate) generation: i64,
}

impl Stamp {
    pub(crate) fn new(store: &str, generation: i64) -> Self {
        Stamp { format: FORMAT, store: store.to_string(), generation }
    }

    /// Whether an index with this stamp can be brought up to date, rather than rebuilt.
    fn can_follow(&self, wanted: &Stamp) -> bool {
        self.format == wanted.format
            && self.store == wanted.store
            && self.generation <= wanted.generation
    }
}

/// An open text index.
pub(crate) struct Lexical {
    index: Index,
    fields: Fields,
    stamp: Stamp,
    segments: Vec<Segment>,
    /// Where each chunk stands, by rising chunk number: segment and text.
    places: Vec<(ChunkId, u32, u32)>,
    /// Segment and number of each document's first text, by the numbers that texts have for them.
    starts: Vec<(u32, u32)>,
    /// Length of each document in terms.
    documents: Vec<f32>,
    /// Whether the texts of each document follow each other, one segment read after the other.
    contiguous: bool,
    /// What there is in each language, by its packed code.
    languages: BTreeMap<u64, Population>,
    remembered: Remembered,
    /// Lengths of the shortest text and document, in terms.
    shortest_text: f32,
    shortest_document: f32,
    /// Texts that are scored together.
    window_texts: usize,
}

/// What there is in one language.
#[derive(Default)]
struct Population {
    texts: usize,
    documents: usize,
    /// In terms, all together.
    length: u64,
}

#[derive(Clone, Copy)]
struct Fields {
    text: Field,
    chunk: Field,
    length: Field,
    document: Field,
    language: Field,
}

/// Texts by tantivy's numbers, what is told of each in a list of its own, as scoring reads lengths
/// and documents of many.
struct Segment {
    field: Field,
    reader: SegmentReader,
    /// Texts in the segments before it, deleted ones among them.
    before: usize,
    chunks: Vec<ChunkId>,
    /// In terms.
    lengths: Vec<f32>,
    /// Places in [`Lexical::documents`].
    documents: Vec<u32>,
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

    fn load(index: Index, fields: Fields, stamp: Stamp) -> Result<Self> {
        let mut segments = Vec::new();
        let mut places: Vec<(ChunkId, u32, u32)> = Vec::new();
        let (mut starts, mut documents) = (Vec::new(), Vec::new());
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let mut languages: BTreeMap<u64, Population> = BTreeMap::new();
        let (mut contiguous, mut last) = (true, None);
        let (mut before, mut shortest_text) = (0, f32::INFINITY);
        for (reader, segment) in in_order(&index)?.into_iter().zip(0..) {
            let column = |name| reader.fast_fields().u64(name);
            let (chunks, lengths) = (column(CHUNK)?, column("length")?);
            let (owners, codes) = (column("document")?, column("language")?);
            let texts = reader.max_doc() as usize;
            let mut segment_texts = Segment {
                field: fields.text,
                reader: reader.clone(),
                before,
                chunks: vec![DELETED; texts],
                lengths: vec![0.0; texts],
                documents: vec![0; texts],
            };
            for number in (0..reader.max_doc()).filter(|number| !reader.is_deleted(*number)) {
                let value = |column: &Column<u64>| column.first(number).unwrap_or(0);
                let (chunk, length) = (ChunkId(value(&chunks).cast_signed()), value(&lengths));
                let population = languages.entry(value(&codes)).or_default();
                let known = documents.len();
                let document = *numbers.entry(value(&owners)).or_insert_with(|| {
                    population.documents += 1;
                    starts.push((segment, number));
                    documents.push(0.0);
                    known as u32
                });
                population.texts += 1;
                population.length += length;
                documents[document as usize] += length as f32;
                contiguous &= last == Some(document) || document as usize == known;
                last = Some(document);
                shortest_text = shortest_text.min(length as f32);
                let at = number as usize;
                segment_texts.chunks[at] = chunk;
                segment_texts.lengths[at] = length as f32;
                segment_texts.documents[at] = document;
                places.push((chunk, segment, number));
            }
            before += texts;
            segments.push(segment_texts);
        }
        places.sort_unstable();
        Ok(Lexical {
            index,
            fields,
            stamp,
            segments,
            places,
            starts,
            shortest_text,
            shortest_document: documents.iter().copied().fold(f32::INFINITY, f32::min),
            documents,
            contiguous,
            languages,
            remembered: Remembered::default(),
            window_texts: WINDOW,
        })
    }
}

/// The field of chunks' numbers.
const CHUNK: &str = "chunk";

/// Stands for a chunk where a text is deleted.
const DELETED: ChunkId = ChunkId(0);

/// What the last commit was made from.
fn stamp_of(index: &Index) -> Option<Stamp> {
    serde_json::from_str(index.load_metas().ok()?.payload.as_deref()?).ok()
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(false);
    let text =
        builder.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let chunk = builder.add_u64_field(CHUNK, NumericOptions::default().set_fast().set_indexed());
    let fast = || NumericOptions::default().set_fast();
    let length = builder.add_u64_field("length", fast());
    let document = builder.add_u64_field("document", fast());
    let language = builder.add_u64_field("language", fast());
    (builder.build(), Fields { text, chunk, length, document, language })
}

/// A language's code as a number: its two letters, or 0 for anything but two letters.
fn packed(code: &str) -> u64 {
    match code.as_bytes() {
        [a, b] => u64::from(u16::from_be_bytes([*a, *b])),
        _ => 0,
    }
}

fn unpacked(code: u64) -> String {
    let letters = [(code >> 8) as u8, code as u8];
    if code == 0 { String::new() } else { letters.map(char::from).iter().collect() }
}

/// Folders of text indexes below `root` other than `current`, left by a rebuild or a crash.
pub(crate) fn leftovers(root: &Path, current: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path != current).collect()
}
