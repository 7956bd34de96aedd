//! One procedure for the mean of a system and for the difference of two: interval and p-value from
//! the same standard error and the same degrees of freedom.
//!
//! Two sources of luck enter, each with degrees of freedom of its own:
//!
//! - **Questions**: scores are averaged over training seeds, and the variance of their mean is that
//!   of the delete-one-cluster jackknife with `G - 1` degrees (Efron and Stein 1981; Cameron and
//!   Miller 2015 on few clusters).
//! - **Training**: another seed would have given another adapter. The variance between seeds, over
//!   their number, is moderated by what is known of that luck beforehand, as is done where a few
//!   repeats of many experiments are judged (Smyth 2004): `(d0 s0^2 + (S - 1) s^2) / (d0 + S - 1)`.
//!   One seed therefore has an interval, too, which rests on what is known alone, and another seed
//!   never costs power.
//!
//! Satterthwaite (1946) gives the sum its degrees of freedom.

use std::collections::BTreeMap;

use super::{Interval, Row, mcnemar_exact, student_cdf, student_quantile, tango, wilson};

/// What is known beforehand of the luck of training: how far two trainings on the same pairs, with
/// other seeds, lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Luck {
    /// Standard deviation of the true score over seeds, 0..1.
    pub deviation: f64,
    /// How much that weighs against the seeds at hand, in degrees of freedom.
    pub freedom: f64,
}

impl Luck {
    /// Five points, weighing as much as nine seeds: above what was measured on the example and
    /// public sets (docs/log.md), so that one seed claims too little and not too much.
    pub const KNOWN: Self = Self { deviation: 0.05, freedom: 8.0 };

    /// Standard deviation over seeds, these measured ones weighed against what is known.
    pub fn moderated(&self, means: &[f64]) -> f64 {
        (self.variance(means).variance * means.len() as f64).sqrt()
    }

    /// Variance of the mean over these seeds, and its degrees of freedom.
    fn variance(&self, means: &[f64]) -> Part {
        let seeds = means.len() as f64;
        let centre = means.iter().sum::<f64>() / seeds;
        let squares: f64 = means.iter().map(|mean| (mean - centre).powi(2)).sum();
        let freedom = self.freedom + seeds - 1.0;
        let moderated = (self.freedom * self.deviation.powi(2) + squares) / freedom;
        Part { variance: moderated / seeds, freedom }
    }
}

/// How intervals and p-values are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// Two-sided level: 0.05 gives 95 % intervals.
    pub alpha: f64,
    /// The luck of training.
    pub luck: Luck,
}

impl Default for PairedTest {
    fn default() -> Self {
        Self { alpha: 0.05, luck: Luck::KNOWN }
    }
}

/// Which sides of a comparison were trained, so that other seeds would have given other scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// None.
    Neither,
    /// Side `a`.
    A,
    /// Side `b`.
    B,
    /// Both, each with adapters of its own.
    Both,
    /// Both with the same adapters: the luck of a seed is that of its difference.
    Together,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Mean of `a`, or of `a - b`, with its bounds.
    pub interval: Interval,
    /// Standard error of the estimate.
    pub standard_error: f64,
    /// The part of it that more questions would make smaller.
    pub question_error: f64,
    /// Degrees of freedom of the standard error.
    pub freedom: f64,
    /// Two-sided p-value of "the true value is 0"; 1 for the mean of one side.
    pub p: f64,
    /// Clusters the questions fall into.
    pub clusters: usize,
}

/// A source of variance.
#[derive(Debug, Clone, Copy)]
struct Part {
    variance: f64,
    freedom: f64,
}

