//! What would change the decision: the rule applied again to the same evidence, under other
//! settings.

use super::case::{Case, names};
use super::power::Outlook;
use super::replay::{Evidence, joined, perfect_retrieval, raised};
use super::rule::Verdict;
use crate::attribute::Class;
use crate::figures::{count, percent, points_interval, size};
use crate::{Arm, Outcome, Rule, System};

/// A class of errors is worth a line from this share of all errors on.
const NOTABLE: f64 = 0.25;

/// In the order a reader can act on them: own settings first, then further measurements.
pub(super) fn flips(case: &Case<'_>, verdict: &Verdict, outlook: &Outlook) -> Vec<String> {
    let mut flips = Vec::new();
    flips.extend(margin(case, verdict));
    flips.extend(target(case, verdict));
    flips.extend(queries(case, verdict));
    flips.extend(measurements(case, verdict, outlook));
    flips
}

/// The decision in a word: the system, or what to do instead.
fn label(verdict: &Verdict) -> String {
    verdict.recommended.map_or(verdict.outcome.to_string(), |system| system.to_string())
}

fn under(case: &Case<'_>, change: impl FnOnce(&mut Rule)) -> String {
    let mut rule = case.rule.clone();
    change(&mut rule);
    label(&Case { rule, ..case.clone() }.apply())
}

/// Another decision, and the settings that give it.
struct Turn<T> {
    /// The nearest to the present setting.
    from: T,
    /// The furthest, if a third decision lies beyond.
    to: Option<T>,
    label: String,
}

impl<T: Copy> Turn<T> {
    /// "3 points or less" (`beyond`), or "3 to 1 points" where it turns again.
    fn written(&self, write: impl Fn(T) -> String, unit: &str, beyond: &str) -> String {
        let from = write(self.from);
        match self.to {
            None => format!("{from}{unit} or {beyond}"),
            Some(to) if write(to) == from => format!("{from}{unit}"),
            Some(to) => format!("{from} to {}{unit}", write(to)),
        }
    }
}

/// The nearest of `values` (walking away from the present setting) that give another decision.
fn nearest<T: Copy>(
    values: impl Iterator<Item = T>,
    now: &str,
    decision: impl Fn(T) -> String,
) -> Option<Turn<T>> {
    let mut labelled = values.map(|value| (value, decision(value)));
    let (from, label) = labelled.find(|(_, label)| *label != now)?;
    let mut last = from;
    for (value, other) in labelled {
        if other != label {
            return Some(Turn { from, to: Some(last), label });
        }
        last = value;
    }
    Some(Turn { from, to: None, label })
}

fn margin(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let now = &*label(verdict);
    let decision =
        |half_points: u32| under(case, |rule| rule.margin = f64::from(half_points) / 200.0);
    let current = (200.0 * case.rule.margin).round() as u32;
    let smaller = nearest((1..current).rev(), now, decision);
    let larger = nearest(current + 1..=100, now, decision);
    let write = |turn: Turn<u32>, beyond: &str| {
        let setting = turn.written(|half| size(f64::from(half) / 200.0), " points", beyond);
        format!("A margin of {setting}: {}.", turn.label)
    };
    smaller
        .map(|found| write(found, "less"))
        .into_iter()
        .chain(larger.map(|found| write(found, "more")))
        .collect()
}

fn target(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let now = &*label(verdict);
    let decision = |points: u32| under(case, |rule| rule.target = Some(f64::from(points) / 100.0));
    let current = case.rule.target.map(|target| (100.0 * target).round() as u32);
    let (lower, higher) = match current {
        Some(current) => {
            (nearest((1..current).rev(), now, decision), nearest(current + 1..=100, now, decision))
        }
        // Without a target, the ends of the scale say what a modest and a high one would do.
        None => {
            let modest = (decision(1) != now).then(|| decision(1));
            let modest = modest.and_then(|label| {
                let from = (1..=100).take_while(|p| decision(*p) == label).last()?;
                Some(Turn { from, to: None, label })
            });
            let high = (decision(100) != now).then(|| decision(100));
            let high = high.and_then(|label| {
                let from = (1..=100).rev().take_while(|p| decision(*p) == label).last()?;
                Some(Turn { from, to: None, label })
            });
            let open = modest.as_ref().is_none_or(|turn| turn.from < 100);
            (modest, high.filter(|_| open))
        }
    };
    let write = |turn: Turn<u32>, beyond: &str| {
        let setting = turn.written(|points| percent(f64::from(points) / 100.0), "", beyond);
        format!("A target of {setting}: {}.", turn.label)
    };
    lower
        .map(|found| write(found, "less"))
        .into_iter()
        .chain(higher.map(|found| write(found, "more")))
        .collect()
}

