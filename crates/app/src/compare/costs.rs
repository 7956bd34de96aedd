//! What each arm costs, as measured.

use eval::{Arm, Costs, Trial};
use store::Store;

use crate::Result;
use crate::search::index_cost::{IndexCost, index_cost};
use crate::tune::adapters::{Manifest, Recipe};

/// The costs of every arm that has trials.
pub(super) fn costs(store: &Store, trials: &[Trial], manifests: &[Manifest]) -> Result<Vec<Costs>> {
    let index = index_cost(store)?;
    let mut arms: Vec<Arm> = trials.iter().map(|trial| trial.arm).collect();
    arms.sort_unstable();
    arms.dedup();
    Ok(arms.into_iter().map(|arm| of_arm(arm, index, trials, manifests)).collect())
}

fn of_arm(arm: Arm, index: IndexCost, trials: &[Trial], manifests: &[Manifest]) -> Costs {
    let adapters = manifests.iter().filter(|manifest| Recipe::of(arm) == Some(manifest.recipe));
    let training = mean(adapters.map(|manifest| manifest.seconds));
    let answered = trials.iter().filter(|trial| trial.arm == arm);
    let latency = mean(answered.map(|trial| trial.latency_seconds));
    // After an edit, an arm with passages waits for the document to be indexed anew, one without
    // for new training.
    let freshness = match (arm.uses_retrieval(), arm.needs_adapter()) {
        (true, _) => Some(index.seconds_per_document + latency),
        (false, true) => Some(training + latency),
        (false, false) => None,
    };
    Costs {
        training_seconds: training,
        index_seconds: if arm.uses_retrieval() { index.seconds } else { 0.0 },
        freshness_seconds: freshness,
        ..Costs::new(arm)
    }
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}
