//! The rule that drops hopeless systems on dev, before the test split is opened, so that a long list of
//! candidates costs neither the time nor the power of the few that matter.

use serde::{Deserialize, Serialize};

use crate::evidence::Table;
use crate::stats::PairedTest;
use crate::{Error, Interval, System, Trial};

/// A system that is not asked the test questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    /// Which.
    pub system: System,
    /// Its mean score on dev.
    pub score: f64,
    /// The best system on dev.
    pub best: System,
    /// Its difference from the best on dev, with bounds that allow for the number of candidates.
    pub difference: Interval,
}

/// Systems that dev trials show to be worse than the best one by more than the margin.
///
/// Each is held against the best with the level shared among all (Bonferroni), as the best was chosen
/// by the same scores. Diagnostic arms and baselines are no candidates, and none is dropped.
///
/// # Errors
/// Those of contradictory trials.
pub fn prune(dev: &[Trial], margin: f64, alpha: f64) -> Result<Vec<Pruned>, Error> {
    let table = Table::new(dev)?;
    let candidates: Vec<System> = table.systems().filter(|s| !s.is_diagnostic()).collect();
    let level = alpha / candidates.len().saturating_sub(1).max(1) as f64;
    let test = PairedTest { alpha: level, ..PairedTest::default() };
    let mean = |system: System| table.mean(system, &test).map(|found| found.interval.estimate);
    let scored: Vec<(System, f64)> =
        candidates.into_iter().filter_map(|system| Some((system, mean(system)?))).collect();
    // Of equals the first in order of display.
    let best = scored.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(system, _)| *system);
    let Some(best) = best else { return Ok(Vec::new()) };
    let hopeless = |(system, score): &(System, f64)| {
        let difference = table.difference(*system, best, &test)?;
        (difference.upper < -margin).then_some(Pruned {
            system: *system,
            score: *score,
            best,
            difference,
        })
    };
    Ok(scored.iter().filter(|(system, _)| *system != best).filter_map(hopeless).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;
    use crate::stats::Random;

    fn trials(chances: &[(Arm, f64)], questions: usize, seed: u64) -> Vec<Trial> {
        let mut random = Random::new(seed);
        let mut trials = Vec::new();
        for index in 0..questions {
            for (arm, chance) in chances {
                trials.push(Trial {
                    qid: format!("q{index}"),
                    cluster: format!("q{index}"),
                    score: Some(f64::from(u8::from(random.unit() < *chance))),
                    ..Trial::new(*arm)
                });
            }
        }
        trials
    }

    #[test]
    fn what_is_far_behind_is_dropped_and_what_might_be_as_good_is_not() {
        let dev = trials(&[(Arm::Base, 0.05), (Arm::FewShot, 0.5), (Arm::Rag, 0.6)], 100, 1);
        let dropped: Vec<System> =
            prune(&dev, 0.1, 0.05).unwrap().iter().map(|pruned| pruned.system).collect();
        assert_eq!(dropped, [System::from(Arm::Base)]);
        assert!(prune(&dev[..12], 0.1, 0.05).unwrap().is_empty(), "four questions show nothing");
        assert!(prune(&[], 0.1, 0.05).unwrap().is_empty());
    }

    #[test]
    fn a_system_within_the_margin_is_dropped_in_at_most_5_percent_of_runs() {
        let chances = [(Arm::Base, 0.5), (Arm::FewShot, 0.5), (Arm::Rag, 0.6), (Arm::Oracle, 0.9)];
        let runs = 400;
        let wrong = (0..runs)
            .filter(|seed| !prune(&trials(&chances, 60, *seed), 0.1, 0.05).unwrap().is_empty());
        assert!(wrong.count() <= runs as usize / 20);
    }
}