fn queries(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let now = &*label(verdict);
    let decision = |queries: u64| under(case, |rule| rule.expected_queries = queries);
    // Ten steps to the decade, from 1 to a billion.
    let grid: Vec<u64> =
        (0..=90).map(|step| 10_f64.powf(f64::from(step) / 10.0).round() as u64).collect();
    let current = case.rule.expected_queries;
    let fewer = nearest(grid.iter().rev().copied().filter(|q| *q < current), now, decision);
    let more = nearest(grid.iter().copied().filter(|q| *q > current), now, decision);
    let write = |turn: Turn<u64>, beyond: &str| {
        let setting = turn.written(count, " queries", beyond);
        format!("About {setting}, instead of {}: {}.", count(current), turn.label)
    };
    fewer
        .map(|found| write(found, "fewer"))
        .into_iter()
        .chain(more.map(|found| write(found, "more")))
        .collect()
}

fn measurements(case: &Case<'_>, verdict: &Verdict, outlook: &Outlook) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(more) = outlook.more_questions {
        out.push(format!(
            "About {} more questions with the same differences would settle it.",
            count(more as u64)
        ));
    }
    if let Some(seeds) = outlook.seeds {
        out.push(format!("{seeds} training seeds with the same scores would settle it, too."));
    }
    if let Some(system) = verdict.recommended {
        out.extend(not_measured(case, system));
    }
    out.extend(better_passages(case, verdict));
    if let Some(curve) = case.curve.filter(|curve| curve.still_rises(case.rule.margin)) {
        let gain = curve.gain_of_doubling;
        let trained = |system: System| system.needs_adapter();
        let then = outcome_if(case, verdict, &raised(case, &trained, gain.estimate));
        out.push(format!(
            "The learning curve still rises: twice the pairs are foreseen to add {}, and then {then}.",
            points_interval(gain)
        ));
    }
    out
}

/// What the rule says of other evidence, as the end of a sentence.
fn outcome_if(case: &Case<'_>, verdict: &Verdict, evidence: &Evidence) -> String {
    let then = label(&evidence.case(case).apply());
    match then == label(verdict) {
        true => "the decision would stay".to_owned(),
        false => format!("the decision would be {then}"),
    }
}

/// Setups that did not run, and the least lead with which one would be recommended: the rule is
/// applied with such a setup among the others, dearer than all of them, and compared as exactly as
/// the recommended one is with its nearest rival.
fn not_measured(case: &Case<'_>, system: System) -> Option<String> {
    let untried: Vec<System> = [Arm::Rag, Arm::Tuned, Arm::Raft]
        .map(|arm| case.at(arm))
        .into_iter()
        .filter(|other| case.summary(*other).is_none())
        .filter(|other| case.pruned.iter().all(|pruned| pruned.system != *other))
        .collect();
    let newcomer = *untried.first()?;
    let named = |half_points: &u32| {
        let lead = f64::from(*half_points) / 200.0;
        let evidence = joined(case, newcomer, system, lead);
        evidence.is_some_and(|it| it.case(case).apply().recommended == Some(newcomer))
    };
    let score = case.summary(system).map_or(1.0, |summary| summary.score.estimate);
    let room = (200.0 * (1.0 - score)).floor().max(0.0) as u32;
    let list = names(&untried);
    Some(match (1..=room).find(named) {
        Some(least) => format!(
            "Not measured: {list}. One that is dearer and scores {} points more than {system} would be \
             recommended.",
            size(f64::from(least) / 200.0)
        ),
        None => format!(
            "Not measured: {list}. If it is dearer, not even a perfect score would surely replace {system}."
        ),
    })
}

/// What other passages in the prompt would do to `rag`, and so to the decision.
fn better_passages(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let mut out = Vec::new();
    if verdict.outcome != Outcome::ImproveRetrieval
        && let Some(headroom) =
            case.within(Arm::Oracle, Arm::Rag).filter(|c| c.difference.lower > 0.0)
        && let Some(evidence) = perfect_retrieval(case)
    {
        out.push(format!(
            "Perfect retrieval would change rag by {}, and then {}.",
            points_interval(headroom.difference),
            outcome_if(case, verdict, &evidence)
        ));
    }
    if let Some(attribution) = case.attribution.filter(|a| a.share(Class::Distraction) > NOTABLE) {
        let (distracted, errors) = (attribution.count(Class::Distraction), attribution.errors());
        let gain = distracted as f64 / attribution.questions.max(1) as f64;
        let rag = case.at(Arm::Rag);
        let evidence = raised(case, &|system| system == rag, gain);
        out.push(format!(
            "{distracted} of {errors} RAG errors had the evidence in the prompt and are right without the other \
             passages: fewer passages, or reranking, might raise rag. With all of them right {}.",
            outcome_if(case, verdict, &evidence)
        ));
    }
    out
}
