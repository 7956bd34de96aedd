//! Dev in two halves: one to choose the settings of retrieval by, the other to read the gate from.
//! On questions that settings were chosen by, these settings look better than they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::models::hash_bytes;
use crate::questions::Question;

/// With fewer dev questions, half of them would tell next to nothing: all are used for both.
const FEWEST: usize = 20;

/// The dev questions by what they are for.
pub(super) struct DevHalves {
    /// Questions that settings are chosen by.
    pub(super) choosing: Vec<Question>,
    /// Questions that the gate is read from.
    pub(super) gate: Vec<Question>,
    /// Both are all of dev.
    pub(super) shared: bool,
}

/// What the dev questions were used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevUse {
    /// Questions that settings were chosen by.
    pub choosing: usize,
    /// Questions that the gate was read from.
    pub gate: usize,
    /// These are the same questions: there are too few for halves, or they can't be parted.
    pub shared: bool,
}

impl DevHalves {
    /// Parts the dev questions of a set. Clusters stay whole, in the order of a hash of their
    /// names, so that the halves are the same each time; each goes to the smaller half.
    pub(super) fn of(dev: &[Question]) -> Self {
        let mut clusters: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let key = |question: &'_ Question| hash_bytes(question.cluster().as_bytes());
        for question in dev {
            *clusters.entry((key(question), question.cluster())).or_default() += 1;
        }
        let mut sizes = [0, 0];
        let mut half: BTreeMap<&str, usize> = BTreeMap::new();
        for ((_, cluster), questions) in clusters {
            let smaller = usize::from(sizes[1] < sizes[0]);
            sizes[smaller] += questions;
            half.insert(cluster, smaller);
        }
        if dev.len() < FEWEST || sizes.contains(&0) {
            return Self { choosing: dev.to_vec(), gate: dev.to_vec(), shared: true };
        }
        let (choosing, gate) =
            dev.iter().cloned().partition(|question| half[question.cluster()] == 0);
        Self { choosing, gate, shared: false }
    }

    /// All of dev for the gate, where there is nothing to choose.
    pub(super) fn undivided(dev: &[Question]) -> Self {
        Self { choosing: Vec::new(), gate: dev.to_vec(), shared: false }
    }

    pub(super) fn sizes(&self) -> DevUse {
        let Self { choosing, gate, shared } = self;
        DevUse { choosing: choosing.len(), gate: gate.len(), shared: *shared }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::compare::question;

    fn dev(questions: usize, per_cluster: usize) -> Vec<Question> {
        let of = |index: usize| Question {
            group: Some(format!("group {}", index / per_cluster)),
            ..question(&format!("q{index}"), "yes")
        };
        (0..questions).map(of).collect()
    }

    #[test]
    fn clusters_stay_whole_and_halves_are_even() {
        for per_cluster in [1, 3, 7] {
            let halves = DevHalves::of(&dev(42, per_cluster));
            let clusters = |questions: &[Question]| -> BTreeSet<String> {
                questions.iter().map(|question| question.cluster().to_owned()).collect()
            };
            assert!(clusters(&halves.choosing).is_disjoint(&clusters(&halves.gate)));
            assert_eq!(halves.choosing.len() + halves.gate.len(), 42);
            assert!(halves.choosing.len().abs_diff(halves.gate.len()) <= per_cluster);
            let again = DevHalves::of(&dev(42, per_cluster));
            assert_eq!(again.choosing, halves.choosing);
        }
    }

    #[test]
    fn few_questions_and_a_single_cluster_are_used_for_both() {
        for (questions, per_cluster) in [(19, 1), (40, 40)] {
            let sizes = DevHalves::of(&dev(questions, per_cluster)).sizes();
            assert_eq!(sizes, DevUse { choosing: questions, gate: questions, shared: true });
        }
    }
}
