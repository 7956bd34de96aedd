//! Whether a stored decision still holds, after documents, model, questions or settings changed.
//!
//! The setups of the stored comparison answer its questions again as things stand now; what nothing
//! has changed for is reused, and nothing is tuned or trained. The rule is applied to these answers.
//! The test split is opened for that, which is logged with its reason. The result is told and not
//! stored, so that it is no comparison that a later decision reads.

use std::collections::HashSet;

use eval::decision::Looks;
use eval::{Arm, Decision, DecisionInput, Interval, Outcome, System, Trial};
use serde::Serialize;
use store::ComparisonOpening;

use super::basis::{Change, changes};
use super::bench::{Bench, PromptSources};
use super::decide::decision_input;
use super::event::CompareEvent;
use super::floor::floor_trials;
use super::looks::looks;
use super::record::{Comparison, KeptComparison, documents_hash};
use super::trials::{GroundedSplit, LoadedAdapter, TrialJob, TrialRunner};
use crate::Progress;
use crate::error::{Error, Result};
use crate::questions::{Question, Split};
use crate::search::grounding::ground;
use crate::tune::Pairs;
use crate::tune::adapters::{Manifest, Recipe};

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckVerdict {
    /// The rule says the same, and a target that was met still is.
    Holds,
    /// It says something else, or the target is no longer shown to be met.
    HoldsNoLonger,
    /// Something changed, and nothing was run to see what that does.
    NotRun,
    /// The set was never compared, or what was decided is that nothing is decided.
    NothingToCheck,
}

impl CheckVerdict {
    /// The verdict as the end of a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsNoLonger => "does not hold any longer",
            Self::NotRun => "may not hold any longer: something changed and nothing was run",
            Self::NothingToCheck => "is not there: nothing to check",
        }
    }
}

/// A decision in the figures that a check compares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// What to do.
    pub outcome: Outcome,
    /// The system to serve, if one is named.
    pub recommended: Option<System>,
    /// The system that the score is of: the one recommended, else the best.
    pub scored: Option<System>,
    /// Its score.
    pub score: Option<Interval>,
    /// Whether a system is named and shown to meet the target, if there is one.
    pub settled: bool,
    /// Test questions.
    pub questions: usize,
}

impl From<&Decision> for Standing {
    fn from(decision: &Decision) -> Self {
        let scored = decision.recommended.or(decision.best);
        Self {
            outcome: decision.outcome,
            recommended: decision.recommended,
            scored,
            score: scored.and_then(|system| decision.system(system)).map(|summary| summary.score),
            settled: decision.is_settled(),
            questions: decision.questions,
        }
    }
}

/// Whether the decision on a set still holds.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The set.
    pub set: String,
    /// What was found.
    pub verdict: CheckVerdict,
    /// What is no longer what it was at the comparison.
    pub changes: Vec<Change>,
    /// What could not be asked again, or is new since, in words.
    pub left_out: Vec<String>,
    /// Trials that were run for this check.
    pub run: usize,
    /// Trials that were there already.
    pub reused: usize,
    /// The stored decision.
    pub before: Option<Standing>,
    /// What the rule says now.
    pub after: Option<Standing>,
}

/// The trials of a check.
struct Replay {
    trials: Vec<Trial>,
    run: usize,
    reused: usize,
    left_out: Vec<String>,
}

