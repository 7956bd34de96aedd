//! How to search.

use serde::{Deserialize, Serialize};

use crate::{Error, Filter, Result};

/// Weight of BM25 in the fused score: the best of nine on scifact's training queries, where the
/// optimum is flat; on squad's training questions .5 and .6 are as good (docs/log.md, 2026-11-23).
pub const DEFAULT_LEXICAL_WEIGHT: f32 = 0.4;

/// Chunks taken from each list before the two are fused: with 20 to 300 of them nDCG@10 on
/// scifact's training queries lies between .7400 and .7425 (docs/log.md).
pub const DEFAULT_CANDIDATES: usize = 50;

/// Hits wanted.
const DEFAULT_HITS: usize = 10;

/// How to search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Hits wanted.
    pub k: usize,
    /// Chunks taken from each list before they are fused; at least `k`.
    pub candidates: usize,
    /// Weight of BM25 in the fused score: 0 is vectors only, 1 is BM25 only.
    pub lexical_weight: f32,
    /// Which documents may be found.
    pub filter: Filter,
    /// Let a chunk that says the same as a better hit stand in
    /// [`Hit::also_in`](crate::Hit::also_in) instead of taking a place of its own.
    pub merge_copies: bool,
    /// Chunks before and after a hit that are read with it, as far as they stand in no better hit.
    pub neighbours: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions {
            k: DEFAULT_HITS,
            candidates: DEFAULT_CANDIDATES,
            lexical_weight: DEFAULT_LEXICAL_WEIGHT,
            filter: Filter::ALL,
            merge_copies: false,
            neighbours: 0,
        }
    }
}

impl SearchOptions {
    pub(super) fn check(&self) -> Result<()> {
        let weight = self.lexical_weight;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::Options(format!(
                "the lexical weight is {weight}, not within 0 and 1"
            )));
        }
        if self.k == 0 {
            return Err(Error::Options("no hits were asked for: k is 0".to_string()));
        }
        Ok(())
    }
}
