//! The ways of ranking that are measured beside each other.

use crate::search::rerank::RERANKED;

/// The ranking by BM25 and vectors together.
pub(super) const FUSION: &str = "fusion";

/// Name and BM25 weight of every ranking to measure: BM25 and vectors alone, then their fusion with
/// each weight, then, where there is a reranker, the same fusions put in order by it.
pub(super) fn ranking_methods(
    lexical_weights: &[f32],
    has_reranker: bool,
) -> Vec<(&'static str, f32)> {
    let mut methods = vec![("bm25", 1.0), ("vectors", 0.0)];
    methods.extend(lexical_weights.iter().map(|weight| (FUSION, *weight)));
    if has_reranker {
        methods.extend(lexical_weights.iter().map(|weight| (RERANKED, *weight)));
    }
    methods
}
