//! A comparison as it is stored: everything a decision and its report need, without the models.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use eval::decision::Untried;
use eval::{Arm, Costs, CurvePoint, Gate, Measure, Pruned, System, Trial};
use serde::{Deserialize, Serialize};
use store::Store;

use super::halves::DevUse;
use super::trials::EngineSpeed;
use crate::error::{Error, Result};
use crate::models::hash_bytes;
use crate::project::config::SetConfig;
use crate::questions::Question;
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
    /// Scores of a fine-tuned setup on dev, by the share of the pairs it has learnt from.
    #[serde(default)]
    pub curve: Vec<CurvePoint>,
    /// What it would take to measure fine-tuned setups, where none was.
    #[serde(default)]
    pub untried: Untried,
    /// Systems dropped on dev, before the test split was opened.
    #[serde(default)]
    pub pruned: Vec<Pruned>,
    /// Question -> slice, where the set names a field to look at its questions by.
    #[serde(default)]
    pub slices: BTreeMap<String, String>,
    /// What is wrong with the training pairs, in words.
    #[serde(default)]
    pub pair_faults: Vec<String>,
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
    /// Train examples, dev and test questions.
    pub sizes: [usize; 3],
    /// Test questions of the set where a limit left some of them out.
    #[serde(default)]
    pub sampled_from: Option<usize>,
    /// Hash of everything that its trials depend on, see `Bench::terms_and_run`; empty where an
    /// earlier version stored it.
    #[serde(default)]
    pub run: String,
    /// Hash of the documents that were compared on.
    pub documents: String,
    /// What it rests on, part by part; empty where an earlier version stored it.
    #[serde(default)]
    pub basis: BTreeMap<String, String>,
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

    /// Notes what the adapters of a recipe lose on a general set.
    pub(super) fn note_forgetting(&mut self, recipe: Recipe, lost: f64) {
        for costs in &mut self.costs {
            if costs.system.arm().and_then(Recipe::of) == Some(recipe) {
                costs.forgetting = Some(lost);
            }
        }
    }

    /// What it was made of, and when, in words.
    fn said(&self, at: i64) -> String {
        let systems: BTreeSet<System> =
            self.trials.iter().map(|trial| trial.system).filter(|s| !s.is_floor()).collect();
        let systems: Vec<String> = systems.iter().map(System::to_string).collect();
        format!(
            "{} of {} test questions ({}), compared at {}",
            self.sizes[2],
            self.sampled_from.unwrap_or(self.sizes[2]),
            systems.join(", "),
            time::rfc3339(at)
        )
    }

    /// Whether it holds all the questions of `other` and more, or all its systems and more in the
    /// same run, so that `other` is the smaller evidence.
    fn exceeds(&self, other: &Self) -> bool {
        let questions = |comparison: &Self| -> BTreeSet<String> {
            comparison.trials.iter().map(|trial| trial.qid.clone()).collect()
        };
        let systems = |comparison: &Self| -> BTreeSet<System> {
            comparison.trials.iter().map(|trial| trial.system).collect()
        };
        let (own, its) = (questions(self), questions(other));
        let more_questions = self.sizes[2] > other.sizes[2] && own.is_superset(&its);
        let (own_systems, its_systems) = (systems(self), systems(other));
        let more_systems = !self.run.is_empty()
            && self.run == other.run
            && own == its
            && own_systems.len() > its_systems.len()
            && own_systems.is_superset(&its_systems);
        more_questions || more_systems
    }
}

/// The comparison of a set that decisions are made from: the latest with the configured measure,
/// unless it left out questions or systems that an earlier one has.
pub(super) struct KeptComparison {
    /// Its number in the store.
    pub(super) id: i64,
    pub(super) comparison: Comparison,
    /// Later comparisons of fewer questions or systems, in words.
    pub(super) passed_over: Vec<String>,
}

impl KeptComparison {
    /// Looks for it.
    ///
    /// # Errors
    /// [`Error::NotCompared`] when there is none.
    ///
    /// With another measure than the configured one there may be some all the same: then the latest
    /// is returned, and the caller says so.
    pub(super) fn of(store: &Store, set: &SetConfig) -> Result<Self> {
        let name = &set.name;
        let mut all = Vec::new();
        for record in store.comparisons(name)? {
            let comparison: Comparison = serde_json::from_str(&record.json).map_err(|source| {
                Error::Record { what: format!("comparison of set {name:?}"), source }
            })?;
            all.push((record.id, record.at, comparison));
        }
        if all.iter().any(|(_, _, comparison)| comparison.measure == set.measure) {
            all.retain(|(_, _, comparison)| comparison.measure == set.measure);
        }
        let mut all = all.into_iter();
        let Some((id, at, comparison)) = all.next() else {
            return Err(Error::NotCompared { set: name.clone() });
        };
        let mut later = vec![comparison.said(at)];
        let mut kept = Self { id, comparison, passed_over: Vec::new() };
        for (id, at, comparison) in all {
            let said = comparison.said(at);
            if comparison.exceeds(&kept.comparison) {
                kept = Self { id, comparison, passed_over: later.clone() };
            }
            later.push(said);
        }
        Ok(kept)
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
