//! The control of a fine-tuned setup: the same training on shuffled answers.

use eval::{Arm, System};

use super::bench::{Bench, DevRun, PromptSources, TestRun};
use super::decide::decision_input;
use super::event::CompareEvent;
use super::record::Comparison;
use super::trials::{GroundedSplit, LoadedAdapter, TrialRunner};
use crate::Progress;
use crate::error::Result;
use crate::questions::Split;
use crate::tune::Pairs;
use crate::tune::adapters::Recipe;

impl Bench<'_> {
    /// Where a fine-tuned setup is about to be recommended, trains it once more on shuffled answers
    /// and asks it the test questions: a score that is not shown above that one was not learnt from
    /// the pairs. Its trials join the comparison as those of a baseline.
    ///
    /// # Errors
    /// Those of training and of trials.
    pub(super) fn control(
        &mut self,
        comparison: &mut Comparison,
        sources: &PromptSources,
        dev: &DevRun,
        test: &TestRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<()> {
        if !self.project.config.training.control {
            return Ok(());
        }
        let decision = eval::decide(&decision_input(comparison, &self.questions.config))?;
        let Some((arm, recipe)) = decision.recommended.and_then(trained_setup) else {
            return Ok(());
        };
        let Some(manifest) = self.train_adapter(recipe, Pairs::Shuffled, 1, progress)? else {
            return Ok(());
        };
        let adapter = LoadedAdapter::load(self.project, self.model, &manifest)?;
        let asked = GroundedSplit {
            split: Split::Test,
            questions: &self.test,
            grounded: test.grounded.clone(),
        };
        let set = &self.questions;
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, set, &sources.shots, &self.grader);
        let jobs = runner.jobs(&asked, &[arm], dev.passages(), &[adapter])?;
        let trials = runner.run(&asked, &jobs, progress)?;
        comparison.trials.extend(trials);
        comparison.arms.push(Arm::Shuffled);
        Ok(())
    }
}

/// The arm of a setup that answers with trained weights, and the recipe of these.
fn trained_setup(system: System) -> Option<(Arm, Recipe)> {
    let arm = system.arm()?;
    Some((arm, Recipe::of(arm)?))
}
