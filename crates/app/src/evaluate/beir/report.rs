//! From rankings to measures.

use std::fs;
use std::path::Path;

use eval::ranking::{Qrels, mrr_at, ndcg_at, recall_at};
use serde::Serialize;

use super::rankings::{BeirRankings, RankedRun};
use crate::error::{IoContext, Result};
use crate::search::rerank::{RerankEffect, rerank_effects};

/// What was measured on a collection.
#[derive(Clone, Debug, Serialize)]
pub struct BeirReport {
    /// Documents in the collection.
    pub documents: usize,
    /// Chunks they were cut into.
    pub chunks: usize,
    /// Queries with judgements.
    pub queries: usize,
    /// One entry for each ranking.
    pub runs: Vec<BeirRun>,
    /// What the reranker changed at each BM25 weight, where there is one: nDCG@10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reranker: Vec<RerankEffect>,
    /// Seconds to embed and index what was not there yet.
    pub index_seconds: f64,
    /// Mean seconds for a query: embedding, then searching, by the fused ranking.
    pub seconds_per_query: f64,
}

/// Measures of one ranking.
#[derive(Clone, Debug, Serialize)]
pub struct BeirRun {
    /// `bm25`, `vectors`, `fusion`, or `reranked`: the fusion with its first chunks put in order by
    /// the reranker.
    pub name: String,
    /// BM25 weight in the fused score, 0 to 1.
    pub lexical_weight: f32,
    /// nDCG@10
    pub ndcg_at_10: f64,
    /// recall@10
    pub recall_at_10: f64,
    /// recall@100
    pub recall_at_100: f64,
    /// MRR@10
    pub mrr_at_10: f64,
}

impl BeirReport {
    /// Measures every ranking by the judgements.
    pub(super) fn new(rankings: &BeirRankings, qrels: &Qrels) -> Self {
        let measured = |ranked: &RankedRun| BeirRun {
            name: ranked.name.to_owned(),
            lexical_weight: ranked.lexical_weight,
            ndcg_at_10: ndcg_at(10, qrels, &ranked.run),
            recall_at_10: recall_at(10, qrels, &ranked.run),
            recall_at_100: recall_at(100, qrels, &ranked.run),
            mrr_at_10: mrr_at(10, qrels, &ranked.run),
        };
        Self {
            documents: rankings.documents,
            chunks: rankings.chunks,
            queries: rankings.queries,
            runs: rankings.runs.iter().map(measured).collect(),
            reranker: Vec::new(),
            index_seconds: rankings.index_seconds,
            seconds_per_query: rankings.seconds_per_query,
        }
    }

    /// The same, with the rankings of the reranker called `name` held against those without it.
    pub(super) fn with_reranker(self, name: &str) -> Self {
        let runs = self.runs.iter();
        let measured: Vec<(&str, f32, f64)> =
            runs.map(|run| (run.name.as_str(), run.lexical_weight, run.ndcg_at_10)).collect();
        Self { reranker: rerank_effects(name, "nDCG@10", &measured), ..self }
    }
}

/// Writes a file for each ranking, `NAME-WEIGHT.run`, as `trec_eval` reads it.
pub(super) fn write_runs(rankings: &BeirRankings, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context("make", folder)?;
    for RankedRun { name, lexical_weight, run } in &rankings.runs {
        let path = folder.join(format!("{name}-{lexical_weight}.run"));
        fs::write(&path, run.to_trec(name)).context("write", &path)?;
    }
    Ok(())
}
