//! The text index: postings kept by tantivy, scored by our own BM25.
//!
//! tantivy fixes k1 at 1.2 and b at 0.75, counts deleted texts in its statistics until segments merge, and rounds
//! text lengths. So only its analyser, dictionary and postings are used; the statistics are counted over what is
//! there. A score then depends on the documents alone, not on the order in which they came and went.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::index::SegmentReader;
use tantivy::postings::Postings as _;
use tantivy::schema::{Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, PreTokenizedString, RemoveLongFilter, SimpleTokenizer, Stemmer,
    StopWordFilter, TextAnalyzer,
};
use tantivy::{DocSet as _, Index, IndexReader, IndexWriter, ReloadPolicy, TERMINATED, TantivyDocument, Term};

use crate::bm25::Bm25;
use crate::vectors::best;
use crate::{ChunkId, Error, Result};

/// Raised when analysis or layout of the index changes: older indexes are then rebuilt.
const FORMAT: u32 = 1;
/// Memory of the writer, in bytes, on its one thread.
const WRITER_MEMORY: usize = 64 << 20;
/// Longer words are no words.
const LONGEST_WORD: usize = 64;

/// Words without meaning of their own: Lucene's English list. Leaving them out also keeps long questions fast.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];

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
        self.format == wanted.format && self.store == wanted.store && self.generation <= wanted.generation
    }
}

/// An open text index.
pub(crate) struct Lexical {
    index: Index,
    fields: Fields,
    stamp: Stamp,
    segments: Vec<Segment>,
    /// Texts there are, and their mean length in terms.
    texts: usize,
    mean_length: f32,
}

#[derive(Clone, Copy)]
struct Fields {
    text: Field,
    chunk: Field,
    length: Field,
}

struct Segment {
    reader: SegmentReader,
    /// Chunk number and length in terms of each text, by tantivy's number of it; a deleted one has chunk 0.
    texts: Vec<(ChunkId, u32)>,
}

impl Lexical {
    /// Opens the index in `folder`; `None` when it is missing, damaged, or made by another format or from another
    /// database.
    pub(crate) fn open(folder: &Path, wanted: &Stamp) -> Option<Self> {
        let index = Index::open_in_dir(folder).ok()?;
        let (schema, fields) = schema();
        if index.schema() != schema || !index.validate_checksum().ok()?.is_empty() {
            return None;
        }
        let stamp: Stamp = serde_json::from_str(index.load_metas().ok()?.payload.as_deref()?).ok()?;
        if !stamp.can_follow(wanted) {
            return None;
        }
        Self::load(index, fields, stamp).ok()
    }

    /// Makes a new index in the empty folder `folder`. `texts` hands over each chunk with its words.
    pub(crate) fn build(
        folder: &Path,
        stamp: Stamp,
        texts: impl FnOnce(&mut dyn FnMut(ChunkId, &str) -> Result<()>) -> Result<()>,
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
        texts: impl FnOnce(&mut dyn FnMut(ChunkId, &str) -> Result<()>) -> Result<()>,
    ) -> Result<Self> {
        let Lexical { index, fields, segments, .. } = self;
        drop(segments);
        write(&index, fields, &stamp, gone, texts)?;
        Self::load(index, fields, stamp)
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The chunks in the index.
    pub(crate) fn chunks(&self) -> HashSet<ChunkId> {
        let texts = self.segments.iter().flat_map(|segment| &segment.texts);
        texts.map(|(chunk, _)| *chunk).filter(|chunk| chunk.0 != 0).collect()
    }

    /// The `count` texts that fit `query` best, best first. A word that stands twice in the query counts twice.
    pub(crate) fn search(&self, query: &str, count: usize, bm25: Bm25) -> Result<Vec<(ChunkId, f32)>> {
        let mut scores: Vec<Vec<f32>> = self.segments.iter().map(|s| vec![0.0; s.texts.len()]).collect();
        for (term, times) in term_counts(query) {
            let postings = self.postings(&term)?;
            let found = postings.iter().map(Vec::len).sum();
            let idf = times as f32 * bm25.idf(found, self.texts);
            for ((segment, postings), scores) in self.segments.iter().zip(&postings).zip(&mut scores) {
                for &(text, frequency) in postings {
                    let length = segment.texts[text as usize].1;
                    scores[text as usize] += bm25.weight(idf, frequency, length, self.mean_length);
                }
            }
        }
        let scored = self.segments.iter().zip(&scores).flat_map(|(segment, scores)| {
            let texts = segment.texts.iter().zip(scores);
            texts.filter(|(_, score)| **score > 0.0).map(|((chunk, _), score)| (*chunk, *score))
        });
        Ok(best(scored.collect(), count))
    }

    /// The texts that hold a term with how often they do, by segment, deleted texts left out.
    fn postings(&self, term: &str) -> Result<Vec<Vec<(u32, u32)>>> {
        let term = Term::from_field_text(self.fields.text, term);
        let mut all = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let inverted = segment.reader.inverted_index(self.fields.text)?;
            let mut found = Vec::new();
            let postings = inverted.read_postings(&term, IndexRecordOption::WithFreqs);
            if let Some(mut postings) = postings.map_err(tantivy::TantivyError::from)? {
                let mut text = postings.doc();
                while text != TERMINATED {
                    if segment.texts[text as usize].0.0 != 0 {
                        found.push((text, postings.term_freq()));
                    }
                    text = postings.advance();
                }
            }
            all.push(found);
        }
        Ok(all)
    }

