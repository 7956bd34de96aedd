//! Does a decision still hold? What it rests on is compared with what is there now, and the same
//! questions are asked again as far as that changed. Nothing is tuned and nothing is trained.

use std::fmt;

use eval::{Arm, Decision, System, Trial};
use lm::Model;
use serde::{Deserialize, Serialize};

use super::bench::{Bench, DevRun, Entrants, PromptSources};
use super::decide::decision_input;
use super::event::{CompareEvent, CompareOptions};
use super::looks::Terms;
use super::plan::ArmChoice;
use super::record::{Comparison, KeptComparison, documents_hash};
use crate::Progress;
use crate::error::{Error, Result};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::search::knowledge::Knowledge;
use crate::tune::adapters::{self, Manifest, Recipe};

/// Why the test split is opened by a check, for the log. Such an opening is no further look: nothing
/// is chosen by it.
pub(super) const CHECK: &str = "check";

/// What a comparison rests on, each as a name or a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The version of tunesmith.
    pub version: String,
    /// The identity of the generator's weights.
    pub generator: String,
    /// The identity of the embedder's weights.
    pub embedder: String,
    /// Names and contents of the documents.
    pub documents: String,
    /// Test questions with their answers.
    pub questions: String,
    /// What the configuration says of the set, of retrieval and of training.
    pub settings: String,
}

impl Inputs {
    /// The names of what differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { version, generator, embedder, documents, questions, settings } = self;
        let all = [
            ("version of tunesmith", *version == other.version),
            ("generator", *generator == other.generator),
            ("embedder", *embedder == other.embedder),
            ("documents", *documents == other.documents),
            ("questions", *questions == other.questions),
            ("settings", *settings == other.settings),
        ];
        all.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// What a check finds.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The set.
    pub set: String,
    /// What differs from what the decision rests on.
    pub changed: Vec<&'static str>,
    /// The decision as it stands.
    pub before: Decision,
    /// The decision on what is there now; `None` where nothing changed, or nothing was to be run.
    pub after: Option<Decision>,
    /// Whether the same system is recommended, and shown to meet the target if it was; `None` where
    /// something changed and nothing was to be run.
    pub holds: Option<bool>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, changed, before, after, holds } = self;
        match changed.is_empty() {
            true => writeln!(f, "{set}: nothing changed since the comparison")?,
            false => writeln!(f, "{set}: changed since the comparison: {}", changed.join(", "))?,
        }
        writeln!(f, "  before: {}: {}", before.outcome, before.sentence)?;
        if let Some(after) = after {
            writeln!(f, "  now:    {}: {}", after.outcome, after.sentence)?;
        }
        write!(
            f,
            "{set}: {}",
            match holds {
                Some(true) => "the decision holds",
                Some(false) => "the decision does not hold any longer: compare again",
                None => "whether the decision holds was not run",
            }
        )
    }
}

/// What is there to check with.
pub struct Check<'a> {
    /// The project.
    pub project: &'a Project,
    /// What it knows.
    pub knowledge: &'a mut Knowledge,
    /// What answers.
    pub model: &'a Model,
    /// The set.
    pub set: &'a SetConfig,
}

impl Check<'_> {
    /// Says what changed since the comparison that the set's decision rests on, asks the same
    /// questions again where something did and `run` is wanted, and applies the rule anew.
    ///
    /// # Errors
    /// [`Error::NotCompared`]; [`Error::NoAdapter`] where an adapter of the comparison is gone; those
    /// of trials.
    pub fn check(self, run: bool, progress: &mut Progress<'_, CompareEvent>) -> Result<Checked> {
        let KeptComparison { comparison, .. } =
            KeptComparison::of(&self.knowledge.store, self.set)?;
        let before = eval::decide(&decision_input(&comparison, self.set))?;
        let ran = comparison.arms.iter().copied().filter(|arm| !arm.is_floor());
        let options = CompareOptions {
            arms: ArmChoice::List(ran.collect()),
            seeds: Some(comparison.seeds),
            limit: comparison.sampled_from.map(|_| comparison.sizes[2]),
            reason: CHECK.to_owned(),
        };
        let bench = Bench::new(self.project, self.knowledge, self.model, self.set, &options)?;
        let now = bench.inputs()?;
        let changed = match &comparison.inputs {
            Some(inputs) => inputs.differences(&now),
            None => vec!["version of tunesmith"],
        };
        let set = self.set.name.clone();
        if changed.is_empty() || !run {
            let holds = changed.is_empty().then_some(true);
            return Ok(Checked { set, changed, before, after: None, holds });
        }
        let replayed = bench.replay(&comparison, progress)?;
        let after = eval::decide(&decision_input(&replayed, self.set))?;
        let holds = before.recommended == after.recommended
            && before.outcome == after.outcome
            && (after.is_settled() || !before.is_settled());
        Ok(Checked { set, changed, before, after: Some(after), holds: Some(holds) })
    }
}

