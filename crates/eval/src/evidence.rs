//! Trials as a table (question x system x seed), and the paired comparisons read off it.

use std::collections::{BTreeMap, BTreeSet};

use crate::contrast::Contrast;
use crate::stats::{Interval, Paired, PairedTest, Row, Trained};
use crate::trial::RIGHT;
use crate::{Error, System, Trial};

/// A difference of scores below this is rounding, and counts for neither side.
const ROUNDING: f64 = 1e-12;

/// The trials of one question set.
pub(crate) struct Table<'a> {
    /// Question -> cluster.
    pub(crate) clusters: BTreeMap<&'a str, &'a str>,
    systems: BTreeMap<System, Column<'a>>,
    /// Every score is 0 or 1, so that the tests for right/wrong data apply.
    pub(crate) right_wrong: bool,
    /// Questions that every system which may be recommended has a grade for. Arms are compared on
    /// these alone: a system that lacks the hard questions would look better than it is.
    shared: BTreeSet<&'a str>,
}

/// The trials of one system.
pub(crate) struct Column<'a> {
    pub(crate) seeds: BTreeSet<u64>,
    pub(crate) trials: Vec<&'a Trial>,
    /// Question -> seed -> score, graded trials only.
    scores: BTreeMap<&'a str, BTreeMap<u64, f64>>,
}

impl<'a> Table<'a> {
    /// Refuses scores outside 0..=1, a question in two clusters, and two trials of one system,
    /// question and seed.
    pub(crate) fn new(trials: &'a [Trial]) -> Result<Self, Error> {
        let mut table = Self {
            clusters: BTreeMap::new(),
            systems: BTreeMap::new(),
            right_wrong: true,
            shared: BTreeSet::new(),
        };
        let mut seen = BTreeSet::new();
        for trial in trials {
            if table
                .clusters
                .insert(&trial.qid, &trial.cluster)
                .is_some_and(|other| other != trial.cluster)
            {
                return Err(Error::Cluster { qid: trial.qid.clone() });
            }
            if !seen.insert((trial.system, trial.qid.as_str(), trial.seed)) {
                return Err(Error::DuplicateTrial {
                    system: trial.system,
                    qid: trial.qid.clone(),
                    seed: trial.seed,
                });
            }
            let column = table.systems.entry(trial.system).or_insert_with(|| Column {
                seeds: BTreeSet::new(),
                trials: Vec::new(),
                scores: BTreeMap::new(),
            });
            column.seeds.insert(trial.seed);
            column.trials.push(trial);
            if let Some(score) = trial.score {
                if !(0.0..=1.0).contains(&score) {
                    return Err(Error::Score {
                        system: trial.system,
                        qid: trial.qid.clone(),
                        score,
                    });
                }
                table.right_wrong &= score == 0.0 || score == 1.0;
                column.scores.entry(&trial.qid).or_default().insert(trial.seed, score);
            }
        }
        table.shared = table.graded_by_all();
        Ok(table)
    }

