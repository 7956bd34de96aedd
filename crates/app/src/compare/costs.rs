//! What each arm costs.
//!
//! Answering is priced by tokens, at one speed for all arms: trials of different arms run at
//! different times, and on a machine that was busier meanwhile the cheapest arm would look dear.

use eval::{Arm, Costs, Trial};
use store::Store;

use super::trials::{EngineSpeed, retrieval_seconds};
use crate::Result;
use crate::search::grounding::Grounded;
use crate::search::index_cost::{IndexCost, index_cost};
use crate::tune::adapters::{Manifest, Recipe};

/// What the costs of an arm are reckoned from.
pub(super) struct Price<'a> {
    /// The speed of the engine; that of an engine nobody measured leaves the time of an answer to
    /// the latencies of the trials.
    pub(super) speed: EngineSpeed,
    /// What was found for each question, and in what time.
    pub(super) grounded: &'a [Grounded],
    pub(super) trials: &'a [Trial],
    pub(super) adapters: &'a [Manifest],
}

impl Price<'_> {
    /// The costs of every arm that has trials.
    pub(super) fn of_all(&self, store: &Store) -> Result<Vec<Costs>> {
        let index = index_cost(store)?;
        let mut arms: Vec<Arm> =
            self.trials.iter().filter_map(|trial| trial.system.arm()).collect();
        arms.sort_unstable();
        arms.dedup();
        Ok(arms.into_iter().map(|arm| self.of(arm, index)).collect())
    }

    fn of(&self, arm: Arm, index: IndexCost) -> Costs {
        let adapters = self.adapters.iter();
        let adapters = adapters.filter(|manifest| Recipe::of(arm) == Some(manifest.recipe));
        let training = mean(adapters.map(|manifest| manifest.seconds));
        let answering = self.seconds_per_query(arm);
        // After an edit, an arm with passages waits for the document to be indexed anew, one
        // without for new training.
        let freshness = match (arm.uses_retrieval(), arm.needs_adapter()) {
            (true, _) => Some(index.seconds_per_document + answering),
            (false, true) => Some(training + answering),
            (false, false) => None,
        };
        Costs {
            training_seconds: training,
            index_seconds: if arm.uses_retrieval() { index.seconds } else { 0.0 },
            seconds_per_query: Some(answering),
            freshness_seconds: freshness,
            ..Costs::new(arm)
        }
    }

    /// Mean seconds of an answer: retrieval, and tokens at the speed of the engine.
    fn seconds_per_query(&self, arm: Arm) -> f64 {
        let trials = || self.trials.iter().filter(|trial| trial.system.is(arm));
        if arm.is_floor() {
            return 0.0;
        }
        if !self.speed.is_measured() {
            return mean(trials().map(|trial| trial.latency_seconds));
        }
        let prompt = mean(trials().map(|trial| trial.prompt_tokens as f64));
        let answer = mean(trials().map(|trial| trial.completion_tokens as f64));
        let retrieval = mean(self.grounded.iter().map(|found| retrieval_seconds(arm, found)));
        retrieval + self.speed.seconds(prompt, answer)
    }
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_that_reads_less_costs_less_however_busy_the_machine_was() {
        let trial = |arm, prompt_tokens, latency_seconds| Trial {
            prompt_tokens,
            completion_tokens: 10,
            latency_seconds,
            ..Trial::new(arm)
        };
        let trials = [
            trial(Arm::Base, 50, 9.0),
            trial(Arm::Base, 70, 9.0),
            trial(Arm::Rag, 400, 1.0),
            trial(Arm::NearestAnswer, 0, 0.0),
        ];
        let speed = EngineSpeed { prefill: 0.001, decode: 0.01 };
        let price = Price { speed, grounded: &[], trials: &trials, adapters: &[] };
        let seconds = |arm| price.of(arm, IndexCost::default()).seconds_per_query.unwrap();
        assert!((seconds(Arm::Base) - 0.16).abs() < 1e-9);
        assert!((seconds(Arm::Rag) - 0.5).abs() < 1e-9);
        assert_eq!(seconds(Arm::NearestAnswer), 0.0);
        let unknown = Price { speed: EngineSpeed::default(), ..price };
        assert_eq!(unknown.seconds_per_query(Arm::Base), 9.0);
    }
}
