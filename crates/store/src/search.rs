//! Searching by words, by meaning, or by both.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{ChunkId, DocumentId, Result, Store};

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Hits wanted.
    pub k: usize,
    /// Chunks taken from each list before they are fused; at least `k`.
    pub candidates: usize,
    /// Share of BM25 in the fused score: 0 is vectors only, 1 is BM25 only.
    pub lexical_weight: f32,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { k: 10, candidates: 100, lexical_weight: 0.5 }
    }
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its document.
    pub document: DocumentId,
    /// The document's project-relative path.
    pub path: String,
    /// The document's version.
    pub version: u32,
    /// The document's title.
    pub title: Option<String>,
    /// Headings it stands under, outermost first.
    pub heading_path: Vec<String>,
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// The passage to read: the bytes of `span`, after the table header it continues.
    pub text: String,
    /// What hits are ordered by.
    pub score: f32,
    /// How the score came about.
    pub explain: Explain,
}

/// How a hit's score came about. Ranks count from 1; a list that did not find the chunk, or was not asked,
/// leaves `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Explain {
    /// BM25 score.
    pub bm25: Option<f32>,
    /// Place in the BM25 list.
    pub bm25_rank: Option<usize>,
    /// The BM25 score in 0..=1, by the list's lowest and highest.
    pub bm25_norm: f32,
    /// Cosine of query and chunk vector.
    pub cosine: Option<f32>,
    /// Place in the vector list.
    pub cosine_rank: Option<usize>,
    /// The cosine in 0..=1, by the list's lowest and highest.
    pub cosine_norm: f32,
    /// `lexical_weight * bm25_norm + (1 - lexical_weight) * cosine_norm`.
    pub fused: f32,
}

impl Store {
    /// Finds the chunks that fit `query` and `vector` best, best first.
    ///
    /// Both lists are normalised to 0..=1 and added with their weights (a chunk missing from a list has 0 there).
    /// `vector` may be empty when `lexical_weight` is 1, `query` when it is 0. Equal scores are ordered by chunk.
    pub fn search(&self, query: &str, vector: &[f32], options: &SearchOptions) -> Result<Vec<Hit>> {
        let _ = (query, vector, options);
        unimplemented!()
    }

    /// Brings the derived indexes up to date with the database now, instead of at the next search.
    pub fn commit_index(&mut self) -> Result<()> {
        unimplemented!()
    }
}