    fn graded_by_all(&self) -> BTreeSet<&'a str> {
        let candidates: Vec<&Column<'a>> = (self.systems.iter())
            .filter(|(system, column)| !system.is_diagnostic() && !column.scores.is_empty())
            .map(|(_, column)| column)
            .collect();
        // Without candidates (diagnostic systems alone) nothing limits the questions.
        if candidates.is_empty() {
            return self
                .systems
                .values()
                .flat_map(|column| column.scores.keys().copied())
                .collect();
        }
        let first = candidates[0].scores.keys().copied();
        first
            .filter(|qid| candidates.iter().all(|column| column.scores.contains_key(qid)))
            .collect()
    }

    /// Arms with at least one graded trial, in order of display.
    pub(crate) fn systems(&self) -> impl Iterator<Item = System> + '_ {
        self.systems
            .iter()
            .filter(|(_, column)| !column.scores.is_empty())
            .map(|(system, _)| *system)
    }

    pub(crate) fn column(&self, system: impl Into<System>) -> Option<&Column<'a>> {
        self.systems.get(&system.into()).filter(|column| !column.scores.is_empty())
    }

    /// Mean score of one question over the seeds of a system; `None` when no trial was graded.
    pub(crate) fn score(&self, system: impl Into<System>, qid: &str) -> Option<f64> {
        self.column(system)?.scores.get(qid).map(average)
    }

    /// Right or wrong, by the mean over seeds.
    pub(crate) fn right(&self, system: impl Into<System>, qid: &str) -> Option<bool> {
        self.score(system, qid).map(|score| score >= RIGHT)
    }

    /// Questions graded under a system.
    pub(crate) fn questions(
        &self,
        system: impl Into<System>,
    ) -> impl Iterator<Item = &'a str> + '_ {
        self.column(system).into_iter().flat_map(|column| column.scores.keys().copied())
    }

    /// Questions that systems are compared on, and the clusters they fall into.
    pub(crate) fn size(&self) -> (usize, usize) {
        let clusters: BTreeSet<&str> =
            self.shared.iter().filter_map(|qid| self.clusters.get(qid).copied()).collect();
        (self.shared.len(), clusters.len())
    }

    /// The shared questions of each slice.
    pub(crate) fn slices<'s>(
        &self,
        of: &'s BTreeMap<String, String>,
    ) -> BTreeMap<&'s str, BTreeSet<&'a str>> {
        let mut slices: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for qid in &self.shared {
            if let Some(slice) = of.get(*qid) {
                slices.entry(slice).or_default().insert(qid);
            }
        }
        slices
    }

    /// Questions that some system has a grade for and not every candidate.
    pub(crate) fn unshared(&self) -> usize {
        let graded: BTreeSet<&str> =
            self.systems.values().flat_map(|column| column.scores.keys().copied()).collect();
        graded.len().saturating_sub(self.shared.len())
    }

    /// Mean score of a system over the shared questions.
    pub(crate) fn mean(&self, system: impl Into<System>, test: &PairedTest) -> Option<Paired> {
        self.mean_over(system, test, |_| true)
    }

    /// The same over the shared questions that are `wanted`.
    pub(crate) fn mean_over(
        &self,
        system: impl Into<System>,
        test: &PairedTest,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Paired> {
        let system = system.into();
        let column = self.column(system)?;
        let rows: Vec<_> = (column.scores.iter())
            .filter(|(qid, _)| self.shared.contains(*qid) && wanted(qid))
            .map(|(qid, scores)| Row {
                cluster: self.clusters[qid],
                a: column.filled(scores),
                b: Vec::new(),
            })
            .collect();
        let trained = if system.is_trained() { Trained::A } else { Trained::Neither };
        (!rows.is_empty()).then(|| test.run(&rows, trained, self.right_wrong))
    }

    /// The paired difference `a - b` over the shared questions graded under both; `None` when there
    /// are none. `p_holm` is left at `p` until the family is known.
    ///
    /// Scores are averaged over seeds before a question counts for one side or the other. Where a
    /// seed has no graded trial on a question, the question's mean over the other seeds stands in.
    pub(crate) fn contrast(
        &self,
        a: impl Into<System>,
        b: impl Into<System>,
        test: &PairedTest,
    ) -> Option<Contrast> {
        let (a, b) = (a.into(), b.into());
        let (left, right) = (self.column(a)?, self.column(b)?);
        let rows: Vec<_> = (left.scores.iter())
            .filter(|(qid, _)| self.shared.contains(*qid))
            .filter_map(|(qid, scores)| {
                let other = right.scores.get(qid)?;
                Some(Row {
                    cluster: self.clusters[qid],
                    a: left.filled(scores),
                    b: right.filled(other),
                })
            })
            .collect();
        if rows.is_empty() {
            return None;
        }
        let n = rows.len() as f64;
        let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
        let differences: Vec<f64> = rows.iter().map(|row| mean(&row.a) - mean(&row.b)).collect();
        let count = |side: f64| differences.iter().filter(|d| **d * side > ROUNDING).count();
        let (a_better, b_better) = (count(1.0), count(-1.0));

        let found = test.run(&rows, self.trained(a, b), self.right_wrong);
        let discordance = differences.iter().map(|d| d * d).sum::<f64>() / n;
        let independent = (discordance - found.interval.estimate.powi(2)) / n;
        let design_effect =
            if independent > 0.0 { found.question_error.powi(2) / independent } else { 1.0 };
        Some(Contrast {
            a,
            b,
            questions: rows.len(),
            difference: found.interval,
            a_better,
            b_better,
            discordance,
            standard_error: found.standard_error,
            p: found.p,
            p_holm: found.p,
            design_effect: design_effect.max(1.0),
        })
    }

    /// The difference `a - b` alone.
    pub(crate) fn difference(
        &self,
        a: impl Into<System>,
        b: impl Into<System>,
        test: &PairedTest,
    ) -> Option<Interval> {
        self.contrast(a, b, test).map(|contrast| contrast.difference)
    }

    /// Scores of these systems, averaged over seeds, on every shared question: (cluster, one score
    /// a system).
    pub(crate) fn joint_scores(&self, systems: &[System]) -> Vec<(&'a str, Vec<f64>)> {
        let scores = |qid: &&'a str| {
            let each: Option<Vec<f64>> =
                systems.iter().map(|system| self.score(*system, qid)).collect();
            each.map(|scores| (self.clusters[qid], scores))
        };
        self.shared.iter().filter_map(scores).collect()
    }

    /// Which sides another training would have changed. Two systems that answer with the same
    /// adapters (`raft` and `raft+oracle`) share their luck, seed by seed.
    fn trained(&self, a: System, b: System) -> Trained {
        let seeds = |system: System| self.column(system).map(|column| &column.seeds);
        match (a.is_trained(), b.is_trained()) {
            (false, false) => Trained::Neither,
            (true, false) => Trained::A,
            (false, true) => Trained::B,
            (true, true) => {
                let same = a.adapter() == b.adapter();
                if same && seeds(a) == seeds(b) { Trained::Together } else { Trained::Both }
            }
        }
    }
}

