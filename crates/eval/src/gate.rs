//! The ceiling gate: has RAG stopped improving, so that fine-tuning is worth its price?

use serde::{Deserialize, Serialize};

use crate::attribute::{Attribution, Class, of_table};
use crate::evidence::Table;
use crate::figures::{percent, percent_interval, points_interval, size};
use crate::stats::Bootstrap;
use crate::{Arm, Error, Interval, Rule, Trial};

/// What the gate is measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateOptions {
    /// Differences below this (0..1) don't matter to the user.
    pub margin: f64,
    /// Score (0..1) the user needs; without one, everything below `1 - margin` leaves something to
    /// gain.
    pub target: Option<f64>,
    /// Dev scores of the retrieval configurations tried, in the order they were tried, if there was
    /// a sweep.
    pub sweep: Vec<f64>,
    /// How many last configurations must each have improved by less than `epsilon` over the best
    /// before them.
    pub last: usize,
    /// Smallest improvement that counts.
    pub epsilon: f64,
    /// Two-sided level of the intervals.
    pub alpha: f64,
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Bootstrap seed.
    pub seed: u64,
}

impl Default for GateOptions {
    /// Margin, target and statistics as in the decision's [`Rule`].
    fn default() -> Self {
        let Rule { margin, target, alpha, resamples, seed, .. } = Rule::default();
        Self { margin, target, sweep: Vec::new(), last: 3, epsilon: 0.01, alpha, resamples, seed }
    }
}

/// One of the three conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The condition as a statement.
    pub statement: String,
    /// The figures that were measured.
    pub measurement: String,
    /// Whether it holds.
    pub holds: bool,
}

/// The gate's verdict: open when all three conditions hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Fine-tuning is due.
    pub open: bool,
    /// Retrieval exhausted, target missed, errors that passages can't cure.
    pub conditions: Vec<Condition>,
    /// Dev questions graded under `rag`.
    pub questions: usize,
}

/// Reads the gate from dev trials: `rag`, and `oracle` for the first and third condition. `None`
/// without `rag`.
///
/// Refinements of the method page:
/// - Where no question names its evidence, there can be no oracle arm, and no retrieval can be
///   shown to help, so the headroom counts as none. Where evidence is named but the oracle arm was
///   not run, the first condition fails.
/// - Without a target, RAG is compared with `1 - margin`: below that there is something left to
///   gain.
/// - Before anything was fine-tuned, "reasoning-bound" can't be told from "data or capability
///   defect", so the third condition counts every error that the gold passage does not cure. Once a
///   fine-tuned arm was measured on dev, defects don't count.
pub fn gate(dev: &[Trial], options: &GateOptions) -> Result<Option<Gate>, Error> {
    let table = Table::new(dev)?;
    let bootstrap =
        Bootstrap { alpha: options.alpha, resamples: options.resamples, seed: options.seed };
    let (Some(rag), Some(attribution)) =
        (table.mean(Arm::Rag, &bootstrap), of_table(&table, &bootstrap))
    else {
        return Ok(None);
    };
    let conditions = vec![
        retrieval_exhausted(&attribution, options),
        target_missed(rag.interval, options),
        errors_left(&table, &attribution),
    ];
    let open = conditions.iter().all(|condition| condition.holds);
    Ok(Some(Gate { open, conditions, questions: attribution.questions }))
}

fn retrieval_exhausted(attribution: &Attribution, options: &GateOptions) -> Condition {
    let tried = options.sweep.len();
    let stalled = options.last > 0
        && tried > options.last
        && (tried - options.last..tried).all(|index| {
            let before = options.sweep[..index].iter().copied().fold(f64::MIN, f64::max);
            options.sweep[index] - before < options.epsilon
        });
    let (measurement, headroom) = match (attribution.retrieval, attribution.evidence_retrieved) {
        (Some(headroom), _) => (
            format!("oracle - rag: {}", points_interval(headroom)),
            headroom.upper < options.margin,
        ),
        (None, None) => (
            "no question names its evidence, so no retrieval can be shown to help".to_owned(),
            true,
        ),
        (None, Some(_)) => ("the oracle arm was not run".to_owned(), false),
    };
    let sweep = match (tried, stalled) {
        (0, _) => String::new(),
        (_, true) => format!(
            "; the last {} of {tried} retrieval settings gained less than {} points each",
            options.last,
            size(options.epsilon)
        ),
        (_, false) => {
            format!("; {tried} retrieval settings tried, still gaining or too few to tell")
        }
    };
    Condition {
        statement: format!("Better retrieval would gain less than {} points", size(options.margin)),
        measurement: measurement + &sweep,
        holds: headroom || stalled,
    }
}

