//! What a search finds.

use std::ops::Range;

use serde::Serialize;

use crate::{ChunkId, DocumentId};

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
    /// What hits are ordered by, but for those that a reranker has put in order, which come first.
    pub score: f32,
    /// How the score came about.
    pub explain: Explain,
    /// Where else the same is said, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<Place>,
    /// Chunks before and after it that are read with it: `span` and `text` take them in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<ChunkId>,
}

impl Hit {
    /// Whether it is this chunk, is read with it, or says the same.
    pub fn says(&self, chunk: ChunkId) -> bool {
        self.reads(chunk) || self.also_in.iter().any(|place| place.chunk == chunk)
    }

    /// Whether its text takes the chunk in.
    pub(super) fn reads(&self, chunk: ChunkId) -> bool {
        self.chunk == chunk || self.neighbours.contains(&chunk)
    }
}

/// A stretch of a stored document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The chunk.
    pub chunk: ChunkId,
    /// The document.
    pub document: DocumentId,
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: u32,
    /// Bytes of its canonical text.
    pub span: Range<usize>,
}

/// How a hit's score came about. Ranks count from 1; `None` where a list was not asked or did not
/// reach as far as this chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Explain {
    /// BM25 score of the chunk and of its document, half and half; known even when the list does
    /// not reach this far.
    pub bm25: Option<f32>,
    /// Place in the BM25 list.
    pub bm25_rank: Option<usize>,
    /// The BM25 score as a share of the best, 0..=1.
    pub bm25_norm: f32,
    /// Cosine of query and chunk vector; known even when the vector list does not reach this far.
    pub cosine: Option<f32>,
    /// Place in the vector list.
    pub cosine_rank: Option<usize>,
    /// The cosine as a share of the best, 0..=1; 0 where it is negative.
    pub cosine_norm: f32,
    /// `lexical_weight * bm25_norm + (1 - lexical_weight) * cosine_norm`.
    pub fused: f32,
    /// What a reranker says that read question and passage together; `None` where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<f32>,
}
