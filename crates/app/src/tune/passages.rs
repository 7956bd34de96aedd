//! The passages in the prompts of the `raft` recipe: as retrieval brings them, with the gold ones
//! put among them where retrieval missed them, and left out of a configured share of the prompts
//! (RAFT, Zhang et al. 2024).

use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::project::config::SetConfig;
use crate::prompt::Passage;
use crate::questions::Question;
use crate::search::grounding::{Grounded, ground};
use crate::search::knowledge::{Knowledge, Wanted};
use crate::tune::draw::stable_draw;

/// Hits looked at to find distractors.
const HITS: usize = 12;

/// The passages that one training prompt shows.
#[derive(Clone, Debug, Default)]
pub(super) struct PromptPassages {
    /// In the order of the prompt.
    pub(super) passages: Vec<Passage>,
    /// Paths of the documents they may have been taken from.
    pub(super) documents: Vec<String>,
}

/// Chooses the passages for the questions of a set.
pub(super) struct RaftPassages<'a> {
    pub(super) knowledge: &'a Knowledge,
    pub(super) set: &'a SetConfig,
    /// The share of the prompts that show no gold passage, 0 to 1.
    pub(super) gold_missing: f64,
}

impl RaftPassages<'_> {
    /// The passages for each question, in the order of the questions.
    ///
    /// # Errors
    /// [`Error::NoDocuments`], and those of [`ground`].
    pub(super) fn choose(
        &self,
        questions: &[Question],
        stop: &AtomicBool,
    ) -> Result<Vec<PromptPassages>> {
        let knowledge = self.knowledge;
        if !knowledge.store.has_documents()? {
            return Err(Error::NoDocuments);
        }
        let k = knowledge.passages(Some(self.set))?;
        let wanted = Wanted { hits: HITS.max(2 * k), ..knowledge.wanted(Some(self.set))? };
        let grounded = ground(knowledge, questions, &wanted, stop)?;
        let prompts = questions.iter().zip(&grounded).map(|(question, grounded)| {
            let gold = grounded.gold.iter().map(|gold| &gold.path);
            let retrieved = grounded.retrieved.hits.iter().take(k).map(|hit| &hit.path);
            PromptPassages {
                passages: self.prompt(question, grounded, k),
                documents: gold.chain(retrieved).cloned().collect(),
            }
        });
        Ok(prompts.collect())
    }

    /// The passages of one prompt, at most `k`.
    fn prompt(&self, question: &Question, grounded: &Grounded, k: usize) -> Vec<Passage> {
        let draw = |what: &str| stable_draw(&[&self.set.name, &question.id, what]);
        let distractors = || grounded.distractors().map(Passage::from);
        if grounded.gold.is_empty() {
            return grounded.passages(k);
        }
        if draw("missing") < self.gold_missing {
            return distractors().take(k).collect();
        }
        if grounded.evidence_retrieved(k) == Some(true) {
            return grounded.passages(k);
        }
        // Retrieval missed the evidence: each gold passage replaces one of the last hits and is
        // inserted at a drawn place, so that its position says nothing.
        let gold: Vec<Passage> = grounded
            .gold
            .iter()
            .filter(|gold| gold.sufficient)
            .map(|gold| gold.passage.clone())
            .take(k)
            .collect();
        let mut passages: Vec<Passage> = distractors().take(k - gold.len()).collect();
        for (index, passage) in gold.into_iter().enumerate() {
            let place = (draw(&format!("place {index}")) * (passages.len() + 1) as f64) as usize;
            passages.insert(place.min(passages.len()), passage);
        }
        passages
    }
}
