//! The clustered bootstrap (Efron 1979; Field and Welsh 2007 for clusters).
//!
//! Questions about one source document are right or wrong together, so whole clusters of questions
//! are drawn with replacement, not single questions. Where an arm was trained with several seeds,
//! those are drawn with replacement too. The spread of the resampled means gives the interval.
//!
//! The same seed and rows give the same bits, in whatever order the rows come.

use std::collections::BTreeMap;

use super::interval::Interval;
use super::normal::normal_cdf;
use super::random::Random;
use super::student::student_quantile;

/// Settings of the bootstrap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Two-sided level: 0.05 gives 95 % intervals.
    pub alpha: f64,
    /// Resamples drawn.
    pub resamples: usize,
    /// Seed, to be reported beside the interval.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { alpha: 0.05, resamples: 10_000, seed: 20_260_101 }
    }
}

/// One question: its cluster and its scores, one per training seed, under one side or two.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// What the question shares with others (source document).
    pub cluster: &'a str,
    /// Scores under `a`, one per seed; every row has as many.
    pub a: Vec<f64>,
    /// Scores under `b`, one per seed; empty for the mean of one arm.
    pub b: Vec<f64>,
}

/// What the bootstrap found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    /// The estimate (mean of `a`, or of `a - b`) with its bounds.
    pub interval: Interval,
    /// Standard deviation of the resampled estimates.
    pub standard_error: f64,
    /// Two-sided p-value of "the true value is 0": `2 min(share <= 0, share >= 0)`, with the usual
    /// +1 so that it is never 0.
    pub p: f64,
    /// Clusters resampled.
    pub clusters: usize,
}

