//! What would change the decision: the rule applied again to the same evidence under other settings,
//! or with one system more.

use super::case::{Case, Named, choice_of, names};
use super::power::Outlook;
use super::rule::Verdict;
use crate::attribute::Class;
use crate::figures::{count, percent, points_interval, size};
use crate::{Arm, Interval, Outcome, Rule, System};

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

/// The nearest of `values` (walking away from the present setting) that gives another decision.
fn nearest<T: Copy>(
    values: impl Iterator<Item = T>,
    now: &str,
    decision: impl Fn(T) -> String,
) -> Option<(T, String)> {
    values.map(|value| (value, decision(value))).find(|(_, label)| *label != now)
}

fn margin(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let now = &*label(verdict);
    let decision =
        |half_points: u32| under(case, |rule| rule.margin = f64::from(half_points) / 200.0);
    let current = (200.0 * case.rule.margin).round() as u32;
    let smaller = nearest((1..current).rev(), now, decision);
    let larger = nearest(current + 1..=100, now, decision);
    let write = |(half, label): (u32, String), or: &str| {
        format!("A margin of {} points or {or}: {label}.", size(f64::from(half) / 200.0))
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
                Some(((1..=100).take_while(|p| decision(*p) == label).last()?, label))
            });
            let high = (decision(100) != now).then(|| decision(100));
            let high = high.and_then(|label| {
                Some(((1..=100).rev().take_while(|p| decision(*p) == label).last()?, label))
            });
            {
                let open = modest.as_ref().is_none_or(|(points, _)| *points < 100);
                (modest, high.filter(|_| open))
            }
        }
    };
    let write = |(points, label): (u32, String), or: &str| {
        format!("A target of {} or {or}: {label}.", percent(f64::from(points) / 100.0))
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
    let write = |(queries, label): (u64, String), or: &str| {
        format!("About {} queries or {or}, instead of {}: {label}.", count(queries), count(current))
    };
    fewer
        .map(|found| write(found, "fewer"))
        .into_iter()
        .chain(more.map(|found| write(found, "more")))
        .collect()
}

/// The smallest lead over the system named with which one that was not measured would be named in its
/// place, by applying the rule to the measurements at hand and one system more: the dearest of all,
/// whose differences are as uncertain as the most uncertain one at hand.
fn lead_needed(case: &Case<'_>, named: System) -> Option<f64> {
    let eligible = case.eligible();
    let new = eligible.len();
    let known = |a: usize, b: usize| {
        case.contrast(eligible[a].system, eligible[b].system).map(|contrast| contrast.difference)
    };
    let half = (0..new)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .filter_map(|(a, b)| known(a, b))
        .map(|difference| 0.5 * (difference.upper - difference.lower))
        .fold(0.0, f64::max);
    let score = case.summary(named)?.score.estimate;
    (1..=200).map(|half_points| f64::from(half_points) / 200.0).find(|lead| {
        let over = |b: usize| {
            let estimate = score + lead - eligible[b].score.estimate;
            Interval { estimate, lower: estimate - half, upper: estimate + half }
        };
        let contrast = |a: usize, b: usize| match (a == new, b == new) {
            (false, false) => known(a, b),
            (true, _) => Some(over(b)),
            (false, true) => Some(over(a).negated()),
        };
        choice_of(new + 1, case.rule.margin, &contrast) == Named::One(new)
    })
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
        let untried: Vec<System> = [Arm::Rag, Arm::Tuned, Arm::Raft]
            .map(|arm| case.at(arm))
            .into_iter()
            .filter(|other| case.summary(*other).is_none())
            .filter(|other| case.pruned.iter().all(|pruned| pruned.system != *other))
            .collect();
        if !untried.is_empty() {
            let names = names(&untried);
            out.push(match lead_needed(case, system) {
                Some(lead) => format!(
                    "Not measured: {names}. One that costs more would be named if it led {system} by {} points.",
                    size(lead)
                ),
                None => format!(
                    "Not measured: {names}. No lead of theirs could be shown on so few questions."
                ),
            });
        }
    }
    if verdict.outcome != Outcome::ImproveRetrieval
        && let Some(headroom) =
            case.within(Arm::Oracle, Arm::Rag).filter(|c| c.difference.lower > 0.0)
    {
        out.push(format!(
            "Perfect retrieval would change rag by {}.",
            points_interval(headroom.difference)
        ));
    }
    if let Some(attribution) = case.attribution.filter(|a| a.share(Class::Distraction) > NOTABLE) {
        out.push(format!(
            "{} of {} RAG errors had the evidence in the prompt and are right without the other passages: fewer \
             passages, or reranking, might raise rag.",
            attribution.count(Class::Distraction),
            attribution.errors()
        ));
    }
    if let Some(curve) = case.curve.filter(|curve| curve.still_rises(case.rule.margin)) {
        out.push(format!(
            "The learning curve still rises: twice the pairs are foreseen to add {}.",
            points_interval(curve.gain_of_doubling)
        ));
    }
    out
}
