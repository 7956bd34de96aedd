//! Label tasks by label: confusion, precision, recall, and their macro-averaged F1.
//!
//! Macro-F1 is the plain mean of the F1 of the labels ("averaged F1", Opitz and Burst 2019), so
//! that a rare label counts as much as a frequent one. It is no mean over questions: a decision
//! rests on label accuracy, which is, and macro-F1 stands beside it with an interval of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::label;
use crate::stats::{Interval, Luck, student_quantile};

/// An answer of a label task.
#[derive(Debug, Clone, Copy)]
pub struct LabelAnswer<'a> {
    /// What the question shares with others that would be right or wrong together.
    pub cluster: &'a str,
    /// Training seed of the adapter; 0 without one.
    pub seed: u64,
    /// The answer as given, of which the first line is read.
    pub answer: &'a str,
    /// The labels accepted. Where there are several, the answer is held against the one it gives,
    /// else against the first.
    pub gold: &'a [String],
}

/// How a system did on a label task, label by label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// The labels that are gold on the questions at hand, in order of their names. Macro-F1 is the
    /// mean over these, so that it is the same mean for every system.
    pub labels: Vec<LabelScore>,
    /// How often which label was given for which. Over all seeds.
    pub confusion: Vec<Confused>,
    /// Answers, over all seeds.
    pub answers: usize,
    /// Answers that are no label at all.
    pub no_label: usize,
    /// Mean of the F1 of the labels, the mean over seeds, with its interval.
    pub macro_f1: Interval,
}

/// A label, over all seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    /// The label, as it is written where it first occurs.
    pub label: String,
    /// Answers whose gold label it is.
    pub gold: usize,
    /// Answers that give it.
    pub given: usize,
    /// Of these, those that are right.
    pub right: usize,
}

impl LabelScore {
    /// Share of the answers giving the label that are right; `None` where none gives it.
    pub fn precision(&self) -> Option<f64> {
        (self.given > 0).then(|| self.right as f64 / self.given as f64)
    }

    /// Share of the questions with this label that are answered with it.
    pub fn recall(&self) -> Option<f64> {
        (self.gold > 0).then(|| self.right as f64 / self.gold as f64)
    }

    /// Harmonic mean of precision and recall; 0 for a label that nobody gives.
    pub fn f1(&self) -> f64 {
        f1([self.gold, self.given, self.right].map(|count| count as f64))
    }
}

/// A cell of the confusion matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confused {
    /// The label asked for.
    pub gold: String,
    /// The label given; `None` for an answer that is no label.
    pub given: Option<String>,
    /// Answers.
    pub count: usize,
}

/// Gold, given and right answers of a label.
type Counts = [f64; 3];

fn f1([gold, given, right]: Counts) -> f64 {
    if gold + given == 0.0 { 0.0 } else { 2.0 * right / (gold + given) }
}

