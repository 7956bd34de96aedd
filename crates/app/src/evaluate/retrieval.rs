//! Retrieval measured on a project's own questions: how many have their evidence among the first
//! hits. Finding is the work of [`crate::search`]; collections with judgements of their own are
//! measured in [`super::beir`].

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;
use store::Filter;

use crate::error::{Error, Result};
use crate::evaluate::methods::ranking_methods;
use crate::questions::synthetic::{self, SYNTHETIC};
use crate::questions::{Question, QuestionSet, Split};
use crate::search::grounding::{Grounded, characters, ground, recall, reciprocal_rank};
use crate::search::knowledge::{Knowledge, Wanted};
use crate::search::rerank::{RERANKED, RerankEffect, rerank_effects};

/// Hits looked at for each question.
const DEPTH: usize = 10;

/// What [`measure`] found.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceReport {
    /// The question set.
    pub set: String,
    /// Whether a model wrote its questions.
    pub synthetic: bool,
    /// Its split.
    pub split: Split,
    /// Questions that name their evidence; the others say nothing here.
    pub questions: usize,
    /// One entry for each way of ranking.
    pub runs: Vec<EvidenceRun>,
    /// What the reranker changed at each BM25 weight, where there is one: MRR@10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reranker: Vec<RerankEffect>,
    /// Mean seconds for a question: embedding among others, then searching, by the last ranking.
    pub seconds_per_query: f64,
}

/// Measures of one ranking.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceRun {
    /// `bm25`, `vectors`, `fusion`, or `reranked`: the fusion with its first hits put in order by
    /// the reranker.
    pub name: String,
    /// BM25 weight in the fused score, 0 to 1.
    pub lexical_weight: f32,
    /// Share of questions whose evidence is all in the first hit.
    pub recall_at_1: f64,
    /// The same in the first five hits.
    pub recall_at_5: f64,
    /// The same in the first ten hits.
    pub recall_at_10: f64,
    /// Mean of 1 / place of the first hit with enough evidence.
    pub mrr_at_10: f64,
    /// Characters of the first five hits together, in the mean: what they cost a prompt.
    pub characters_at_5: f64,
}

/// Ranks the passages for every question of a split that names its evidence: by words, by vectors,
/// and fused with each of `lexical_weights`, without and with the reranker where there is one.
/// Opening the test split is logged, as whoever sees these figures may choose by them.
///
/// # Errors
/// No documents, no question with evidence; evidence that is not in the documents;
/// [`Error::Interrupted`].
pub fn measure(
    knowledge: &mut Knowledge,
    set: &QuestionSet,
    split: Split,
    lexical_weights: &[f32],
    stop: &AtomicBool,
) -> Result<EvidenceReport> {
    if !knowledge.store.has_documents()? {
        return Err(Error::NoDocuments);
    }
    let questions: Vec<Question> =
        set.of(split).iter().filter(|question| !question.evidence.is_empty()).cloned().collect();
    if questions.is_empty() {
        return Err(Error::NoEvidence { set: set.config.name.clone(), split: split.as_str() });
    }
    if split == Split::Test {
        knowledge.store.log_test_opening(&set.config.name, "eval retrieval")?;
    }
    let filter = set.config.filter();
    let asked = AskedQuestions { set: &set.config.name, split, filter, questions };
    asked.rank(knowledge, lexical_weights, stop)
}

/// As [`measure`], for the questions that a model wrote: not what people ask, so their figures
/// stand apart.
///
/// # Errors
/// No documents, no synthetic question; [`Error::Interrupted`].
pub fn measure_synthetic(
    knowledge: &Knowledge,
    lexical_weights: &[f32],
    stop: &AtomicBool,
) -> Result<EvidenceReport> {
    let questions = synthetic::questions(knowledge)?;
    if questions.is_empty() {
        return Err(Error::NoSynthetic);
    }
    let (split, filter) = (Split::Dev, Filter::ALL);
    let asked = AskedQuestions { set: SYNTHETIC, split, filter, questions };
    Ok(EvidenceReport { synthetic: true, ..asked.rank(knowledge, lexical_weights, stop)? })
}

/// Questions that name their evidence, and what they belong to.
struct AskedQuestions<'a> {
    set: &'a str,
    split: Split,
    filter: Filter,
    questions: Vec<Question>,
}

impl AskedQuestions<'_> {
    /// Measures every way of ranking.
    fn rank(
        self,
        knowledge: &Knowledge,
        lexical_weights: &[f32],
        stop: &AtomicBool,
    ) -> Result<EvidenceReport> {
        let questions = &self.questions;
        let mut wanted = Wanted {
            hits: DEPTH,
            lexical_weight: 1.0,
            filter: self.filter,
            rerank: false,
            ..knowledge.wanted(None)?
        };
        let mut grounded = ground(knowledge, questions, &wanted, stop)?;
        let embed: f64 = grounded.iter().map(|found| found.retrieved.embed_seconds).sum();
        let mut runs = Vec::new();
        let mut seconds = 0.0;
        for (name, lexical_weight) in ranking_methods(lexical_weights, knowledge.rerank.is_some()) {
            let start = Instant::now();
            wanted.lexical_weight = lexical_weight;
            wanted.rerank = name == RERANKED;
            for (question, found) in questions.iter().zip(&mut grounded) {
                found.retrieved =
                    knowledge.search_vector(&question.text, &found.vector, &wanted)?;
            }
            seconds = embed + start.elapsed().as_secs_f64();
            runs.push(run(name, lexical_weight, &grounded));
        }
        let measured: Vec<(&str, f32, f64)> = runs
            .iter()
            .map(|run: &EvidenceRun| (run.name.as_str(), run.lexical_weight, run.mrr_at_10))
            .collect();
        let reranker = knowledge.rerank.as_ref();
        Ok(EvidenceReport {
            reranker: reranker
                .map(|model| rerank_effects(&model.name, "MRR@10", &measured))
                .unwrap_or_default(),
            set: self.set.to_owned(),
            synthetic: false,
            split: self.split,
            questions: questions.len(),
            runs,
            seconds_per_query: seconds / questions.len() as f64,
        })
    }
}

fn run(name: &str, lexical_weight: f32, grounded: &[Grounded]) -> EvidenceRun {
    let recall_at = |k| recall(grounded, k).unwrap_or(0.0);
    EvidenceRun {
        name: name.to_owned(),
        lexical_weight,
        recall_at_1: recall_at(1),
        recall_at_5: recall_at(5),
        recall_at_10: recall_at(DEPTH),
        mrr_at_10: reciprocal_rank(grounded).unwrap_or(0.0),
        characters_at_5: characters(grounded, 5),
    }
}