/// Per cluster: number of questions, and sums of scores per seed.
struct Cluster {
    questions: f64,
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Bootstrap {
    /// Resamples clusters with replacement, and within an arm of several seeds also its seeds.
    ///
    /// The estimate is the mean over questions (not over clusters). Both sides of a pair stay
    /// together. With fewer than two clusters nothing can be said: the bounds are those of the
    /// scale, the p-value is 1.
    pub fn run(&self, rows: &[Row<'_>]) -> Resampled {
        let paired = rows.iter().any(|row| !row.b.is_empty());
        let scale = if paired { (-1.0, 1.0) } else { (0.0, 1.0) };
        let clusters = gather(rows);
        if clusters.len() < 2 {
            let estimate = if rows.is_empty() { 0.0 } else { mean(&clusters) };
            let interval = Interval { estimate, lower: scale.0, upper: scale.1 };
            return Resampled {
                interval,
                standard_error: f64::MAX,
                p: 1.0,
                clusters: clusters.len(),
            };
        }

        let estimate = mean(&clusters);
        let mut draws = self.draw(&clusters);
        draws.sort_by(f64::total_cmp);
        let average = draws.iter().sum::<f64>() / draws.len() as f64;
        let spread =
            draws.iter().map(|draw| (draw - average).powi(2)).sum::<f64>() / draws.len() as f64;

        let (low, high) = self.expanded_tails(clusters.len());
        let interval = Interval {
            estimate,
            lower: quantile(&draws, low).min(estimate),
            upper: quantile(&draws, high).max(estimate),
        };

        let below = draws.partition_point(|draw| *draw <= 0.0);
        let above = draws.len() - draws.partition_point(|draw| *draw < 0.0);
        let p = 2.0 * (below.min(above) + 1) as f64 / (draws.len() + 1) as f64;
        Resampled {
            interval: interval.clamped(scale.0, scale.1),
            standard_error: spread.sqrt(),
            p: p.min(1.0),
            clusters: clusters.len(),
        }
    }

    /// Mean of one arm with one seed: `values` are (cluster, score).
    pub fn mean(&self, values: &[(&str, f64)]) -> Resampled {
        let rows: Vec<_> =
            values.iter().map(|(cluster, a)| Row { cluster, a: vec![*a], b: Vec::new() }).collect();
        self.run(&rows)
    }

    /// Mean paired difference `a - b` of two arms with one seed each: `values` are (cluster, a, b).
    pub fn paired_difference(&self, values: &[(&str, f64, f64)]) -> Resampled {
        let rows: Vec<_> = values
            .iter()
            .map(|(cluster, a, b)| Row { cluster, a: vec![*a], b: vec![*b] })
            .collect();
        self.run(&rows)
    }

    /// The mean of each resample, in the order drawn.
    fn draw(&self, clusters: &[Cluster]) -> Vec<f64> {
        let mut random = Random::new(self.seed);
        let (seeds_a, seeds_b) = (clusters[0].a.len(), clusters[0].b.len());
        let mut weights_a = vec![1.0 / seeds_a.max(1) as f64; seeds_a];
        let mut weights_b = vec![1.0 / seeds_b.max(1) as f64; seeds_b];
        // One seed on either side: a cluster is two numbers, and the inner loop needs no weights.
        let single = (seeds_a <= 1 && seeds_b <= 1).then(|| {
            let sum = |scores: &[f64]| scores.first().copied().unwrap_or(0.0);
            clusters.iter().map(|c| (c.questions, sum(&c.a) - sum(&c.b))).collect::<Vec<_>>()
        });
        (0..self.resamples.max(1))
            .map(|_| {
                let (mut questions, mut total) = (0.0, 0.0);
                if let Some(pairs) = &single {
                    for _ in 0..pairs.len() {
                        let (count, sum) = pairs[random.below(pairs.len())];
                        questions += count;
                        total += sum;
                    }
                } else {
                    resample_weights(&mut random, &mut weights_a);
                    resample_weights(&mut random, &mut weights_b);
                    for _ in 0..clusters.len() {
                        let cluster = &clusters[random.below(clusters.len())];
                        questions += cluster.questions;
                        total += dot(&cluster.a, &weights_a) - dot(&cluster.b, &weights_b);
                    }
                }
                total / questions
            })
            .collect()
    }

    /// The shares of draws below the lower and the upper bound: percentiles, moved outward for few
    /// clusters (Hesterberg 2015). With `G` clusters the tail is `Phi(-t sqrt(G / (G - 1)))`, where
    /// `t` is the Student quantile of `G - 1` degrees. Plain percentiles of 20 clusters cover some
    /// 92 % where they claim 95 %.
    fn expanded_tails(&self, clusters: usize) -> (f64, f64) {
        let g = clusters as f64;
        let t = student_quantile(1.0 - self.alpha / 2.0, g - 1.0);
        let tail = normal_cdf(-t * (g / (g - 1.0)).sqrt());
        (tail, 1.0 - tail)
    }
}

/// Groups rows by cluster name, in name order so that the outcome does not depend on the order of
/// the rows.
fn gather(rows: &[Row<'_>]) -> Vec<Cluster> {
    let mut clusters: BTreeMap<&str, Cluster> = BTreeMap::new();
    for row in rows {
        let cluster = clusters.entry(row.cluster).or_insert_with(|| Cluster {
            questions: 0.0,
            a: vec![0.0; row.a.len()],
            b: vec![0.0; row.b.len()],
        });
        cluster.questions += 1.0;
        cluster.a.iter_mut().zip(&row.a).for_each(|(sum, score)| *sum += score);
        cluster.b.iter_mut().zip(&row.b).for_each(|(sum, score)| *sum += score);
    }
    clusters.into_values().collect()
}

/// Mean over all questions, seeds averaged.
fn mean(clusters: &[Cluster]) -> f64 {
    let average = |sums: &[f64]| sums.iter().sum::<f64>() / sums.len().max(1) as f64;
    let (questions, total) = clusters.iter().fold((0.0, 0.0), |(questions, total), cluster| {
        (questions + cluster.questions, total + average(&cluster.a) - average(&cluster.b))
    });
    total / questions
}

/// Draws as many seeds as there are, with replacement; weights sum to 1.
fn resample_weights(random: &mut Random, weights: &mut [f64]) {
    let seeds = weights.len();
    weights.fill(0.0);
    for _ in 0..seeds {
        weights[random.below(seeds)] += 1.0 / seeds as f64;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Linear interpolation between order statistics (R's type 7).
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let position = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let index = position as usize;
    let next = (index + 1).min(sorted.len() - 1);
    sorted[index] + (position - index as f64) * (sorted[next] - sorted[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("d{i:03}")).collect()
    }

    /// Coverage of the true mean difference (0.2) over 300 simulated data sets whose clusters share
    /// an effect.
    fn coverage(groups: usize, per_group: usize) -> f64 {
        let names = names(groups);
        let mut random = Random::new(3);
        let runs = 300;
        let covered = (0..runs)
            .filter(|run| {
                let mut values = Vec::new();
                for name in &names {
                    let shared = random.normal() * 0.15;
                    for _ in 0..per_group {
                        values.push((name.as_str(), 0.2 + shared + 0.2 * random.normal(), 0.0));
                    }
                }
                let bootstrap = Bootstrap { resamples: 500, seed: *run, ..Bootstrap::default() };
                bootstrap.paired_difference(&values).interval.contains(0.2)
            })
            .count();
        covered as f64 / runs as f64
    }

    #[test]
    fn covers_what_it_claims_though_clusters_are_few() {
        for groups in [10, 40] {
            let found = coverage(groups, 5);
            assert!((0.915..=0.985).contains(&found), "{groups} clusters: {found}");
        }
    }

    #[test]
    fn clustering_widens() {
        let names = names(20);
        let values: Vec<_> = (0..200)
            .map(|i| (names[i / 10].as_str(), f64::from(u8::from(i / 10 % 2 == 0))))
            .collect();
        let alone: Vec<String> = (0..200).map(|i| i.to_string()).collect();
        let independent: Vec<_> =
            values.iter().zip(&alone).map(|((_, v), name)| (name.as_str(), *v)).collect();
        let bootstrap = Bootstrap { resamples: 2000, ..Bootstrap::default() };
        let (wide, narrow) = (bootstrap.mean(&values), bootstrap.mean(&independent));
        assert!(wide.standard_error > 2.5 * narrow.standard_error);
        // Standard error of a share: sqrt(0.25 / 200).
        assert!((narrow.standard_error - 0.0354).abs() < 0.002, "{}", narrow.standard_error);
    }

    #[test]
    fn seeds_add_their_variance() {
        let names = names(100);
        let one: Vec<_> =
            names.iter().map(|n| Row { cluster: n, a: vec![0.5, 0.5], b: vec![0.5] }).collect();
        let two: Vec<_> =
            names.iter().map(|n| Row { cluster: n, a: vec![0.3, 0.7], b: vec![0.5] }).collect();
        let bootstrap = Bootstrap { resamples: 1000, ..Bootstrap::default() };
        let (steady, shaky) = (bootstrap.run(&one), bootstrap.run(&two));
        assert_eq!(steady.interval.estimate, 0.0);
        assert_eq!((steady.interval.lower, steady.interval.upper), (0.0, 0.0));
        assert!(shaky.interval.lower < -0.15 && shaky.interval.upper > 0.15, "{shaky:?}");
    }

    #[test]
    fn order_of_rows_and_repetition_change_nothing() {
        let names = names(12);
        let mut values: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), (i % 5) as f64 / 5.0, 0.3))
            .collect();
        let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
        let first = bootstrap.paired_difference(&values);
        values.reverse();
        assert_eq!(bootstrap.paired_difference(&values), first);
    }

    #[test]
    fn one_cluster_says_nothing() {
        let found = Bootstrap::default().paired_difference(&[("a", 1.0, 0.0), ("a", 1.0, 0.0)]);
        assert_eq!((found.interval.lower, found.interval.upper, found.p), (-1.0, 1.0, 1.0));
        assert_eq!(Bootstrap::default().mean(&[]).interval.estimate, 0.0);
    }

    #[test]
    fn p_of_a_clear_difference_is_small() {
        let names = names(60);
        let values: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), 0.4 + 0.01 * i as f64, 0.3))
            .collect();
        let found = Bootstrap { resamples: 999, ..Bootstrap::default() }.paired_difference(&values);
        assert!((found.p - 0.002).abs() < 1e-9, "{}", found.p);
    }
}