impl Bench<'_> {
    /// What a comparison on this bench rests on.
    pub(super) fn inputs(&self) -> Result<Inputs> {
        let config = &self.project.config;
        let set = &self.questions.config;
        let settings =
            format!("{set:?} {:?} {:?} {:?}", config.retrieval, config.training, config.chunks);
        let questions = Terms::of(set, &self.questions.test).questions().join(" ");
        Ok(Inputs {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generator: self.model.identity()?.to_owned(),
            embedder: self.knowledge.encoder.identity().to_owned(),
            documents: documents_hash(&self.knowledge.store)?,
            questions: hash_bytes(questions.as_bytes()),
            settings: hash_bytes(settings.as_bytes()),
        })
    }

    /// The same comparison on what is there now: with the settings that were tuned for it, and the
    /// adapters as they stand. Gate, curve and shuffled answers are those of then.
    fn replay(
        mut self,
        kept: &Comparison,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Comparison> {
        let mut wanted = self.knowledge.wanted(Some(&self.questions.config))?;
        let passages = wanted.hits;
        wanted.hits = Self::hits(passages);
        let sources = PromptSources::as_tuned(wanted, passages, std::mem::take(&mut self.shots));
        let dev = DevRun::as_measured(passages, kept.speed);
        let arms = kept.arms.iter().copied().filter(|arm| !arm.is_floor()).collect();
        let adapters = self.standing_adapters(kept)?;
        let entrants = Entrants { arms, adapters, ..Entrants::default() };
        self.knowledge.store.log_test_opening(&kept.set, CHECK)?;
        let test = self.run_test(&sources, &dev, &entrants, 0, progress)?;
        let mut replayed = self.record(&sources, kept.gate.clone(), &entrants, &test)?;
        let control = System::from(Arm::Shuffled);
        let shuffled: Vec<Trial> =
            kept.trials.iter().filter(|trial| trial.system == control).cloned().collect();
        replayed.trials.extend(shuffled);
        replayed.curve.clone_from(&kept.curve);
        replayed.pruned.clone_from(&kept.pruned);
        replayed.untried = kept.untried;
        Ok(replayed)
    }

    /// The adapters that the arms of a comparison answer with, as they stand.
    fn standing_adapters(&self, kept: &Comparison) -> Result<Vec<Manifest>> {
        let set = &self.questions.config.name;
        let base = self.model.identity()?;
        let mut all = Vec::new();
        for recipe in [Recipe::Plain, Recipe::Raft] {
            if kept.arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe)) {
                let mut found = adapters::list(self.project, set, recipe)?;
                found.retain(|manifest| manifest.seed <= kept.seeds && manifest.base == base);
                if found.is_empty() {
                    let recipe = recipe.as_str();
                    return Err(Error::NoAdapter { set: set.clone(), recipe });
                }
                all.extend(found);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let then = Inputs { documents: "a".to_owned(), ..Inputs::default() };
        assert!(then.differences(&then).is_empty());
        let now = Inputs { documents: "b".to_owned(), version: "2".to_owned(), ..then.clone() };
        assert_eq!(then.differences(&now), ["version of tunesmith", "documents"]);
    }
}
