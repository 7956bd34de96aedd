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
use crate::questions::Question;
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
    /// Training questions with their answers, which prompts and baselines are filled from.
    #[serde(default)]
    pub examples: String,
    /// The answers of systems that are there already.
    #[serde(default)]
    pub answers: String,
    /// The schema or the program that grades, where there is one.
    #[serde(default)]
    pub grader: String,
    /// The weights of the adapters that answered.
    #[serde(default)]
    pub adapters: String,
}

impl Inputs {
    /// The names of what differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { version, generator, embedder, documents, questions, settings, .. } = self;
        let Self { examples, answers, grader, adapters, .. } = self;
        let all = [
            ("version of tunesmith", *version == other.version),
            ("generator", *generator == other.generator),
            ("embedder", *embedder == other.embedder),
            ("documents", *documents == other.documents),
            ("questions", *questions == other.questions),
            ("settings", *settings == other.settings),
            ("training questions", *examples == other.examples),
            ("answers of other systems", *answers == other.answers),
            ("schema or command", *grader == other.grader),
            ("adapters", *adapters == other.adapters),
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
    /// The decision as it was stored last.
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
        let ran = comparison.arms.iter().copied().filter(|arm| !arm.is_floor());
        let options = CompareOptions {
            arms: ArmChoice::List(ran.collect()),
            seeds: Some(comparison.seeds),
            limit: comparison.sampled_from.map(|_| comparison.sizes[2]),
            reason: CHECK.to_owned(),
        };
        let bench = Bench::new(self.project, self.knowledge, self.model, self.set, &options)?;
        let now = bench.inputs(&bench.standing_adapters(&comparison)?)?;
        let mut changed = match &comparison.inputs {
            Some(inputs) => inputs.differences(&now),
            None => vec!["version of tunesmith"],
        };
        let stored = bench.knowledge.store.latest_decision(&self.set.name)?;
        let before = match stored.map(|record| serde_json::from_str(&record.json)) {
            Some(Ok(decision)) => decision,
            // Decided again from the trials of then: that it is missing, or of an earlier version, is
            // said.
            Some(Err(_)) | None => {
                changed.push("form of the stored decision");
                eval::decide(&decision_input(&comparison, self.set))?
            }
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
    /// What a comparison on this bench rests on, with the adapters that answer in it.
    pub(super) fn inputs(&self, adapters: &[Manifest]) -> Result<Inputs> {
        let config = &self.project.config;
        let set = &self.questions.config;
        let settings =
            format!("{set:?} {:?} {:?} {:?}", config.retrieval, config.training, config.chunks);
        let questions_of =
            |of: &[Question]| hash_bytes(Terms::of(set, of).questions().join(" ").as_bytes());
        let answers = self.foreign.iter().map(|one| format!("{} {}", one.system, one.hash));
        let answers: Vec<String> = answers.collect();
        let mut weights: Vec<&str> =
            adapters.iter().map(|manifest| manifest.weights.as_str()).collect();
        weights.sort_unstable();
        Ok(Inputs {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generator: self.model.identity()?.to_owned(),
            embedder: self.knowledge.encoder.identity().to_owned(),
            documents: documents_hash(&self.knowledge.store)?,
            questions: questions_of(&self.questions.test),
            settings: hash_bytes(settings.as_bytes()),
            examples: questions_of(&self.questions.train),
            answers: hash_bytes(answers.join("\n").as_bytes()),
            grader: self.grader.identity().unwrap_or_default(),
            adapters: hash_bytes(weights.join("\n").as_bytes()),
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
        for run in &kept.training {
            if !adapters.iter().any(|manifest| manifest.recipe == run.recipe) {
                let (set, recipe) = (kept.set.clone(), run.recipe.as_str());
                return Err(Error::NoAdapter { set, recipe });
            }
        }
        let entrants = Entrants { arms, adapters, ..Entrants::default() };
        self.knowledge.store.log_test_opening(&kept.set, CHECK)?;
        let (_, run) = self.terms_and_run(sources.wanted())?;
        let test = self.run_test(&sources, &dev, &entrants, run, progress)?;
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

    /// The adapters that answered in a comparison, as they stand: those that are gone, or are by now
    /// for another model, are not among them.
    fn standing_adapters(&self, kept: &Comparison) -> Result<Vec<Manifest>> {
        let set = &self.questions.config.name;
        let base = self.model.identity()?;
        let mut all = Vec::new();
        for recipe in [Recipe::Plain, Recipe::Raft] {
            let answered = |manifest: &Manifest| {
                kept.training.iter().any(|run| (run.recipe, run.seed) == (recipe, manifest.seed))
            };
            let found = adapters::list(self.project, set, recipe)?.into_iter();
            all.extend(found.filter(|manifest| answered(manifest) && manifest.base == base));
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
