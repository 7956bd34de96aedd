//! Training the adapters of a comparison: one for each recipe, then further seeds for those whose
//! arms are still in question on dev.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use eval::decision::Untried;
use eval::{Arm, Gate, GateAnswer, Pruned, Rule, System, Trial, prune};

use super::bench::{Bench, DevRun, Entrants, PromptSources};
use super::costs::mean;
use super::event::CompareEvent;
use super::plan::{self, ArmChoice};
use super::trials::{GroundedSplit, LoadedAdapter, TrialRunner};
use crate::Progress;
use crate::error::Result;
use crate::questions::Split;
use crate::tune::adapters::{Manifest, Recipe};
use crate::tune::{Pairs, Resume, TuneEvent, TuneRequest, Tuner};

/// An arm that is more than so many margins below the best with its first adapter is out of
/// question: the luck of training is smaller.
const HOPELESS: f64 = 3.0;

impl Bench<'_> {
    /// Trains (or finds) the adapters of the arms that are due on test.
    pub(super) fn train(
        &mut self,
        gate: Option<&Gate>,
        sources: &PromptSources,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Entrants> {
        // Without documents there is no ceiling to reach: learning from the pairs is all there is.
        // Where the gate cannot tell, they are trained, too: only what is shown not to be due is left out.
        let open = gate.map_or(!self.material.documents, |gate| gate.answer() != GateAnswer::No);
        let arms = plan::test_arms(&self.options.arms, self.material, open);
        let mut entrants = Entrants { arms, ..Entrants::default() };
        if !entrants.arms.iter().any(|arm| arm.needs_adapter()) {
            entrants.untried = self.untried(dev, progress.stop())?;
            return Ok(entrants);
        }
        for recipe in [Recipe::Plain, Recipe::Raft] {
            if entrants.arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe)) {
                entrants.adapters.extend(self.train_adapter(recipe, Pairs::All, 1, progress)?);
            }
        }
        if entrants.adapters.is_empty() {
            return Ok(entrants);
        }
        let trials = self.first_trials(&entrants, sources, dev, progress)?;
        let scores = scores(&trials, &entrants.arms);
        let margin = self.questions.config.margin;
        entrants.dropped = hopeless(&scores, margin);
        entrants.pruned = prunable(prune(&trials, margin, Rule::default().alpha)?);
        entrants.drop_pruned();
        progress.report(CompareEvent::FirstSeeds {
            scores: scores.clone(),
            dropped: entrants.dropped.clone(),
            pruned: entrants.pruned.clone(),
        });
        if self.project.config.training.learning_curve {
            entrants.curve = self.curve(&entrants, &scores, sources, dev, progress)?;
        }
        let first: Vec<(Recipe, f64)> = (entrants.adapters.iter())
            .filter(|manifest| !entrants.dropped.contains(&manifest.recipe))
            .map(|manifest| (manifest.recipe, manifest.seconds))
            .collect();
        let spent = entrants.adapters.iter().map(|manifest| manifest.seconds).sum();
        let most = self.project.config.training.max_minutes.map(|most| most as f64 * 60.0);
        for (recipe, seed) in further_seeds(&first, self.seeds(), spent, most) {
            entrants.adapters.extend(self.train_adapter(recipe, Pairs::All, seed, progress)?);
        }
        Ok(entrants)
    }

    /// What it would take to measure the fine-tuned setups. Timing a step of training takes some
    /// seconds, so that it is left out where the user chose the setups.
    fn untried(&mut self, dev: &DevRun, stop: &AtomicBool) -> Result<Untried> {
        let arms = plan::test_arms(&ArmChoice::All, self.material, true);
        let recipes: BTreeSet<Recipe> = arms.into_iter().filter_map(Recipe::of).collect();
        let possible = !self.questions.train.is_empty() && !recipes.is_empty();
        if !possible || self.options.arms != ArmChoice::Auto {
            return Ok(Untried { possible, seconds: None });
        }
        let mut seconds = dev.fine_tuned_seconds;
        for recipe in recipes {
            let mut planned = 0.0;
            let mut note = |event| {
                if let TuneEvent::Planned(plan) = event {
                    planned = plan.estimate.seconds.unwrap_or_default();
                }
            };
            let request = TuneRequest {
                recipe,
                pairs: Pairs::All,
                seed: 1,
                resume: Resume::IfSame,
                again: false,
                dry_run: true,
            };
            self.tuner().tune(&request, &mut Progress::new(stop, &mut note))?;
            seconds += planned * self.seeds() as f64;
        }
        Ok(Untried { possible, seconds: Some(seconds) })
    }

    fn tuner(&mut self) -> Tuner<'_> {
        Tuner {
            project: self.project,
            knowledge: self.knowledge,
            model: self.model,
            set: &self.questions,
        }
    }

    /// Adapters for each recipe, at most.
    pub(super) fn seeds(&self) -> u64 {
        self.options.seeds.unwrap_or(self.project.config.training.seeds)
    }

    /// The dev trials of the arms that could be recommended, with the first adapters.
    fn first_trials(
        &mut self,
        entrants: &Entrants,
        sources: &PromptSources,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<Trial>> {
        let load = |manifest| LoadedAdapter::load(self.project, self.model, manifest);
        let adapters: Vec<_> = entrants.adapters.iter().map(load).collect::<Result<_>>()?;
        let arms: Vec<Arm> =
            entrants.arms.iter().copied().filter(|arm| !arm.is_diagnostic()).collect();
        let asked = GroundedSplit {
            split: Split::Dev,
            questions: &self.halves.gate,
            grounded: dev.grounded.clone(),
        };
        let set = &self.questions;
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, set, &sources.shots, &self.grader);
        let jobs = runner.jobs(&asked, &arms, dev.passages(), &adapters)?;
        runner.run(&asked, &jobs, progress)
    }

    /// Trains an adapter, unless the same one is there already.
    pub(super) fn train_adapter(
        &mut self,
        recipe: Recipe,
        pairs: Pairs,
        seed: u64,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Option<Manifest>> {
        let request = TuneRequest {
            recipe,
            pairs,
            seed,
            resume: Resume::IfSame,
            again: false,
            dry_run: false,
        };
        let mut tuner = self.tuner();
        progress.part(
            |event| CompareEvent::Training { recipe, pairs, seed, event },
            |training| tuner.tune(&request, training),
        )
    }
}