impl Bench<'_> {
    /// Checks the stored decision; with `run` unset only says what has changed.
    ///
    /// # Errors
    /// Problems with the evidence, adapters that cannot be read, [`Error::Interrupted`]: finished
    /// trials are kept, and checking again goes on from them.
    pub fn check(mut self, run: bool, progress: &mut Progress<'_, CompareEvent>) -> Result<Check> {
        let set = self.questions.config.clone();
        let mut check = Check {
            set: set.name.clone(),
            verdict: CheckVerdict::NothingToCheck,
            changes: Vec::new(),
            left_out: Vec::new(),
            run: 0,
            reused: 0,
            before: None,
            after: None,
        };
        let kept = match KeptComparison::of(&self.knowledge.store, &set) {
            Err(Error::NotCompared { .. }) => return Ok(check),
            kept => kept?,
        };
        let comparison = kept.comparison;
        check.changes = self.changed(&comparison)?;
        let looks = looks(&self.knowledge.store.test_openings(&set.name)?, kept.id, &set);
        let looks = Looks { passed_over: kept.passed_over, ..looks };
        let rule = |comparison: &Comparison| {
            eval::decide(&DecisionInput {
                looks: looks.clone(),
                ..decision_input(comparison, &set)
            })
        };
        let before = match self.stored_decision(&set.name)? {
            Some(decision) => decision,
            None => rule(&comparison)?,
        };
        check.before = Some(Standing::from(&before));
        if before.outcome == Outcome::Undetermined {
            return Ok(check);
        }
        if !run && !check.changes.is_empty() {
            check.verdict = CheckVerdict::NotRun;
            return Ok(check);
        }
        let after = if check.changes.is_empty() {
            check.reused = comparison.trials.len();
            rule(&comparison)?
        } else {
            let replay = self.replay(&comparison, &before, &check.changes, progress)?;
            (check.run, check.reused) = (replay.run, replay.reused);
            check.left_out = replay.left_out;
            rule(&self.as_now(comparison, replay.trials))?
        };
        let target_lost = set.target.is_some() && before.is_settled() && !after.is_settled();
        let same = (after.outcome, after.recommended) == (before.outcome, before.recommended);
        check.verdict = match same && !target_lost {
            true => CheckVerdict::Holds,
            false => CheckVerdict::HoldsNoLonger,
        };
        check.after = Some(Standing::from(&after));
        Ok(check)
    }

    /// What has changed since a comparison.
    fn changed(&self, comparison: &Comparison) -> Result<Vec<Change>> {
        if !comparison.basis.is_empty() {
            return Ok(changes(&comparison.basis, &self.basis()?));
        }
        // An earlier version kept the documents alone.
        let kept = "not kept by the version that compared".to_owned();
        let unknown = Change { what: "everything else".to_owned(), before: Some(kept), now: None };
        let now = documents_hash(&self.knowledge.store)?;
        let before = comparison.documents.clone();
        let documents = (now != before).then(|| Change {
            what: "documents".to_owned(),
            before: Some(before),
            now: Some(now),
        });
        Ok(documents.into_iter().chain([unknown]).collect())
    }

    /// The newest decision in the store; `None` where there is none that this version can read.
    fn stored_decision(&self, set: &str) -> Result<Option<Decision>> {
        let record = self.knowledge.store.latest_decision(set)?;
        Ok(record.and_then(|record| serde_json::from_str(&record.json).ok()))
    }

    /// Asks the setups of a comparison its questions again, as everything stands now.
    fn replay(
        &mut self,
        comparison: &Comparison,
        before: &Decision,
        changes: &[Change],
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Replay> {
        let set = self.questions.config.clone();
        let sources = PromptSources::as_tuned(self)?;
        let (test, mut left_out) = self.asked(comparison);
        let mut adapters = Vec::new();
        for run in &comparison.training {
            adapters.extend(self.adapter(run.recipe, Pairs::All, run.seed, &mut left_out)?);
        }
        let control = before
            .recommended
            .and_then(System::arm)
            .filter(|_| comparison.trials.iter().any(|trial| trial.system.is(Arm::Shuffled)));
        let shuffled = match control.and_then(|arm| Some((arm, Recipe::of(arm)?))) {
            Some((arm, recipe)) => self
                .adapter(recipe, Pairs::Shuffled, 1, &mut left_out)?
                .map(|adapter| (arm, adapter)),
            None => None,
        };
        let reason: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
        let (terms, run) = self.terms_and_run(sources.wanted())?;
        self.knowledge.store.log_comparison_opening(&ComparisonOpening {
            set: &set.name,
            reason: &format!("check: {} changed", reason.join(", ")),
            run: &run,
            terms: &terms,
        })?;
        progress.report(CompareEvent::Opened);
        let grounded = ground(self.knowledge, &test, sources.wanted(), progress.stop())?;
        let asked = GroundedSplit { split: Split::Test, questions: &test, grounded };
        let passages = self.knowledge.passages(Some(&set))?;
        let arms: Vec<Arm> =
            comparison.arms.iter().copied().filter(|arm| !arm.is_floor()).collect();
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, &self.questions, &sources.shots);
        let mut jobs: Vec<TrialJob> = runner.jobs(&asked, &arms, passages, &adapters)?;
        if let Some((arm, adapter)) = shuffled {
            jobs.extend(runner.jobs(&asked, &[arm], passages, &[adapter])?);
        }
        let pending = runner.pending(&jobs)?.into_iter().filter(|pending| *pending).count();
        let mut trials = runner.run(&asked, &jobs, progress)?;
        trials.extend(floor_trials(&self.questions, &asked, &sources.shots));
        for foreign in &self.foreign {
            match comparison.trials.iter().any(|trial| trial.system == foreign.system) {
                true => trials.extend(foreign.trials(&self.questions, &test)),
                false => left_out.push(format!("{} is new and was not compared", foreign.system)),
            }
        }
        left_out.extend(gone(comparison, &trials));
        Ok(Replay { trials, run: pending, reused: jobs.len() - pending, left_out })
    }

    /// The questions of the comparison that are still there, and what is said of the others.
    fn asked(&self, comparison: &Comparison) -> (Vec<Question>, Vec<String>) {
        let before: HashSet<&str> =
            comparison.trials.iter().map(|trial| trial.qid.as_str()).collect();
        let (test, new): (Vec<Question>, Vec<Question>) =
            self.questions.test.iter().cloned().partition(|q| before.contains(q.id.as_str()));
        let missing = before.len() - test.len();
        let mut said = Vec::new();
        if missing > 0 {
            said.push(format!("{missing} test questions of the comparison are no longer there"));
        }
        // Those that a limit left out then are not new.
        let then = comparison.sampled_from.unwrap_or(comparison.sizes[2]);
        let added = new.len().saturating_sub(then.saturating_sub(comparison.sizes[2]));
        if added > 0 {
            said.push(format!("{added} test questions are new and were not asked"));
        }
        (test, said)
    }

    /// An adapter as it stands, or why it is not used.
    fn adapter(
        &self,
        recipe: Recipe,
        pairs: Pairs,
        seed: u64,
        left_out: &mut Vec<String>,
    ) -> Result<Option<LoadedAdapter>> {
        let set = &self.questions.config.name;
        let folder = pairs.folder(recipe);
        let path = self.project.adapter_folder(set, &folder, seed);
        let Some(manifest) = Manifest::read(&path)? else {
            left_out.push(format!("the adapter {set}/{folder}/{seed} is gone"));
            return Ok(None);
        };
        match LoadedAdapter::load(self.project, self.model, &manifest) {
            Err(error @ Error::OtherBase { .. }) => {
                left_out.push(error.to_string());
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    /// The comparison with the trials of now. Costs stay those that were measured, but for foreign
    /// systems, whose answers say them.
    fn as_now(&self, comparison: Comparison, trials: Vec<Trial>) -> Comparison {
        let mut costs = comparison.costs;
        for foreign in &self.foreign {
            if let Some(known) = costs.iter_mut().find(|costs| costs.system == foreign.system) {
                *known = foreign.costs();
            }
        }
        Comparison { trials, costs, ..comparison }
    }
}

/// The systems of a comparison that no trial is of any more.
fn gone(comparison: &Comparison, trials: &[Trial]) -> Vec<String> {
    let now: HashSet<System> = trials.iter().map(|trial| trial.system).collect();
    let mut systems: Vec<System> = comparison.trials.iter().map(|trial| trial.system).collect();
    systems.sort_unstable();
    systems.dedup();
    systems.retain(|system| !now.contains(system));
    systems.iter().map(|system| format!("{system} could not be asked again")).collect()
}
