//! A comparison as it is stored: everything a decision and its report need, without the models.

use std::collections::BTreeSet;
use std::fmt;

use eval::{Arm, Costs, Gate, Measure, Trial};
use serde::{Deserialize, Serialize};
use store::Store;

use super::halves::DevUse;
use super::trials::EngineSpeed;
use crate::error::{Error, Result};
use crate::models::hash_bytes;
use crate::questions::{Contradiction, Leak, Question, SharedDocument};
use crate::time;
use crate::tune::adapters::{Manifest, Recipe};

/// Questions whose text is kept for the report.
const EXAMPLES: usize = 200;

/// The arms of one set, measured on the same test questions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The set.
    pub set: String,
    /// The primary measure, fixed before the test split was opened.
    pub measure: Measure,
    /// The arms that ran, the baselines included.
    pub arms: Vec<Arm>,
    /// Adapters for each recipe, at most.
    pub seeds: u64,
    /// Recipes that were not trained again after the first adapter, as they were too far below the
    /// best on dev.
    #[serde(default)]
    pub dropped: Vec<Recipe>,
    /// What the dev questions were used for.
    #[serde(default)]
    pub dev: DevUse,
    /// The speed that answers are priced by.
    #[serde(default)]
    pub speed: EngineSpeed,
    /// The ceiling gate, read on dev.
    pub gate: Option<Gate>,
    /// Measures of retrieval alone.
    pub retrieval: Vec<(String, f64)>,
    /// What the configured reranker did on dev.
    #[serde(default)]
    pub reranking: Option<RerankFinding>,
    /// Costs by arm.
    pub costs: Vec<Costs>,
    /// The training runs behind the fine-tuned arms.
    pub training: Vec<TrainingRecord>,
    /// Test questions left out because they stand in train.
    pub left_out: usize,
    /// The dev and test questions left out, each with the question of another split that is the
    /// same.
    #[serde(default)]
    pub leaks: Vec<Leak>,
    /// Documents with evidence for questions of more than one split.
    #[serde(default)]
    pub shared_documents: Vec<SharedDocument>,
    /// Training questions that stand there with different answers.
    #[serde(default)]
    pub contradictions: Vec<Contradiction>,
    /// Train examples, dev and test questions.
    pub sizes: [usize; 3],
    /// Test questions of the set where a limit left some of them out.
    #[serde(default)]
    pub sampled_from: Option<usize>,
    /// Hash of the documents that were compared on.
    pub documents: String,
    /// Questions and gold answers by id, for the report.
    pub questions: Vec<ExampleRecord>,
    /// Every trial on test.
    pub trials: Vec<Trial>,
    /// Seconds the comparison took, reused trials costing none.
    pub seconds: f64,
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

/// A test question as the report shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExampleRecord {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Its gold answers.
    pub answers: Vec<String>,
}

/// The course of a training run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The recipe.
    pub recipe: Recipe,
    /// The seed.
    pub seed: u64,
    /// Examples.
    pub examples: usize,
    /// Tokens run through the model.
    pub tokens: usize,
    /// Step whose weights were kept.
    pub best_step: usize,
    /// Their dev loss.
    pub dev_loss: Option<f64>,
    /// Seconds it took.
    pub seconds: f64,
    /// (step, loss) on train.
    pub train_losses: Vec<(usize, f64)>,
    /// (step, loss) on dev.
    pub dev_losses: Vec<(usize, f64)>,
}

impl From<&Manifest> for TrainingRecord {
    fn from(manifest: &Manifest) -> Self {
        let history = &manifest.history;
        Self {
            recipe: manifest.recipe,
            seed: manifest.seed,
            examples: manifest.examples,
            tokens: manifest.tokens,
            best_step: manifest.best_step,
            dev_loss: manifest.dev_loss,
            seconds: manifest.seconds,
            train_losses: history
                .steps
                .iter()
                .enumerate()
                .map(|(step, record)| (step + 1, record.loss))
                .collect(),
            dev_losses: history
                .evaluations
                .iter()
                .map(|found| (found.step, found.dev_loss))
                .collect(),
        }
    }
}

impl Comparison {
    /// Stores the comparison.
    pub(super) fn store(&self, store: &mut Store, opening: i64) -> Result<()> {
        let json = serde_json::to_string(self).map_err(|source| Error::Record {
            what: format!("comparison of set {:?}", self.set),
            source,
        })?;
        store.put_comparison(&self.set, &json, Some(opening))?;
        Ok(())
    }

    /// Whether it was made on all the questions of `other` and more, so that `other` is the smaller
    /// evidence.
    fn exceeds(&self, other: &Self) -> bool {
        let questions = |comparison: &Self| -> BTreeSet<String> {
            comparison.trials.iter().map(|trial| trial.qid.clone()).collect()
        };
        self.measure == other.measure
            && self.sizes[2] > other.sizes[2]
            && questions(self).is_superset(&questions(other))
    }
}

/// The comparison of a set that decisions are made from: the latest, unless a limit left out
/// questions of it that an earlier one has.
pub(super) struct KeptComparison {
    /// Its number in the store.
    pub(super) id: i64,
    pub(super) comparison: Comparison,
    /// Later comparisons of fewer questions, in words.
    pub(super) passed_over: Vec<String>,
}

impl KeptComparison {
    /// Looks for it.
    ///
    /// # Errors
    /// [`Error::NotCompared`] when there is none.
    pub(super) fn of(store: &Store, set: &str) -> Result<Self> {
        let mut kept: Option<Self> = None;
        let mut later = Vec::new();
        for record in store.comparisons(set)? {
            let comparison: Comparison = serde_json::from_str(&record.json).map_err(|source| {
                Error::Record { what: format!("comparison of set {set:?}"), source }
            })?;
            let limit = comparison.sampled_from;
            let said = format!(
                "{} of {} test questions, compared at {}",
                comparison.sizes[2],
                limit.unwrap_or(comparison.sizes[2]),
                time::rfc3339(record.at)
            );
            if kept.as_ref().is_none_or(|kept| comparison.exceeds(&kept.comparison)) {
                kept = Some(Self { id: record.id, comparison, passed_over: later.clone() });
            }
            later.push(said);
            // What came before a comparison of the whole set was meant to be replaced by it.
            if limit.is_none() {
                break;
            }
        }
        kept.ok_or_else(|| Error::NotCompared { set: set.to_owned() })
    }
}

/// A hash of all documents: names and contents.
pub(crate) fn documents_hash(store: &Store) -> Result<String> {
    let mut listed = String::new();
    for row in store.documents()? {
        listed.push_str(&row.path);
        listed.push('\0');
        listed.push_str(&row.sha256);
        listed.push('\n');
    }
    Ok(hash_bytes(listed.as_bytes()))
}

pub(super) fn example_questions(test: &[Question]) -> Vec<ExampleRecord> {
    test.iter()
        .take(EXAMPLES)
        .map(|question| ExampleRecord {
            id: question.id.clone(),
            text: question.text.clone(),
            answers: question.answers.clone(),
        })
        .collect()
}