impl PairedTest {
    /// The mean of `a`, or of `a - b` where rows have a second side. `right_wrong` says that every
    /// score is 0 or 1 for each seed.
    ///
    /// Where each question is a cluster, scores are right or wrong and nothing was trained, the
    /// exact procedures for such data take over: Wilson for a mean, Tango's interval and McNemar's
    /// exact test for a difference. With fewer than two clusters nothing can be said: the bounds
    /// are those of the scale, the p-value is 1.
    pub fn run(&self, rows: &[Row<'_>], trained: Trained, right_wrong: bool) -> Paired {
        let paired = rows.iter().any(|row| !row.b.is_empty());
        let (low, high) = if paired { (-1.0, 1.0) } else { (0.0, 1.0) };
        let values: Vec<(&str, f64)> =
            rows.iter().map(|row| (row.cluster, mean(&row.a) - mean(&row.b))).collect();
        let n = values.len() as f64;
        let estimate = values.iter().map(|(_, value)| value).sum::<f64>() / n.max(1.0);
        let (questions, clusters) = jackknife(&values, estimate);
        if clusters < 2 {
            let interval = Interval { estimate, lower: low, upper: high };
            return Paired {
                interval,
                standard_error: f64::MAX,
                question_error: 1.0,
                freedom: 1.0,
                p: 1.0,
                clusters,
            };
        }

        let (a, b) = (seed_means(rows, |row| &row.a), seed_means(rows, |row| &row.b));
        let mut parts = vec![questions];
        match trained {
            Trained::Neither => {}
            Trained::A => parts.push(self.luck.variance(&a)),
            Trained::B => parts.push(self.luck.variance(&b)),
            Trained::Both => parts.extend([&a, &b].map(|means| self.luck.variance(means))),
            Trained::Together => {
                let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
                parts.push(self.luck.variance(&differences));
            }
        }
        let total = sum(&parts);
        let standard_error = total.variance.sqrt();
        let t = student_quantile(1.0 - self.alpha / 2.0, total.freedom);
        let half = t * standard_error;
        let mut interval = Interval { estimate, lower: estimate - half, upper: estimate + half };
        let mut p = match paired {
            true => 2.0 * student_cdf(-(estimate / standard_error).abs(), total.freedom),
            false => 1.0,
        };

        let single = rows.iter().all(|row| row.a.len() <= 1 && row.b.len() <= 1);
        let exact = right_wrong && single && clusters == rows.len() && trained == Trained::Neither;
        if exact && paired {
            let count = |side: f64| values.iter().filter(|(_, value)| value * side > 0.5).count();
            let (better, worse) = (count(1.0), count(-1.0));
            interval = tango(better as f64, worse as f64, n, self.alpha);
            p = mcnemar_exact(better, worse);
        } else if exact {
            interval = wilson(estimate, n, self.alpha);
        } else if right_wrong && !paired {
            // Near 0 and 1 the t interval is too sure. Fewer questions than these are worth to a
            // mean whose variance was found: the design effect, at least 1.
            let independent = estimate * (1.0 - estimate) / n;
            let effect = (questions.variance / independent).max(1.0);
            let worth = if effect.is_finite() { n / effect } else { clusters as f64 };
            interval = interval.covering(wilson(estimate, worth, self.alpha));
        }
        Paired {
            interval: interval.clamped(low, high),
            standard_error,
            question_error: questions.variance.sqrt(),
            freedom: total.freedom,
            p,
            clusters,
        }
    }
}

/// Variance of the mean over questions when whole clusters are drawn: delete one cluster at a time.
///
/// It is never below `1 / (n G)`: where (nearly) all values agree, as many clusters prove no more.
fn jackknife(values: &[(&str, f64)], estimate: f64) -> (Part, usize) {
    let mut clusters: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (cluster, value) in values {
        let entry = clusters.entry(cluster).or_default();
        *entry = (entry.0 + 1.0, entry.1 + value);
    }
    let (n, g) = (values.len() as f64, clusters.len() as f64);
    let total = n * estimate;
    let without = || clusters.values().map(|(count, sum)| (total - sum) / (n - count));
    let centre = without().sum::<f64>() / g;
    let squares: f64 = without().map(|mean| (mean - centre).powi(2)).sum();
    let variance = ((g - 1.0) / g * squares).max(1.0 / (n * g));
    (Part { variance, freedom: (g - 1.0).max(1.0) }, clusters.len())
}

/// The sum of independent sources, its degrees of freedom by Satterthwaite, but no more than those
/// of the first source, the questions: few clusters whose variance came out small by chance would
/// otherwise borrow certainty from the luck of training.
fn sum(parts: &[Part]) -> Part {
    let variance: f64 = parts.iter().map(|part| part.variance).sum();
    let fourth: f64 = parts.iter().map(|part| part.variance.powi(2) / part.freedom).sum();
    let most = parts.first().map_or(1.0, |part| part.freedom);
    Part { variance, freedom: (variance * variance / fourth).min(most).max(1.0) }
}

fn seed_means<'r>(rows: &'r [Row<'_>], side: impl Fn(&'r Row<'_>) -> &'r Vec<f64>) -> Vec<f64> {
    let seeds = rows.first().map_or(0, |row| side(row).len());
    (0..seeds)
        .map(|seed| rows.iter().map(|row| side(row)[seed]).sum::<f64>() / rows.len() as f64)
        .collect()
}

fn mean(scores: &[f64]) -> f64 {
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f64>() / scores.len() as f64 }
}
