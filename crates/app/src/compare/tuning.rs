//! Retrieval, tuned on dev questions: the BM25 weight by the evidence it finds, the number of
//! passages by the answers.

use std::sync::atomic::AtomicBool;

use super::event::CompareEvent;
use super::record::RerankFinding;
use crate::Progress;
use crate::error::{Error, Result};
use crate::project::config::SetConfig;
use crate::questions::Question;
use crate::search::grounding::{Grounded, ground, recall, reciprocal_rank};
use crate::search::knowledge::{DEFAULT_LEXICAL_WEIGHT, DEFAULT_PASSAGES, Knowledge, Wanted};

/// Hits looked at for each question: enough for the prompt, the distractors and the rank of the
/// evidence.
pub(super) const HITS: usize = 12;

/// Steps of the BM25 weight from 0 (vectors alone) to 1 (words alone).
const STEPS: usize = 10;

/// Numbers of passages tried beside the default: fewer cost less and distract less, more hold more
/// of the evidence.
const OTHER_PASSAGES: [usize; 3] = [2, 1, 5];

/// Tunes retrieval on the dev questions of a set that name their evidence.
pub(super) struct RetrievalTuner<'a> {
    knowledge: &'a mut Knowledge,
    set: &'a SetConfig,
    /// Dev questions with evidence.
    questions: Vec<Question>,
    /// Passages in a prompt.
    passages: usize,
}

impl<'a> RetrievalTuner<'a> {
    pub(super) fn new(
        knowledge: &'a mut Knowledge,
        set: &'a SetConfig,
        dev: &[Question],
        passages: usize,
    ) -> Self {
        let evident = dev.iter().filter(|question| !question.evidence.is_empty());
        Self { knowledge, set, questions: evident.cloned().collect(), passages }
    }

    /// The BM25 weight for the set: as configured; else the one with which most dev evidence is
    /// found (then: stands highest, then: is nearest to the default), which is kept for `ask`;
    /// else, without evidence, the default.
    pub(super) fn lexical_weight(
        &mut self,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<f32> {
        let mut wanted = self.wanted(DEFAULT_LEXICAL_WEIGHT)?;
        let Self { knowledge, set, questions, passages } = self;
        if let Some(weight) = knowledge.configured_lexical_weight() {
            return Ok(weight);
        }
        if questions.is_empty() {
            return Ok(DEFAULT_LEXICAL_WEIGHT);
        }
        let mut grounded = ground(knowledge, questions, &wanted, progress.stop())?;
        let mut best: Option<(f64, f64, f32)> = None;
        for weight in weights() {
            wanted.lexical_weight = weight;
            for (question, found) in questions.iter().zip(&mut grounded) {
                found.retrieved =
                    knowledge.search_vector(&question.text, &found.vector, &wanted)?;
            }
            let (found, rank) = score(&grounded, *passages);
            // Weights come nearest to the default first, so that only a real gain moves away from
            // it.
            if best.is_none_or(|(best_found, best_rank, _)| (found, rank) > (best_found, best_rank))
            {
                best = Some((found, rank, weight));
            }
        }
        let (recall, _, weight) = best.unwrap_or((0.0, 0.0, DEFAULT_LEXICAL_WEIGHT));
        knowledge.put_lexical_weight(&set.name, weight)?;
        progress.report(CompareEvent::Tuned { lexical_weight: weight, recall });
        Ok(weight)
    }

    /// What is searched for with a BM25 weight, before any reranking.
    ///
    /// # Errors
    /// Those of reading what was tuned for the set.
    pub(super) fn wanted(&self, lexical_weight: f32) -> Result<Wanted> {
        let of_set = self.knowledge.wanted(Some(self.set))?;
        Ok(Wanted { hits: HITS, lexical_weight, rerank: false, ..of_set })
    }

    /// Measures the configured reranker, if there is one, and keeps for `ask` whether it is to be
    /// used. A reranker trained on other texts may well put worse passages first.
    pub(super) fn reranker(
        &mut self,
        wanted: &Wanted,
        stop: &AtomicBool,
    ) -> Result<Option<RerankFinding>> {
        let Self { knowledge, set, questions, passages } = self;
        let Some(model) = knowledge.rerank.as_ref().map(|rerank| rerank.name.clone()) else {
            return Ok(None);
        };
        if questions.is_empty() {
            return Ok(None);
        }
        let score_with = |rerank| {
            let wanted = Wanted { rerank, ..wanted.clone() };
            Ok::<_, Error>(score(&ground(knowledge, questions, &wanted, stop)?, *passages))
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
        None if evidence => [&[DEFAULT_PASSAGES][..], &OTHER_PASSAGES].concat(),
        None => vec![DEFAULT_PASSAGES],
    }
}

/// The best of (passages, mean score of `rag` on dev): the highest score, then the fewest passages,
/// which cost least.
pub(super) fn best_passages(sweep: &[(usize, f64)]) -> Option<usize> {
    let best = sweep.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    best.map(|(passages, _)| *passages)
}

/// The weights to try, nearest to the default first.
fn weights() -> Vec<f32> {
    let mut weights: Vec<f32> = (0..=STEPS).map(|step| step as f32 / STEPS as f32).collect();
    weights.sort_by(|a, b| {
        let distance = |weight: &f32| (weight - DEFAULT_LEXICAL_WEIGHT).abs();
        distance(a).total_cmp(&distance(b))
    });
    weights
}

/// How much of the evidence is found, and how high it stands: recall within the prompt, mean
/// reciprocal rank.
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
