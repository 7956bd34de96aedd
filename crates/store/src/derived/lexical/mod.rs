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

mod analysis;
mod bm25;
mod bound;
mod frequency_table;
mod fresh;
mod index;
mod kernels;
mod layout;
mod max_score;
mod postings;
mod scoring;
mod term_cache;
mod terms;
mod texts;
mod windows;
mod writing;

pub use self::bm25::Bm25;
pub(crate) use self::index::Lexical;
#[cfg(test)]
pub(crate) use self::layout::Stamp;
#[cfg(test)]
pub(crate) use self::texts::Searched;