impl Column<'_> {
    /// One score per seed of the system, in seed order.
    fn filled(&self, scores: &BTreeMap<u64, f64>) -> Vec<f64> {
        let substitute = average(scores);
        self.seeds.iter().map(|seed| scores.get(seed).copied().unwrap_or(substitute)).collect()
    }

    /// Questions with a graded trial.
    pub(crate) fn graded(&self) -> usize {
        self.scores.len()
    }

    /// Mean score of each seed.
    pub(crate) fn seed_means(&self) -> Vec<f64> {
        let of = |seed: &u64| {
            let scores: Vec<f64> =
                self.scores.values().filter_map(|scores| scores.get(seed).copied()).collect();
            (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
        };
        self.seeds.iter().filter_map(of).collect()
    }
}

fn average(scores: &BTreeMap<u64, f64>) -> f64 {
    scores.values().sum::<f64>() / scores.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;

    fn trial(system: Arm, qid: &str, seed: u64, score: Option<f64>) -> Trial {
        Trial { qid: qid.into(), cluster: qid.into(), seed, score, ..Trial::new(system) }
    }

    #[test]
    fn a_failed_grader_is_missing_and_never_zero() {
        let mut trials = vec![trial(Arm::Rag, "lost", 0, None)];
        for i in 0..20 {
            trials.push(trial(Arm::Rag, &format!("q{i}"), 0, Some(1.0)));
            trials.push(trial(Arm::Base, &format!("q{i}"), 0, Some(1.0)));
        }
        trials.push(trial(Arm::Base, "lost", 0, Some(1.0)));
        let table = Table::new(&trials).unwrap();
        let test = PairedTest::default();
        assert_eq!(table.mean(Arm::Rag, &test).unwrap().interval.estimate, 1.0);
        let contrast = table.contrast(Arm::Rag, Arm::Base, &test).unwrap();
        assert_eq!((contrast.questions, contrast.difference.estimate), (20, 0.0));
        // The question that only one of them was graded on is compared on by none.
        assert_eq!((table.size(), table.unshared()), ((20, 20), 1));
    }

    #[test]
    fn agreement_on_few_questions_proves_little() {
        let trials: Vec<_> = (0..30)
            .flat_map(|i| {
                [Arm::Rag, Arm::Base].map(|system| trial(system, &format!("q{i}"), 0, Some(1.0)))
            })
            .collect();
        let table = Table::new(&trials).unwrap();
        let contrast = table.contrast(Arm::Rag, Arm::Base, &PairedTest::default()).unwrap();
        assert!(contrast.difference.lower < -0.1 && contrast.difference.upper > 0.1);
        assert_eq!((contrast.p, contrast.discordance, contrast.design_effect), (1.0, 0.0, 1.0));
        assert!(table.mean(Arm::Rag, &PairedTest::default()).unwrap().interval.lower < 0.9);
    }

    #[test]
    fn seeds_are_averaged_and_gaps_filled_from_the_others() {
        let trials = [
            trial(Arm::Tuned, "q", 1, Some(1.0)),
            trial(Arm::Tuned, "q", 2, Some(0.0)),
            trial(Arm::Tuned, "r", 1, Some(1.0)),
            trial(Arm::Tuned, "r", 2, None),
        ];
        let table = Table::new(&trials).unwrap();
        assert_eq!(table.score(Arm::Tuned, "q"), Some(0.5));
        assert_eq!(table.right(Arm::Tuned, "r"), Some(true));
        let mean = table.mean(Arm::Tuned, &PairedTest::default()).unwrap();
        assert_eq!(mean.interval.estimate, 0.75);
        assert_eq!(table.column(Arm::Tuned).unwrap().seed_means(), [1.0, 0.0]);
    }

    #[test]
    fn contradictions_are_refused() {
        let same = trial(Arm::Rag, "q", 0, Some(1.0));
        let twice = [same.clone(), same.clone()];
        assert!(matches!(Table::new(&twice), Err(Error::DuplicateTrial { .. })));
        let moved = [
            same.clone(),
            Trial { system: Arm::Base.into(), cluster: "other".into(), ..same.clone() },
        ];
        assert!(matches!(Table::new(&moved), Err(Error::Cluster { .. })));
        let odd = [Trial { score: Some(f64::NAN), ..same }];
        assert!(matches!(Table::new(&odd), Err(Error::Score { .. })));
    }
}
