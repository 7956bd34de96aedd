//! Trials as a table (question x arm x seed), and the paired comparisons read off it.

use std::collections::{BTreeMap, BTreeSet};

use crate::contrast::Contrast;
use crate::stats::{Bootstrap, Interval, Resampled, Row, mcnemar_exact, tango, wilson};
use crate::trial::RIGHT;
use crate::{Arm, Error, Trial};

/// A difference of scores below this is rounding, and counts for neither side.
const ROUNDING: f64 = 1e-12;
/// With fewer differing questions than this, the bootstrap of graded scores is not trusted alone:
/// it has next to nothing to resample.
const FEW_DIFFERENCES: usize = 10;

/// The trials of one question set.
pub(crate) struct Table<'a> {
    /// Question -> cluster.
    pub(crate) clusters: BTreeMap<&'a str, &'a str>,
    arms: BTreeMap<Arm, Column<'a>>,
    /// Every score is 0 or 1, so that the tests for right/wrong data apply.
    pub(crate) right_wrong: bool,
}

/// The trials of one arm.
pub(crate) struct Column<'a> {
    pub(crate) seeds: BTreeSet<u64>,
    pub(crate) trials: Vec<&'a Trial>,
    /// Question -> seed -> score, graded trials only.
    scores: BTreeMap<&'a str, BTreeMap<u64, f64>>,
}

impl<'a> Table<'a> {
    /// Refuses scores outside 0..=1, a question in two clusters, and two trials of one arm,
    /// question and seed.
    pub(crate) fn new(trials: &'a [Trial]) -> Result<Self, Error> {
        let mut table =
            Self { clusters: BTreeMap::new(), arms: BTreeMap::new(), right_wrong: true };
        let mut seen = BTreeSet::new();
        for trial in trials {
            if table
                .clusters
                .insert(&trial.qid, &trial.cluster)
                .is_some_and(|other| other != trial.cluster)
            {
                return Err(Error::Cluster { qid: trial.qid.clone() });
            }
            if !seen.insert((trial.arm, trial.qid.as_str(), trial.seed)) {
                return Err(Error::DuplicateTrial {
                    arm: trial.arm,
                    qid: trial.qid.clone(),
                    seed: trial.seed,
                });
            }
            let column = table.arms.entry(trial.arm).or_insert_with(|| Column {
                seeds: BTreeSet::new(),
                trials: Vec::new(),
                scores: BTreeMap::new(),
            });
            column.seeds.insert(trial.seed);
            column.trials.push(trial);
            if let Some(score) = trial.score {
                if !(0.0..=1.0).contains(&score) {
                    return Err(Error::Score { arm: trial.arm, qid: trial.qid.clone(), score });
                }
                table.right_wrong &= score == 0.0 || score == 1.0;
                column.scores.entry(&trial.qid).or_default().insert(trial.seed, score);
            }
        }
        Ok(table)
    }

