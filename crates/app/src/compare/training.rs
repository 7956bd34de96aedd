//! Training the adapters of a comparison: one for each recipe, then further seeds for those whose
//! arms are still in question on dev.

use eval::{Arm, Gate, Trial};

use super::bench::{Bench, DevRun, Entrants, PromptSources};
use super::costs::mean;
use super::event::CompareEvent;
use super::plan;
use super::trials::{GroundedSplit, LoadedAdapter, TrialRunner};
use crate::Progress;
use crate::error::Result;
use crate::questions::Split;
use crate::tune::adapters::{Manifest, Recipe};
use crate::tune::{Resume, TuneRequest, Tuner};

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
        let open = gate.map_or(!self.material.documents, |gate| gate.open);
        let arms = plan::test_arms(&self.options.arms, self.material, open);
        let mut entrants = Entrants { arms, adapters: Vec::new(), dropped: Vec::new() };
        for recipe in [Recipe::Plain, Recipe::Raft] {
            if entrants.arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe)) {
                entrants.adapters.extend(self.train_adapter(recipe, 1, progress)?);
            }
        }
        if self.seeds() > 1 && !entrants.adapters.is_empty() {
            let scores = self.first_scores(&entrants, sources, dev, progress)?;
            entrants.dropped = hopeless(&scores, self.questions.config.margin);
            let dropped = entrants.dropped.clone();
            progress.report(CompareEvent::FirstSeeds { scores, dropped });
            let first: Vec<(Recipe, f64)> = (entrants.adapters.iter())
                .filter(|manifest| !entrants.dropped.contains(&manifest.recipe))
                .map(|manifest| (manifest.recipe, manifest.seconds))
                .collect();
            let spent = entrants.adapters.iter().map(|manifest| manifest.seconds).sum();
            let most = self.project.config.training.max_minutes.map(|most| most as f64 * 60.0);
            for (recipe, seed) in further_seeds(&first, self.seeds(), spent, most) {
                entrants.adapters.extend(self.train_adapter(recipe, seed, progress)?);
            }
        }
        Ok(entrants)
    }

    /// Adapters for each recipe, at most.
    pub(super) fn seeds(&self) -> u64 {
        self.options.seeds.unwrap_or(self.project.config.training.seeds)
    }

    /// The mean scores on dev of the arms that could be recommended, with the first adapters.
    fn first_scores(
        &mut self,
        entrants: &Entrants,
        sources: &PromptSources,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<(Arm, f64)>> {
        let load = |manifest| LoadedAdapter::load(self.project, self.model, manifest);
        let adapters: Vec<_> = entrants.adapters.iter().map(load).collect::<Result<_>>()?;
        let arms: Vec<Arm> =
            entrants.arms.iter().copied().filter(|arm| !arm.is_diagnostic()).collect();
        let asked = GroundedSplit {
            split: Split::Dev,
            questions: &self.halves.gate,
            grounded: dev.grounded.clone(),
        };
        let set = &self.questions.config;
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, set, &sources.shots, &self.grader);
        let jobs = runner.jobs(&asked, &arms, dev.passages(), &adapters)?;
        let trials = runner.run(&asked, &jobs, progress)?;
        Ok(arms.into_iter().filter_map(|arm| Some((arm, score(&trials, arm)?))).collect())
    }

    /// Trains an adapter, unless the same one is there already.
    fn train_adapter(
        &mut self,
        recipe: Recipe,
        seed: u64,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Option<Manifest>> {
        let request =
            TuneRequest { recipe, seed, resume: Resume::IfSame, again: false, dry_run: false };
        let mut tuner = Tuner {
            project: self.project,
            knowledge: self.knowledge,
            model: self.model,
            set: &self.questions,
        };
        progress.part(
            |event| CompareEvent::Training { recipe, seed, event },
            |training| tuner.tune(&request, training),
        )
    }
}

/// The mean score of an arm; `None` where it has none.
fn score(trials: &[Trial], arm: Arm) -> Option<f64> {
    let mut scores =
        trials.iter().filter(|trial| trial.arm == arm).filter_map(|trial| trial.score).peekable();
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