    fn load(index: Index, fields: Fields, stamp: Stamp) -> Result<Self> {
        // Otherwise a thread of tantivy's wakes up twice a second to see whether somebody else has written.
        let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let searcher = reader.searcher();
        let mut segments = Vec::new();
        let (mut texts, mut length_sum) = (0, 0u64);
        for reader in searcher.segment_readers() {
            let chunks = reader.fast_fields().u64("chunk")?;
            let lengths = reader.fast_fields().u64("length")?;
            let mut segment = Vec::with_capacity(reader.max_doc() as usize);
            for text in 0..reader.max_doc() {
                let chunk = chunks.first(text).unwrap_or(0).cast_signed();
                let length = lengths.first(text).unwrap_or(0) as u32;
                if reader.is_deleted(text) {
                    segment.push((ChunkId(0), 0));
                } else {
                    segment.push((ChunkId(chunk), length));
                    texts += 1;
                    length_sum += u64::from(length);
                }
            }
            segments.push(Segment { reader: reader.clone(), texts: segment });
        }
        let mean_length = if texts == 0 { 1.0 } else { length_sum as f32 / texts as f32 };
        Ok(Lexical { index, fields, stamp, segments, texts, mean_length })
    }
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing =
        TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs).set_fieldnorms(false);
    let text = builder.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let chunk = builder.add_u64_field("chunk", NumericOptions::default().set_fast().set_indexed());
    let length = builder.add_u64_field("length", NumericOptions::default().set_fast());
    (builder.build(), Fields { text, chunk, length })
}

fn write(
    index: &Index,
    fields: Fields,
    stamp: &Stamp,
    gone: &HashSet<ChunkId>,
    texts: impl FnOnce(&mut dyn FnMut(ChunkId, &str) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_MEMORY)?;
    for chunk in gone {
        writer.delete_term(Term::from_field_u64(fields.chunk, chunk.0.cast_unsigned()));
    }
    let mut analyser = analyser();
    texts(&mut |chunk, text| {
        let mut tokens = Vec::new();
        analyser.token_stream(text).process(&mut |token| tokens.push(token.clone()));
        let mut document = TantivyDocument::new();
        document.add_u64(fields.chunk, chunk.0.cast_unsigned());
        document.add_u64(fields.length, tokens.len() as u64);
        document.add_pre_tokenized_text(fields.text, PreTokenizedString { text: String::new(), tokens });
        writer.add_document(document)?;
        Ok(())
    })?;
    let mut commit = writer.prepare_commit()?;
    let stamp = serde_json::to_string(stamp)
        .map_err(|source| Error::Record { key: "index stamp".to_string(), source })?;
    commit.set_payload(&stamp);
    commit.commit()?;
    writer.wait_merging_threads()?;
    Ok(())
}

/// Words in small letters without accents, stop words left out, the rest cut to their stems (English Snowball).
fn analyser() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(StopWordFilter::remove(STOP_WORDS.iter().map(|word| word.to_string())))
        .filter(Stemmer::new(Language::English))
        .build()
}

/// The terms of a query in order of first appearance, with how often each stands in it.
fn term_counts(query: &str) -> Vec<(String, usize)> {
    let mut terms: Vec<(String, usize)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    analyser().token_stream(query).process(&mut |token| match places.get(&token.text) {
        Some(&place) => terms[place].1 += 1,
        None => {
            places.insert(token.text.clone(), terms.len());
            terms.push((token.text.clone(), 1));
        }
    });
    terms
}

/// Folders of text indexes below `root` other than `current`, left by a rebuild or a crash.
pub(crate) fn leftovers(root: &Path, current: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path != current).collect()
}
