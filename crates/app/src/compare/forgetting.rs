//! What fine-tuning has forgotten: the questions of a general set, asked of the base model and of the
//! fine-tuned ones.

use eval::{Arm, Trial};

use super::bench::{Bench, Entrants, PromptSources};
use super::costs::mean;
use super::event::CompareEvent;
use super::trials::{GroundedSplit, LoadedAdapter, TrialRunner};
use crate::Progress;
use crate::error::Result;
use crate::grading::Grader;
use crate::questions::{QuestionSet, Split, sample};
use crate::search::grounding::ground;
use crate::tune::adapters::Recipe;

impl Bench<'_> {
    /// Points (0..1) that the first adapter of each recipe loses against the base model on the dev
    /// questions of the general set, without passages; below 0 where it gains. Empty where the set
    /// names no general set, or nothing is fine-tuned.
    ///
    /// # Errors
    /// Problems in the question files of the general set; those of trials.
    pub(super) fn forgetting(
        &mut self,
        entrants: &Entrants,
        sources: &PromptSources,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<(Recipe, f64)>> {
        let Some(general) = &self.questions.config.general else { return Ok(Vec::new()) };
        let first: Vec<_> = entrants.adapters.iter().filter(|m| m.seed == 1).collect();
        if first.is_empty() {
            return Ok(Vec::new());
        }
        let set = QuestionSet::load(self.project, self.project.config.set(general)?)?;
        let questions = sample(&set.dev, self.options.limit);
        let grounded = ground(self.knowledge, &questions, sources.wanted(), progress.stop())?;
        let asked = GroundedSplit { split: Split::Dev, questions: &questions, grounded };
        let grader = Grader::new(self.project, &set.config)?;
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, &set, &sources.shots, &grader);
        let base = runner.jobs(&asked, &[Arm::Base], 0, &[])?;
        let base = score(&runner.run(&asked, &base, progress)?);
        let mut lost = Vec::new();
        for manifest in first {
            let adapter = LoadedAdapter::load(self.project, self.model, manifest)?;
            // The prompt of `tuned` whichever the recipe: there are no passages to read.
            let adapter = adapter.into_plain();
            let jobs = runner.jobs(&asked, &[Arm::Tuned], 0, &[adapter])?;
            let tuned = score(&runner.run(&asked, &jobs, progress)?);
            lost.push((manifest.recipe, base - tuned));
        }
        Ok(lost)
    }
}

fn score(trials: &[Trial]) -> f64 {
    mean(trials.iter().filter_map(|trial| trial.score))
}