/// Figures of one system. `known` are all labels of the task, those of training included: an answer
/// that is none of them is no label. `trained` says that the system was fine-tuned, so that the
/// luck of training is part of the interval. `None` without answers.
///
/// The interval is that of the delete-one-cluster jackknife of macro-F1 itself with `G - 1` degrees
/// of freedom, as means have it; with fewer than two clusters it is all of 0..=1.
pub fn label_figures(
    answers: &[LabelAnswer<'_>],
    known: &[String],
    trained: bool,
    alpha: f64,
) -> Option<LabelFigures> {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let gold = answers.iter().flat_map(|answer| answer.gold);
    for name in known.iter().chain(gold) {
        names.entry(label(name)).or_insert(name.trim());
    }
    let read: Vec<Read<'_>> =
        answers.iter().filter_map(|answer| Read::of(answer, &names)).collect();
    if read.is_empty() {
        return None;
    }
    let asked: BTreeSet<&str> = read.iter().map(|read| read.gold.as_str()).collect();
    let places: BTreeMap<&str, usize> =
        asked.iter().zip(0..).map(|(name, at)| (*name, at)).collect();
    let name = |label: &str| names.get(label).map_or(label, |name| *name).to_owned();

    let mut cells: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    for read in &read {
        *cells.entry((&read.gold, read.given.as_deref())).or_default() += 1;
    }
    let confusion = cells
        .iter()
        .map(|((gold, given), count)| Confused {
            gold: name(gold),
            given: given.map(name),
            count: *count,
        })
        .collect();
    let total = |pick: &dyn Fn(&Read<'_>) -> bool| read.iter().filter(|read| pick(read)).count();
    let labels = asked
        .iter()
        .map(|label| LabelScore {
            label: name(label),
            gold: total(&|read| read.gold == *label),
            given: total(&|read| read.given.as_deref() == Some(label)),
            right: total(&|read| read.gold == *label && read.given.as_deref() == Some(label)),
        })
        .collect();
    Some(LabelFigures {
        labels,
        confusion,
        answers: read.len(),
        no_label: total(&|read| read.given.is_none()),
        macro_f1: Jackknife::new(&read, &places).interval(trained, alpha),
    })
}

/// An answer as labels.
struct Read<'a> {
    cluster: &'a str,
    seed: u64,
    gold: String,
    given: Option<String>,
}

impl<'a> Read<'a> {
    fn of(answer: &LabelAnswer<'a>, names: &BTreeMap<String, &str>) -> Option<Self> {
        let given = Some(label(answer.answer)).filter(|given| names.contains_key(given));
        let accepted: Vec<String> = answer.gold.iter().map(|gold| label(gold)).collect();
        let met = accepted.iter().find(|gold| Some(*gold) == given.as_ref());
        let gold = met.or(accepted.first())?.clone();
        Some(Self { cluster: answer.cluster, seed: answer.seed, gold, given })
    }
}

/// The counts of every seed and label, whole and by cluster.
struct Jackknife {
    /// Seed, then label.
    whole: Vec<Vec<Counts>>,
    /// Cluster -> (seed, label) -> counts.
    clusters: Vec<BTreeMap<(usize, usize), Counts>>,
    answers: usize,
}

impl Jackknife {
    fn new(read: &[Read<'_>], places: &BTreeMap<&str, usize>) -> Self {
        let seeds: BTreeSet<u64> = read.iter().map(|read| read.seed).collect();
        let seeds: BTreeMap<u64, usize> = seeds.into_iter().zip(0..).collect();
        let mut whole = vec![vec![[0.0; 3]; places.len()]; seeds.len()];
        let mut clusters: BTreeMap<&str, BTreeMap<(usize, usize), Counts>> = BTreeMap::new();
        for read in read {
            let (seed, cluster) = (seeds[&read.seed], clusters.entry(read.cluster).or_default());
            let mut add = |label: &str, part: usize| {
                // A label that is gold nowhere has no F1 of its own: giving it costs recall.
                if let Some(place) = places.get(label) {
                    whole[seed][*place][part] += 1.0;
                    cluster.entry((seed, *place)).or_default()[part] += 1.0;
                }
            };
            add(&read.gold, 0);
            if let Some(given) = &read.given {
                add(given, 1);
                if *given == read.gold {
                    add(given, 2);
                }
            }
        }
        Self { whole, clusters: clusters.into_values().collect(), answers: read.len() }
    }

    /// Macro-F1 of each seed without the answers of a cluster.
    fn without(&self, cluster: Option<&BTreeMap<(usize, usize), Counts>>) -> Vec<f64> {
        let of_seed = |(seed, labels): (usize, &Vec<Counts>)| {
            let (mut sum, mut count) = (0.0, 0.0);
            for (place, counts) in labels.iter().enumerate() {
                let out = cluster.and_then(|cluster| cluster.get(&(seed, place)));
                let out = out.copied().unwrap_or_default();
                let left = [0, 1, 2].map(|part| counts[part] - out[part]);
                // A label that went with the cluster is not asked for any more.
                if left[0] > 0.0 {
                    sum += f1(left);
                    count += 1.0;
                }
            }
            if count > 0.0 { sum / count } else { 0.0 }
        };
        self.whole.iter().enumerate().map(of_seed).collect()
    }

    fn interval(&self, trained: bool, alpha: f64) -> Interval {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let seeds = self.without(None);
        let (estimate, g) = (mean(&seeds), self.clusters.len() as f64);
        if self.clusters.len() < 2 {
            return Interval { estimate, lower: 0.0, upper: 1.0 };
        }
        let left: Vec<f64> =
            self.clusters.iter().map(|cluster| mean(&self.without(Some(cluster)))).collect();
        let centre = mean(&left);
        let squares: f64 = left.iter().map(|value| (value - centre).powi(2)).sum();
        let questions = self.answers as f64 / seeds.len() as f64;
        // As for means: where all agree, so many clusters prove no more.
        let variance = ((g - 1.0) / g * squares).max(1.0 / (questions * g));
        let (mut total, mut freedom) = (variance, g - 1.0);
        if trained {
            let luck = Luck::KNOWN.moderated(&seeds).powi(2) / seeds.len() as f64;
            let its = Luck::KNOWN.freedom + seeds.len() as f64 - 1.0;
            total = variance + luck;
            let fourth = variance.powi(2) / freedom + luck.powi(2) / its;
            freedom = (total.powi(2) / fourth).min(freedom).max(1.0);
        }
        let half = student_quantile(1.0 - alpha / 2.0, freedom) * total.sqrt();
        Interval { estimate, lower: (estimate - half).max(0.0), upper: (estimate + half).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn figures(pairs: &[(&str, &str)], known: &[&str]) -> LabelFigures {
        let gold: Vec<Vec<String>> = pairs.iter().map(|(_, gold)| owned(&[gold])).collect();
        let clusters: Vec<String> = (0..pairs.len()).map(|at| at.to_string()).collect();
        let answers: Vec<LabelAnswer<'_>> = (0..pairs.len())
            .map(|at| LabelAnswer {
                cluster: &clusters[at],
                seed: 0,
                answer: pairs[at].0,
                gold: &gold[at],
            })
            .collect();
        label_figures(&answers, &owned(known), false, 0.05).unwrap()
    }

    #[test]
    fn macro_f1_by_hand() {
        // a: P 1/2, R 1, F 2/3; b: P 1, R 1/2, F 2/3; c: never given, F 0.
        let found = figures(
            &[("a", "a"), ("A.\nbecause", "b"), ("b", "b"), ("I don't know", "c"), ("d", "c")],
            &["d", "a"],
        );
        assert!((found.macro_f1.estimate - 4.0 / 9.0).abs() < 1e-12);
        assert_eq!((found.answers, found.no_label), (5, 1));
        let labels: Vec<&str> = found.labels.iter().map(|label| label.label.as_str()).collect();
        assert_eq!(labels, ["a", "b", "c"], "d is gold nowhere");
        let a = &found.labels[0];
        assert_eq!((a.precision(), a.recall()), (Some(0.5), Some(1.0)));
        assert_eq!(found.labels[2].precision(), None);
        let cell = |gold: &str, given: Option<&str>| {
            let is_it = |cell: &&Confused| cell.gold == gold && cell.given.as_deref() == given;
            found.confusion.iter().find(is_it).map(|cell| cell.count)
        };
        assert_eq!(cell("b", Some("a")), Some(1));
        assert_eq!((cell("c", None), cell("c", Some("d"))), (Some(1), Some(1)));
        assert_eq!(found.confusion.iter().map(|cell| cell.count).sum::<usize>(), 5);
    }

    #[test]
    fn an_accepted_label_is_the_one_held_against() {
        let gold = owned(&["billing", "payment"]);
        let of = |answer| LabelAnswer { cluster: "c", seed: 0, answer, gold: &gold };
        let found = label_figures(&[of("Payment"), of("other")], &[], false, 0.05).unwrap();
        let right: Vec<(&str, usize)> =
            found.labels.iter().map(|label| (label.label.as_str(), label.right)).collect();
        assert_eq!(right, [("billing", 0), ("payment", 1)]);
        assert_eq!((found.macro_f1.lower, found.macro_f1.upper), (0.0, 1.0), "one cluster");
        assert!(label_figures(&[], &[], false, 0.05).is_none());
    }

    /// Answers of a world with eight labels, the rare ones harder, clusters of like difficulty.
    fn world(
        random: &mut Random,
        clusters: usize,
        per_cluster: usize,
    ) -> Vec<(usize, String, String)> {
        let mut all = Vec::new();
        for cluster in 0..clusters {
            let shift = 0.2 * (random.unit() - 0.5);
            for _ in 0..per_cluster {
                let gold = ((random.unit().powi(2) * 8.0) as usize).min(7);
                let right = random.unit() < 0.85 - 0.05 * gold as f64 + shift;
                let other = (random.unit() * 9.0) as usize;
                let given = if right { gold } else { other };
                all.push((cluster, format!("l{given}"), format!("l{gold}")));
            }
        }
        all
    }

    fn interval(world: &[(usize, String, String)]) -> Interval {
        let clusters: Vec<String> = world.iter().map(|row| row.0.to_string()).collect();
        let gold: Vec<Vec<String>> = world.iter().map(|row| vec![row.2.clone()]).collect();
        let answers: Vec<LabelAnswer<'_>> = world
            .iter()
            .enumerate()
            .map(|(at, row)| LabelAnswer {
                cluster: &clusters[at],
                seed: 0,
                answer: &row.1,
                gold: &gold[at],
            })
            .collect();
        label_figures(&answers, &[], false, 0.05).unwrap().macro_f1
    }

    #[test]
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        let mut random = Random::new(11);
        let truth = interval(&world(&mut random, 4000, 10)).estimate;
        for (clusters, per_cluster) in [(40, 5), (12, 25)] {
            let runs = 300;
            let covered = (0..runs)
                .filter(|_| {
                    let found = interval(&world(&mut random, clusters, per_cluster));
                    (found.lower..=found.upper).contains(&truth)
                })
                .count();
            let share = covered as f64 / f64::from(runs);
            assert!((0.91..=0.99).contains(&share), "{clusters} clusters: {share}");
        }
    }

    #[test]
    fn the_luck_of_training_widens_the_interval() {
        let gold = [owned(&["a"]), owned(&["b"])];
        let clusters: Vec<String> = (0..100).map(|at| at.to_string()).collect();
        let answers: Vec<LabelAnswer<'_>> = (0..300)
            .map(|at| {
                let question = at % 100;
                let answer = if question % 10 == 0 { "c" } else { ["a", "b"][question % 2] };
                let gold = &gold[question % 2];
                LabelAnswer { cluster: &clusters[question], seed: (at / 100) as u64, answer, gold }
            })
            .collect();
        let of = |trained| label_figures(&answers, &[], trained, 0.05).unwrap().macro_f1;
        let (plain, lucky) = (of(false), of(true));
        assert_eq!(plain.estimate, lucky.estimate);
        assert!(lucky.upper - lucky.lower > 1.2 * (plain.upper - plain.lower));
    }
}