fn target_missed(rag: Interval, options: &GateOptions) -> Condition {
    let (target, name) = match options.target {
        Some(target) => (target, format!("the target of {}", percent(target))),
        None => (
            1.0 - options.margin,
            format!(
                "{} (no target given: full marks less the margin)",
                percent(1.0 - options.margin)
            ),
        ),
    };
    Condition {
        statement: format!("RAG stays below {name}"),
        measurement: format!("rag: {}", percent_interval(rag)),
        holds: rag.upper < target,
    }
}

fn errors_left(table: &Table<'_>, attribution: &Attribution) -> Condition {
    let tuned = table.arms().any(Arm::needs_adapter);
    let mut classes = vec![Class::Format, Class::Learnable];
    if !tuned {
        // Without an oracle arm errors are "not attributable"; where no evidence is named that is
        // all one can have.
        classes.push(Class::Defect);
        if attribution.evidence_retrieved.is_none() {
            classes.push(Class::Unknown);
        }
    }
    let errors = attribution.errors();
    let left: usize = classes.iter().map(|class| attribution.count(*class)).sum();
    let cured = attribution.count(Class::Retrieval) + attribution.count(Class::Distraction);
    Condition {
        statement: "Most errors are not cured by the right passage".to_owned(),
        measurement: format!("{left} of {errors} errors remain with it, {cured} don't"),
        holds: errors > 0 && 2 * left > errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dev questions of which rag and oracle get the given numbers right, oracle's including rag's.
    fn dev(n: usize, rag: usize, oracle: Option<usize>) -> Vec<Trial> {
        let mut trials = Vec::new();
        for i in 0..n {
            let mut add = |arm: Arm, right: usize| {
                trials.push(Trial {
                    qid: format!("q{i}"),
                    cluster: format!("q{i}"),
                    score: Some(f64::from(u8::from(i < right))),
                    evidence_retrieved: (arm == Arm::Rag && oracle.is_some()).then_some(i < rag),
                    ..Trial::new(arm)
                });
            };
            add(Arm::Rag, rag);
            oracle.into_iter().for_each(|oracle| add(Arm::Oracle, oracle));
        }
        trials
    }

    fn verdict(trials: &[Trial], options: &GateOptions) -> (bool, Vec<bool>) {
        let gate = gate(trials, options).unwrap().unwrap();
        assert!(
            gate.conditions.iter().all(|c| !c.statement.is_empty() && !c.measurement.is_empty())
        );
        (gate.open, gate.conditions.iter().map(|condition| condition.holds).collect())
    }

    #[test]
    fn each_condition_can_shut_it() {
        let options = GateOptions {
            margin: 0.1,
            target: Some(0.6),
            resamples: 500,
            ..GateOptions::default()
        };
        assert_eq!(verdict(&dev(200, 60, Some(62)), &options), (true, vec![true; 3]));
        assert_eq!(verdict(&dev(200, 60, Some(110)), &options), (false, vec![false, true, true]));
        assert_eq!(verdict(&dev(200, 120, Some(122)), &options), (false, vec![true, false, true]));
        // Retrieval can be stuck by sweep although the oracle arm is far ahead; then most errors
        // are curable.
        let stuck = GateOptions { sweep: vec![0.2, 0.3, 0.3, 0.301, 0.3], ..options.clone() };
        assert_eq!(verdict(&dev(200, 60, Some(160)), &stuck), (false, vec![true, true, false]));
        let rising = GateOptions { sweep: vec![0.2, 0.3, 0.3, 0.35, 0.3], ..options };
        assert_eq!(verdict(&dev(200, 60, Some(160)), &rising).1, vec![false, true, false]);
    }

    #[test]
    fn sets_without_evidence_and_without_target() {
        let options = GateOptions { resamples: 500, ..GateOptions::default() };
        assert_eq!(verdict(&dev(100, 20, None), &options), (true, vec![true; 3]));
        assert_eq!(verdict(&dev(100, 99, None), &options), (false, vec![true, false, true]));
        assert!(gate(&[], &options).unwrap().is_none());
    }

    #[test]
    fn few_questions_leave_it_shut() {
        let options = GateOptions {
            margin: 0.05,
            target: Some(0.5),
            resamples: 500,
            ..GateOptions::default()
        };
        assert!(!verdict(&dev(12, 4, Some(4)), &options).0);
    }
}
