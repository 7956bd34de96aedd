//! Retrieval, tuned on dev questions: the share of BM25 by the evidence it finds, the number of
//! passages by the answers.

use std::fmt;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::{CompareEvent, HITS};
use crate::error::{Error, Result};
use crate::project::config::SetConfig;
use crate::questions::Question;
use crate::search::grounding::{Grounded, ground, recall, reciprocal_rank};
use crate::search::knowledge::{DEFAULT_LEXICAL_WEIGHT, DEFAULT_PASSAGES, Knowledge, Wanted};

/// Steps of the search from vectors only to words only.
const STEPS: usize = 10;

/// The share of BM25 for a set: as configured; else the one with which most dev evidence is found
/// (then: stands highest, then: is nearest to the default), which is kept for `ask`; else, without
/// evidence, the default.
pub(super) fn lexical_weight(
    knowledge: &mut Knowledge,
    set: &SetConfig,
    dev: &[Question],
    passages: usize,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(CompareEvent),
) -> Result<f32> {
    if let Some(weight) = knowledge.configured_lexical_weight() {
        return Ok(weight);
    }
    let evident: Vec<Question> =
        dev.iter().filter(|question| !question.evidence.is_empty()).cloned().collect();
    if evident.is_empty() {
        return Ok(DEFAULT_LEXICAL_WEIGHT);
    }
    let mut wanted = Wanted { hits: HITS, rerank: false, ..knowledge.wanted(Some(set))? };
    let mut grounded = ground(knowledge, &evident, &wanted, stop)?;
    let mut best: Option<(f64, f64, f32)> = None;
    for weight in candidates() {
        wanted.lexical_weight = weight;
        for (question, found) in evident.iter().zip(&mut grounded) {
            found.retrieved = knowledge.search_vector(&question.text, &found.vector, &wanted)?;
        }
        let (found, rank) = score(&grounded, passages);
        // Candidates come nearest to the default first, so that only a real gain moves away from
        // it.
        if best.is_none_or(|(best_found, best_rank, _)| (found, rank) > (best_found, best_rank)) {
            best = Some((found, rank, weight));
        }
    }
    let (recall, _, weight) = best.unwrap_or((0.0, 0.0, DEFAULT_LEXICAL_WEIGHT));
    knowledge.put_lexical_weight(&set.name, weight)?;
    on_event(CompareEvent::Tuned { lexical_weight: weight, recall });
    Ok(weight)
}

/// What a reranker does to the dev evidence of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankFinding {
    /// The model, as configured.
    pub model: String,
    /// Share of dev questions whose evidence is in the prompt, without it and with it.
    pub recall: [f64; 2],
    /// Mean of 1 / place of the evidence, without it and with it.
    pub reciprocal_rank: [f64; 2],
    /// Whether it is used: it is not worse in either.
    pub used: bool,
}

impl fmt::Display for RerankFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [without, with] = self.reciprocal_rank;
        let [found, found_with] = self.recall.map(|share| 100.0 * share);
        let verdict = if self.used { "used" } else { "not used: it is worse than none" };
        write!(
            f,
            "the reranker is {verdict} (on dev without and with it: evidence in the prompt {found:.1} and {found_with:.1} %, mean \
             reciprocal rank {without:.3} and {with:.3})"
        )
    }
}

/// Measures the configured reranker, if there is one, on the dev questions that name their
/// evidence, and keeps for `ask` whether it is to be used. A reranker trained on other texts may
/// well put worse passages first.
pub(super) fn reranker(
    knowledge: &mut Knowledge,
    set: &SetConfig,
    dev: &[Question],
    wanted: &Wanted,
    passages: usize,
    stop: &AtomicBool,
) -> Result<Option<RerankFinding>> {
    let Some(model) = knowledge.rerank.as_ref().map(|rerank| rerank.name.clone()) else {
        return Ok(None);
    };
    let evident: Vec<Question> =
        dev.iter().filter(|question| !question.evidence.is_empty()).cloned().collect();
    if evident.is_empty() {
        return Ok(None);
    }
    let score_with = |rerank| {
        let wanted = Wanted { rerank, ..wanted.clone() };
        Ok::<_, Error>(score(&ground(knowledge, &evident, &wanted, stop)?, passages))
    };
    let (without, with) = (score_with(false)?, score_with(true)?);
    let used = with.0 >= without.0 && with.1 >= without.1;
    knowledge.put_reranks(&set.name, used)?;
    Ok(Some(RerankFinding {
        model,
        recall: [without.0, with.0],
        reciprocal_rank: [without.1, with.1],
        used,
    }))
}

/// The numbers of passages to try for a set, the default first: only the configured one where there
/// is one, only the default where no question names its evidence.
pub(super) fn passage_candidates(
    knowledge: &Knowledge,
    set: &SetConfig,
    evidence: bool,
) -> Vec<usize> {
    match knowledge.configured_passages(Some(set)) {
        Some(passages) => vec![passages],
        None if evidence => vec![DEFAULT_PASSAGES, 2, 1, 5],
        None => vec![DEFAULT_PASSAGES],
    }
}

/// The best of (passages, mean score of `rag` on dev): the highest score, then the fewest passages,
/// which cost least.
pub(super) fn best_passages(sweep: &[(usize, f64)]) -> Option<usize> {
    let best = sweep.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map(|(passages, _)| *passages)
}

/// Shares from 0 to 1, nearest to the default first.
fn candidates() -> Vec<f32> {
    let mut weights: Vec<f32> = (0..=STEPS).map(|step| step as f32 / STEPS as f32).collect();
    weights.sort_by(|a, b| {
        let distance = |weight: &f32| (weight - DEFAULT_LEXICAL_WEIGHT).abs();
        distance(a).total_cmp(&distance(b))
    });
    weights
}

fn score(grounded: &[Grounded], passages: usize) -> (f64, f64) {
    (recall(grounded, passages).unwrap_or(0.0), reciprocal_rank(grounded).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::best_passages;

    #[test]
    fn the_highest_score_wins_and_ties_go_to_fewer_passages() {
        assert_eq!(best_passages(&[(3, 0.4), (2, 0.5), (1, 0.45), (5, 0.3)]), Some(2));
        assert_eq!(best_passages(&[(3, 0.4), (2, 0.4), (1, 0.4), (5, 0.4)]), Some(1));
        assert_eq!(best_passages(&[]), None);
    }
}