impl Entrants {
    /// Leaves out the arms that dev shows to be hopeless, with the diagnostic ones that only explain
    /// them and the adapters that nothing uses any more.
    fn drop_pruned(&mut self) {
        let gone = |arm: Arm| self.pruned.iter().any(|pruned| pruned.system.is(arm));
        let explains = |arm: Arm| arm == Arm::RaftOracle && gone(Arm::Raft);
        self.arms.retain(|arm| !gone(*arm) && !explains(*arm));
        for recipe in [Recipe::Plain, Recipe::Raft] {
            let used = self.arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe));
            if !used && !self.dropped.contains(&recipe) {
                self.dropped.push(recipe);
            }
        }
    }
}

/// Those that may be dropped: diagnosis rests on `base` and `rag`, so that these always run.
fn prunable(pruned: Vec<Pruned>) -> Vec<Pruned> {
    let needed = |system: System| system.is(Arm::Base) || system.is(Arm::Rag);
    pruned.into_iter().filter(|pruned| !needed(pruned.system)).collect()
}

/// The mean scores of those of `arms` that have trials.
fn scores(trials: &[Trial], arms: &[Arm]) -> Vec<(Arm, f64)> {
    arms.iter().filter_map(|arm| Some((*arm, score(trials, *arm)?))).collect()
}

/// The mean score of an arm; `None` where it has none.
fn score(trials: &[Trial], arm: Arm) -> Option<f64> {
    let mut scores = trials
        .iter()
        .filter(|trial| trial.system.is(arm))
        .filter_map(|trial| trial.score)
        .peekable();
    scores.peek()?;
    Some(mean(scores))
}

/// The recipes that are not worth a second adapter: all their arms score too far below the best of
/// all arms.
fn hopeless(scores: &[(Arm, f64)], margin: f64) -> Vec<Recipe> {
    let best = scores.iter().map(|(_, score)| *score).fold(f64::MIN, f64::max);
    let of = |recipe| scores.iter().filter(move |(arm, _)| Recipe::of(*arm) == Some(recipe));
    [Recipe::Plain, Recipe::Raft]
        .into_iter()
        .filter(|recipe| {
            let mut scores = of(*recipe).peekable();
            scores.peek().is_some()
                && scores.all(|(_, score)| best - score > HOPELESS * margin + f64::EPSILON)
        })
        .collect()
}

/// The adapters after the first of each recipe, the cheapest first, as long as training takes no
/// more than `most` seconds altogether. `first` says how many seconds the first ones took, `spent`
/// what all of those did.
fn further_seeds(
    first: &[(Recipe, f64)],
    seeds: u64,
    spent: f64,
    most: Option<f64>,
) -> Vec<(Recipe, u64)> {
    let mut order = first.to_vec();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut spent = spent;
    let mut chosen = Vec::new();
    for (recipe, seconds) in order {
        for seed in 2..=seeds {
            spent += seconds;
            if most.is_none_or(|most| spent <= most) {
                chosen.push((recipe, seed));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_below_the_best_is_not_trained_again() {
        let scores = |tuned, both, raft| {
            [(Arm::Rag, 0.6), (Arm::Tuned, tuned), (Arm::TunedRag, both), (Arm::Raft, raft)]
        };
        assert_eq!(hopeless(&scores(0.1, 0.2, 0.5), 0.1), [Recipe::Plain]);
        assert_eq!(hopeless(&scores(0.1, 0.4, 0.3), 0.1), [], "one of its arms is near enough");
        assert_eq!(hopeless(&scores(0.1, 0.9, 0.5), 0.1), [Recipe::Raft]);
        assert_eq!(hopeless(&[(Arm::Tuned, 0.1)], 0.1), [], "nothing to hold it against");
    }

    #[test]
    fn further_seeds_run_cheapest_first_and_within_the_time() {
        let first = [(Recipe::Plain, 100.0), (Recipe::Raft, 60.0)];
        let (plain, raft) = (Recipe::Plain, Recipe::Raft);
        let all = [(raft, 2), (raft, 3), (plain, 2), (plain, 3)];
        assert_eq!(further_seeds(&first, 3, 160.0, None), all);
        assert_eq!(further_seeds(&first, 3, 160.0, Some(300.0)), all[..2]);
        assert_eq!(further_seeds(&first, 1, 160.0, None), []);
    }
}
