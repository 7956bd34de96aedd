//! How long a comparison should take.

use eval::Arm;

use super::costs::mean;
use super::plan::ComparisonEstimate;
use super::trials::{EngineSpeed, TrialJob, TrialRunner};
use crate::error::Result;
use crate::project::config::SetConfig;

/// The share of the tokens an answer may have that the estimate counts for it: answers seldom use
/// them all, and an estimate should rather be too long than too short.
const ANSWER_SHARE: f64 = 0.6;

/// The work of a comparison before any of it is done. The test split stays closed: its prompts are
/// taken to be as long as those of dev.
pub(super) struct ComparisonWork<'a> {
    pub(super) set: &'a SetConfig,
    /// The trials on dev.
    pub(super) dev: &'a [&'a TrialJob],
    /// Dev prompts of all arms on base weights, by whose lengths those of test are estimated.
    pub(super) sized: &'a [TrialJob],
    /// Measured on some of them.
    pub(super) speed: EngineSpeed,
    /// Adapters for each recipe, at most.
    pub(super) seeds: u64,
    pub(super) dev_arms: Vec<Arm>,
    pub(super) test_arms: Vec<Arm>,
    /// Questions of test.
    pub(super) test_questions: usize,
}

impl ComparisonWork<'_> {
    /// Estimates the work from the speed of the engine.
    pub(super) fn estimate(&self, runner: &TrialRunner<'_>) -> Result<ComparisonEstimate> {
        let speed = self.speed;
        let answer = runner.max_tokens() as f64 * ANSWER_SHARE;
        let seconds = |job: &TrialJob| speed.seconds(job.prompt_tokens as f64, answer);
        let pending = runner.pending(self.dev.iter().copied())?;
        let pending: Vec<&TrialJob> = self
            .dev
            .iter()
            .zip(pending)
            .filter(|(_, pending)| *pending)
            .map(|(job, _)| *job)
            .collect();
        let (cheap, fine_tuned): (Vec<Arm>, Vec<Arm>) =
            self.test_arms.iter().partition(|arm| !arm.needs_adapter());
        let on_test = |arms: &[Arm]| -> f64 {
            let each = |arm: &Arm| mean(self.alike(*arm).map(seconds)) * self.test_questions as f64;
            arms.iter().map(each).sum()
        };
        Ok(ComparisonEstimate {
            set: self.set.name.clone(),
            dev_trials: self.dev.len(),
            dev_reused: self.dev.len() - pending.len(),
            test_trials: self.test_questions * cheap.len(),
            seeds: self.seeds,
            fine_tuned_trials: self.test_questions * fine_tuned.len(),
            dev_seconds: pending.into_iter().map(seconds).sum(),
            test_seconds: on_test(&cheap),
            fine_tuned_seconds: on_test(&fine_tuned),
            dev_arms: self.dev_arms.clone(),
            test_arms: self.test_arms.clone(),
        })
    }

    /// Trials with prompts as long as those of an arm: it reads as much as the arm on base weights
    /// with the same prompt.
    fn alike(&self, arm: Arm) -> impl Iterator<Item = &TrialJob> {
        let alike = match arm {
            Arm::Tuned => Arm::Base,
            Arm::TunedRag | Arm::Raft => Arm::Rag,
            Arm::RaftOracle => Arm::Oracle,
            other => other,
        };
        self.sized.iter().filter(move |job| job.arm == alike)
    }
}
