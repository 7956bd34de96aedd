//! The learning curve: what a fine-tuned setup scores on dev after learning from an eighth, a quarter
//! and a half of the pairs, and from all of them.

use std::collections::BTreeMap;

use eval::stats::{PairedTest, Row, Trained};
use eval::{Arm, CurvePoint, Trial};

use super::bench::{Bench, DevRun, Entrants, PromptSources};
use super::event::CompareEvent;
use super::trials::{GroundedSplit, LoadedAdapter, TrialRunner};
use crate::Progress;
use crate::error::Result;
use crate::questions::Split;
use crate::tune::Pairs;
use crate::tune::adapters::Recipe;

/// The parts of the pairs, in eighths.
const PARTS: [u8; 3] = [1, 2, 4];

/// Fewer pairs than this teach nothing that a curve could be drawn through.
const FEWEST_PAIRS: usize = 8;

impl Bench<'_> {
    /// The scores of the fine-tuned setup that is best on dev, by how many pairs it has learnt from.
    /// Empty where nothing is fine-tuned, where there are too few pairs to part, or where the
    /// configuration says so.
    ///
    /// `scores` are those of the setups with their first adapters.
    ///
    /// # Errors
    /// Those of training and of trials.
    pub(super) fn curve(
        &mut self,
        entrants: &Entrants,
        scores: &[(Arm, f64)],
        sources: &PromptSources,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<CurvePoint>> {
        let tuned = scores.iter().filter(|(arm, _)| arm.needs_adapter());
        let best = tuned.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(arm, _)| *arm);
        let Some((arm, recipe)) = best.and_then(|arm| Some((arm, Recipe::of(arm)?))) else {
            return Ok(Vec::new());
        };
        let whole = entrants.adapters.iter().find(|m| m.recipe == recipe && m.seed == 1);
        let Some(whole) = whole.filter(|whole| whole.examples / 8 >= FEWEST_PAIRS) else {
            return Ok(Vec::new());
        };
        let mut points = Vec::new();
        for part in PARTS {
            let pairs = Pairs::Eighths(part);
            if let Some(manifest) = self.train_adapter(recipe, pairs, 1, progress)? {
                let adapter = LoadedAdapter::load(self.project, self.model, &manifest)?;
                let trials = self.on_dev(arm, adapter, sources, dev, progress)?;
                points.extend(point(manifest.examples, &trials));
            }
        }
        let adapter = LoadedAdapter::load(self.project, self.model, whole)?;
        let trials = self.on_dev(arm, adapter, sources, dev, progress)?;
        points.extend(point(whole.examples, &trials));
        Ok(points)
    }

    /// Asks a setup with this adapter the dev questions that the gate is read from.
    fn on_dev(
        &mut self,
        arm: Arm,
        adapter: LoadedAdapter,
        sources: &PromptSources,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<Trial>> {
        let asked = GroundedSplit {
            split: Split::Dev,
            questions: &self.halves.gate,
            grounded: dev.grounded.clone(),
        };
        let set = &self.questions;
        let mut runner =
            TrialRunner::new(self.model, self.knowledge, set, &sources.shots, &self.grader);
        let jobs = runner.jobs(&asked, &[arm], dev.passages(), &[adapter])?;
        runner.run(&asked, &jobs, progress)
    }
}

/// The mean score of one adapter, with a standard error that knows of clusters and of the luck of
/// training; `None` where nothing was graded.
fn point(examples: usize, trials: &[Trial]) -> Option<CurvePoint> {
    let by_question: BTreeMap<&str, (&str, f64)> = (trials.iter())
        .filter_map(|trial| Some((trial.qid.as_str(), (trial.cluster.as_str(), trial.score?))))
        .collect();
    let rows: Vec<Row<'_>> = (by_question.values())
        .map(|(cluster, score)| Row { cluster, a: vec![*score], b: Vec::new() })
        .collect();
    let right_wrong = by_question.values().all(|(_, score)| *score == 0.0 || *score == 1.0);
    (!rows.is_empty()).then(|| {
        let found = PairedTest::default().run(&rows, Trained::A, right_wrong);
        CurvePoint {
            examples,
            score: found.interval.estimate,
            standard_error: found.standard_error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_knows_of_the_luck_of_training() {
        let trial = |index: usize| Trial {
            qid: format!("q{index}"),
            cluster: format!("q{index}"),
            score: Some(f64::from(u8::from(!index.is_multiple_of(4)))),
            ..Trial::new(Arm::Tuned)
        };
        let trials: Vec<Trial> = (0..400).map(trial).collect();
        let found = point(100, &trials).unwrap();
        assert_eq!((found.examples, found.score), (100, 0.75));
        let questions_alone = (0.75_f64 * 0.25 / 400.0).sqrt();
        assert!(found.standard_error > questions_alone + 0.01, "{found:?}");
        assert!(point(100, &[]).is_none());
    }
}
