//! What to measure on a collection, and how.

use std::path::Path;

use crate::project::config::Chunks;
use crate::search::rerank::Rerank;

/// How a collection is measured.
#[derive(Clone, Debug)]
pub struct BeirOptions<'a> {
    /// The collection's folder.
    pub folder: &'a Path,
    /// The split whose judgements hold.
    pub split: &'a str,
    /// Where the index is kept, so that a second run embeds nothing.
    pub store: &'a Path,
    /// How documents are cut.
    pub chunks: Chunks,
    /// The fused rankings to measure, by their BM25 weight, 0 to 1.
    pub lexical_weights: &'a [f32],
    /// Measured at each of these weights, beside the same rankings without it.
    pub reranker: Option<&'a Rerank>,
    /// A folder to write each ranking into, in the form of TREC, where one is wanted.
    pub runs: Option<&'a Path>,
}