    /// Arms with at least one graded trial, in order of display.
    pub(crate) fn arms(&self) -> impl Iterator<Item = Arm> + '_ {
        self.arms.iter().filter(|(_, column)| !column.scores.is_empty()).map(|(arm, _)| *arm)
    }

    pub(crate) fn column(&self, arm: Arm) -> Option<&Column<'a>> {
        self.arms.get(&arm).filter(|column| !column.scores.is_empty())
    }

    /// Mean score of one question over the seeds of an arm; `None` when no trial was graded.
    pub(crate) fn score(&self, arm: Arm, qid: &str) -> Option<f64> {
        self.column(arm)?.scores.get(qid).map(average)
    }

    /// Right or wrong, by the mean over seeds.
    pub(crate) fn right(&self, arm: Arm, qid: &str) -> Option<bool> {
        self.score(arm, qid).map(|score| score >= RIGHT)
    }

    /// Questions graded under an arm.
    pub(crate) fn questions(&self, arm: Arm) -> impl Iterator<Item = &'a str> + '_ {
        self.column(arm).into_iter().flat_map(|column| column.scores.keys().copied())
    }

    /// Distinct questions with a graded trial, and the clusters they fall into.
    pub(crate) fn size(&self) -> (usize, usize) {
        let graded: BTreeSet<&str> =
            self.arms.values().flat_map(|column| column.scores.keys().copied()).collect();
        let clusters: BTreeSet<&str> =
            graded.iter().filter_map(|qid| self.clusters.get(qid).copied()).collect();
        (graded.len(), clusters.len())
    }

    /// Mean score of an arm.
    ///
    /// The bootstrap alone gives too narrow an interval when nearly all answers agree. So for
    /// right/wrong data, and for scores that are all alike, the interval is widened to cover
    /// Wilson's too.
    pub(crate) fn mean(&self, arm: Arm, bootstrap: &Bootstrap) -> Option<Resampled> {
        let column = self.column(arm)?;
        let rows: Vec<_> = (column.scores.iter())
            .map(|(qid, scores)| Row {
                cluster: self.clusters[qid],
                a: column.filled(scores),
                b: Vec::new(),
            })
            .collect();
        let mut found = bootstrap.run(&rows);
        if self.right_wrong || found.standard_error == 0.0 {
            let share = wilson(found.interval.estimate, rows.len() as f64, bootstrap.alpha);
            found.interval = found.interval.covering(share);
        }
        Some(found)
    }

    /// The paired difference `a - b` over the questions graded under both; `None` when there are
    /// none. `p_holm` is left at `p` until the family is known.
    ///
    /// Scores are averaged over seeds before a question counts for one side or the other. Where a
    /// seed has no graded trial on a question, the question's mean over the other seeds stands in.
    /// Seeds of the two sides are resampled independently even where both arms share adapters,
    /// which can only widen the interval.
    ///
    /// For right/wrong data the interval covers both the clustered bootstrap and Tango's score
    /// interval: the first accounts for clusters and seeds, the second for how little few questions
    /// prove that all agree. For graded data the same is done while fewer than ten questions
    /// differ.
    pub(crate) fn contrast(&self, a: Arm, b: Arm, bootstrap: &Bootstrap) -> Option<Contrast> {
        let (left, right) = (self.column(a)?, self.column(b)?);
        let rows: Vec<_> = (left.scores.iter())
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

        let found = bootstrap.run(&rows);
        let mut interval = found.interval;
        if self.right_wrong {
            let part = |side: f64| differences.iter().map(|d| (d * side).max(0.0)).sum::<f64>();
            interval = interval.covering(tango(part(1.0), part(-1.0), n, bootstrap.alpha));
        } else if a_better + b_better < FEW_DIFFERENCES {
            interval =
                interval.covering(tango(a_better as f64, b_better as f64, n, bootstrap.alpha));
        }

        let p = if self.right_wrong { mcnemar_exact(a_better, b_better) } else { found.p };
        let discordance = differences.iter().map(|d| d * d).sum::<f64>() / n;
        let independent = (discordance - interval.estimate.powi(2)) / n;
        let design_effect = if independent > 0.0 {
            found.standard_error.min(1.0).powi(2) / independent
        } else {
            1.0
        };
        Some(Contrast {
            a,
            b,
            questions: rows.len(),
            difference: interval,
            a_better,
            b_better,
            discordance,
            p,
            p_holm: p,
            design_effect: design_effect.max(1.0),
        })
    }

    /// The difference `a - b` alone.
    pub(crate) fn difference(&self, a: Arm, b: Arm, bootstrap: &Bootstrap) -> Option<Interval> {
        self.contrast(a, b, bootstrap).map(|contrast| contrast.difference)
    }
}

impl Column<'_> {
    /// One score per seed of the arm, in seed order.
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

    fn trial(arm: Arm, qid: &str, seed: u64, score: Option<f64>) -> Trial {
        Trial { qid: qid.into(), cluster: qid.into(), seed, score, ..Trial::new(arm) }
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
        let bootstrap = Bootstrap { resamples: 100, ..Bootstrap::default() };
        assert_eq!(table.mean(Arm::Rag, &bootstrap).unwrap().interval.estimate, 1.0);
        let contrast = table.contrast(Arm::Rag, Arm::Base, &bootstrap).unwrap();
        assert_eq!((contrast.questions, contrast.difference.estimate), (20, 0.0));
        assert_eq!(table.size(), (21, 21));
    }

    #[test]
    fn agreement_on_few_questions_proves_little() {
        let trials: Vec<_> = (0..30)
            .flat_map(|i| {
                [Arm::Rag, Arm::Base].map(|arm| trial(arm, &format!("q{i}"), 0, Some(1.0)))
            })
            .collect();
        let table = Table::new(&trials).unwrap();
        let contrast = table.contrast(Arm::Rag, Arm::Base, &Bootstrap::default()).unwrap();
        assert!(contrast.difference.lower < -0.1 && contrast.difference.upper > 0.1);
        assert_eq!((contrast.p, contrast.discordance, contrast.design_effect), (1.0, 0.0, 1.0));
        assert!(table.mean(Arm::Rag, &Bootstrap::default()).unwrap().interval.lower < 0.9);
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
        let mean = table.mean(Arm::Tuned, &Bootstrap::default()).unwrap();
        assert_eq!(mean.interval.estimate, 0.75);
        assert_eq!(table.column(Arm::Tuned).unwrap().seed_means(), [1.0, 0.0]);
    }

    #[test]
    fn contradictions_are_refused() {
        let same = trial(Arm::Rag, "q", 0, Some(1.0));
        let twice = [same.clone(), same.clone()];
        assert!(matches!(Table::new(&twice), Err(Error::DuplicateTrial { .. })));
        let moved =
            [same.clone(), Trial { arm: Arm::Base, cluster: "other".into(), ..same.clone() }];
        assert!(matches!(Table::new(&moved), Err(Error::Cluster { .. })));
        let odd = [Trial { score: Some(f64::NAN), ..same }];
        assert!(matches!(Table::new(&odd), Err(Error::Score { .. })));
    }
}
