//! The ceiling gate: has RAG stopped improving, so that fine-tuning is worth its price?

use serde::{Deserialize, Serialize};

use crate::attribute::{Attribution, Class, of_table};
use crate::evidence::Table;
use crate::figures::{percent, percent_interval, points_interval, size};
use crate::stats::{PairedTest, wilson};
use crate::{Arm, Error, Interval, Rule, System, Trial};

/// From this share on it is most of them.
const MOST: f64 = 0.5;

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
    /// What each setting but the first gained over the best before it ([`retrieval_gain`]), in the
    /// same order.
    #[serde(default)]
    pub gains: Vec<Interval>,
    /// How many last configurations must each be shown to have improved by less than
    /// `epsilon` over the best before them.
    pub last: usize,
    /// Smallest improvement that counts.
    pub epsilon: f64,
    /// Two-sided level of the intervals.
    pub alpha: f64,
}

impl Default for GateOptions {
    /// Margin, target and statistics as in the decision's [`Rule`].
    fn default() -> Self {
        let Rule { margin, target, alpha, .. } = Rule::default();
        Self { margin, target, sweep: Vec::new(), gains: Vec::new(), last: 3, epsilon: 0.01, alpha }
    }
}

/// One of the three conditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The condition as a statement.
    pub statement: String,
    /// The figures that were measured.
    pub measurement: String,
    /// Whether it is shown to hold.
    pub holds: bool,
    /// Whether it is shown to hold, shown not to, or neither.
    #[serde(default)]
    pub answer: Option<GateAnswer>,
}

/// What a reading says: shown, shown not, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateAnswer {
    /// Shown.
    Yes,
    /// The opposite is shown.
    No,
    /// The dev questions cannot tell.
    Unknown,
}

impl GateAnswer {
    /// Yes where `yes` is shown, no where `no` is.
    fn of(yes: bool, no: bool) -> Self {
        match (yes, no) {
            (true, _) => Self::Yes,
            (false, true) => Self::No,
            (false, false) => Self::Unknown,
        }
    }
}

/// The gate's verdict: open when all three conditions hold, shut when one is shown not to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Fine-tuning is shown to be due.
    pub open: bool,
    /// Retrieval exhausted, target missed, errors that passages can't cure.
    pub conditions: Vec<Condition>,
    /// Dev questions graded under `rag`.
    pub questions: usize,
}

impl Gate {
    /// Whether RAG has hit its ceiling. Gates that an earlier version stored know yes and no alone.
    pub fn answer(&self) -> GateAnswer {
        let answers = || self.conditions.iter().filter_map(|condition| condition.answer);
        let unknown = answers().count() < self.conditions.len();
        match (self.open, answers().any(|answer| answer == GateAnswer::No)) {
            (true, _) => GateAnswer::Yes,
            (false, shut) if shut || unknown => GateAnswer::No,
            (false, _) => GateAnswer::Unknown,
        }
    }
}

/// What the later of two retrieval settings gained on the questions that both answered: the paired
/// difference of `rag`, with its interval.
///
/// # Errors
/// Those of contradictory trials.
pub fn retrieval_gain(
    before: &[Trial],
    after: &[Trial],
    alpha: f64,
) -> Result<Option<Interval>, Error> {
    let test = PairedTest { alpha, ..PairedTest::default() };
    let rag = |trials: &[Trial], arm: Arm| -> Vec<Trial> {
        let of_rag = trials.iter().filter(|trial| trial.system.is(Arm::Rag));
        of_rag.map(|trial| Trial { system: arm.into(), ..trial.clone() }).collect()
    };
    // Two arms that are alike in everything but the name, so that the table pairs them.
    let trials = [rag(before, Arm::Base), rag(after, Arm::Rag)].concat();
    Ok(Table::new(&trials)?.difference(Arm::Rag, Arm::Base, &test))
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
/// - Before anything was fine-tuned, "reasoning-bound" can't be told from "beyond this
///   model", so the third condition counts every error that the gold passage does not cure. Once a
///   fine-tuned arm was measured on dev, defects don't count.
pub fn gate(dev: &[Trial], options: &GateOptions) -> Result<Option<Gate>, Error> {
    let table = Table::new(dev)?;
    let test = PairedTest { alpha: options.alpha, ..PairedTest::default() };
    let (Some(rag), Some(attribution)) =
        (table.mean(Arm::Rag, &test), of_table(&table, None, &test))
    else {
        return Ok(None);
    };
    let conditions = vec![
        retrieval_exhausted(&attribution, options),
        target_missed(rag.interval, options),
        errors_left(&table, &attribution, options.alpha),
    ];
    let open = conditions.iter().all(|condition| condition.holds);
    Ok(Some(Gate { open, conditions, questions: attribution.questions }))
}

fn retrieval_exhausted(attribution: &Attribution, options: &GateOptions) -> Condition {
    let tried = options.sweep.len();
    // Shown to have stalled: each of the last settings gained less than epsilon, by its interval.
    // Scores alone stand still by chance in a third of all sweeps.
    let stalled = options.last > 0
        && options.gains.len() >= options.last
        && options.gains.iter().rev().take(options.last).all(|gain| gain.upper < options.epsilon);
    let (measurement, headroom) = match (attribution.retrieval, attribution.evidence_retrieved) {
        (Some(headroom), _) => (
            format!("oracle - rag: {}", points_interval(headroom)),
            GateAnswer::of(headroom.upper < options.margin, headroom.lower >= options.margin),
        ),
        (None, None) => (
            "no question names its evidence, so no retrieval can be shown to help".to_owned(),
            GateAnswer::Yes,
        ),
        (None, Some(_)) => ("oracle was not run".to_owned(), GateAnswer::Unknown),
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
        holds: headroom == GateAnswer::Yes || stalled,
        answer: Some(if stalled { GateAnswer::Yes } else { headroom }),
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
        answer: Some(GateAnswer::of(rag.upper < target, rag.lower >= target)),
    }
}

fn errors_left(table: &Table<'_>, attribution: &Attribution, alpha: f64) -> Condition {
    let tuned = table.systems().any(System::needs_adapter);
    let mut classes = vec![Class::Format, Class::Learnable];
    if !tuned {
        // Without an oracle arm errors are "unknown"; where no evidence is named that is
        // all one can have.
        classes.push(Class::Defect);
        if attribution.evidence_retrieved.is_none() {
            classes.push(Class::Unknown);
        }
    }
    let errors = attribution.errors();
    let left: usize = classes.iter().map(|class| attribution.count(*class)).sum();
    let cured = attribution.count(Class::Retrieval) + attribution.count(Class::Distraction);
    let share = wilson(left as f64 / errors.max(1) as f64, errors as f64, alpha);
    let answer =
        GateAnswer::of(errors > 0 && share.lower > MOST, errors == 0 || share.upper < MOST);
    Condition {
        statement: "Most errors are not cured by the right passage".to_owned(),
        measurement: format!("{left} of {errors} errors remain with it, {cured} don't"),
        holds: answer == GateAnswer::Yes,
        answer: Some(answer),
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
        let options = GateOptions { margin: 0.1, target: Some(0.6), ..GateOptions::default() };
        assert_eq!(verdict(&dev(200, 60, Some(62)), &options), (true, vec![true; 3]));
        assert_eq!(verdict(&dev(200, 60, Some(110)), &options), (false, vec![false, true, true]));
        assert_eq!(verdict(&dev(200, 120, Some(122)), &options), (false, vec![true, false, true]));
        // Retrieval can be stuck by sweep although the oracle arm is far ahead; then most errors
        // are curable. Scores that stand still are not enough: intervals must show it.
        let gain = |upper| Interval { estimate: 0.0, lower: -0.02, upper };
        let scores = vec![0.2, 0.3, 0.3, 0.301, 0.3];
        let stuck = GateOptions {
            sweep: scores.clone(),
            gains: vec![gain(0.1), gain(0.009), gain(0.008), gain(0.009)],
            ..options.clone()
        };
        assert_eq!(verdict(&dev(200, 60, Some(160)), &stuck), (false, vec![true, true, false]));
        let by_chance = GateOptions {
            sweep: scores,
            gains: vec![gain(0.1), gain(0.03), gain(0.008), gain(0.03)],
            ..options
        };
        assert_eq!(verdict(&dev(200, 60, Some(160)), &by_chance).1, vec![false, true, false]);
    }

    #[test]
    fn it_says_when_it_cannot_tell() {
        let options = GateOptions { margin: 0.1, target: Some(0.6), ..GateOptions::default() };
        let answer = |trials: &[Trial]| gate(trials, &options).unwrap().unwrap().answer();
        assert_eq!(answer(&dev(200, 60, Some(62))), GateAnswer::Yes);
        // The oracle arm is far ahead, or the target is met.
        assert_eq!(answer(&dev(200, 60, Some(160))), GateAnswer::No);
        assert_eq!(answer(&dev(200, 160, Some(160))), GateAnswer::No);
        // As on the left, with a tenth of the questions.
        assert_eq!(answer(&dev(20, 9, Some(10))), GateAnswer::Unknown);
    }

    #[test]
    fn a_gain_is_paired() {
        let (before, after) = (dev(100, 40, None), dev(100, 60, None));
        let gain = retrieval_gain(&before, &after, 0.05).unwrap().unwrap();
        assert!((gain.estimate - 0.2).abs() < 1e-12 && gain.lower > 0.1, "{gain:?}");
        assert_eq!(retrieval_gain(&before, &[], 0.05).unwrap(), None);
    }

    #[test]
    fn sets_without_evidence_and_without_target() {
        let options = GateOptions { ..GateOptions::default() };
        assert_eq!(verdict(&dev(100, 20, None), &options), (true, vec![true; 3]));
        assert_eq!(verdict(&dev(100, 99, None), &options), (false, vec![true, false, false]));
        assert!(gate(&[], &options).unwrap().is_none());
    }

    #[test]
    fn few_questions_leave_it_shut() {
        let options = GateOptions { margin: 0.05, target: Some(0.5), ..GateOptions::default() };
        assert!(!verdict(&dev(12, 4, Some(4)), &options).0);
    }
}
