//! The criteria of the method page, each with what was measured for it.

use super::case::{Case, HALF};
use crate::attribute::Class;
use crate::decision::{Criterion, SliceScore};
use crate::figures::{duration, percent, percent_interval, points_interval};
use crate::{Arm, Interval};

/// From this share on, evidence reads as found, without a qualification.
const MOSTLY: f64 = 0.8;

/// Every criterion in the order of the method page, measured or not.
pub(super) fn criteria(
    case: &Case<'_>,
    retrieval: &[(String, f64)],
    slices: &[SliceScore],
) -> Vec<Criterion> {
    vec![
        retrievable(case, retrieval),
        in_documents(case),
        iteration(case),
        generic(case),
        patterns(case),
        unreliable(case, retrieval),
        guarantee(case, slices),
        training_data(case),
        together(case),
    ]
}

fn criterion(name: &str, parts: Vec<String>, reading: &str) -> Criterion {
    let unmeasured = parts.is_empty();
    Criterion {
        name: name.to_owned(),
        measurement: if unmeasured { "not measured".to_owned() } else { parts.join("; ") },
        reading: if unmeasured { String::new() } else { reading.to_owned() },
    }
}

/// How a difference reads: shown above 0, shown below, or neither.
fn sign<'t>(
    difference: Option<Interval>,
    above: &'t str,
    below: &'t str,
    open: &'t str,
) -> &'t str {
    match difference {
        Some(d) if d.lower > 0.0 => above,
        Some(d) if d.upper < 0.0 => below,
        _ => open,
    }
}

impl Case<'_> {
    fn difference(&self, a: Arm, b: Arm) -> Option<Interval> {
        self.within(a, b).map(|contrast| contrast.difference)
    }

    fn written(&self, a: Arm, b: Arm) -> Option<String> {
        self.difference(a, b)
            .map(|difference| format!("{a} - {b}: {}", points_interval(difference)))
    }
}

fn retrievable(case: &Case<'_>, retrieval: &[(String, f64)]) -> Criterion {
    let mut parts: Vec<String> =
        retrieval.iter().map(|(name, value)| format!("{name}: {value:.3}")).collect();
    let found = case.attribution.and_then(|attribution| attribution.evidence_retrieved);
    parts.extend(
        found.map(|share| format!("evidence retrieved for {} of the questions", percent(share))),
    );
    let reading = match found {
        Some(share) if share >= MOSTLY => "the evidence is found",
        Some(share) if share >= HALF => "the evidence is found for most questions",
        Some(_) => "the evidence is mostly not found",
        None => "",
    };
    criterion("Reference data is structured and retrievable", parts, reading)
}

fn in_documents(case: &Case<'_>) -> Criterion {
    let reading = sign(
        case.difference(Arm::Oracle, Arm::Base),
        "the documents hold what the model lacks",
        "the gold passages harm",
        "the documents are not shown to help",
    );
    criterion(
        "The truth is in the documents",
        case.written(Arm::Oracle, Arm::Base).into_iter().collect(),
        reading,
    )
}

fn iteration(case: &Case<'_>) -> Criterion {
    let seconds = |arm: Arm, name: &str| {
        let costs = &case.summary(case.at(arm))?.costs;
        let taken = costs.freshness_seconds.unwrap_or_else(|| costs.fixed_seconds());
        (taken > 0.0).then(|| format!("{name} {}", duration(taken)))
    };
    let parts = [
        seconds(Arm::Rag, "to index again:"),
        seconds(Arm::Tuned, "to train again:"),
        seconds(Arm::Raft, "to index and train again:"),
    ];
    let both = parts.iter().flatten().count() > 1;
    let reading = if both { "what an edit costs under each" } else { "" };
    criterion("Iteration must be fast", parts.into_iter().flatten().collect(), reading)
}

fn generic(case: &Case<'_>) -> Criterion {
    let tuned = case.systems.iter().filter(|summary| summary.system.needs_adapter());
    let parts = tuned
        .filter_map(|summary| {
            Some(format!("{} forgets {}", summary.system, percent(summary.costs.forgetting?)))
        })
        .collect();
    criterion("The model must stay generic", parts, "loss on a general set against the base model")
}

fn patterns(case: &Case<'_>) -> Criterion {
    let learnt =
        case.difference(Arm::RaftOracle, Arm::Oracle).or(case.difference(Arm::Tuned, Arm::FewShot));
    let parts =
        [case.written(Arm::Tuned, Arm::FewShot), case.written(Arm::RaftOracle, Arm::Oracle)];
    let reading = sign(
        learnt,
        "the pairs teach what prompts don't",
        "training harms",
        "training is not shown to teach more than prompts",
    );
    criterion("Patterns or logic must be learnt", parts.into_iter().flatten().collect(), reading)
}

fn unreliable(case: &Case<'_>, retrieval: &[(String, f64)]) -> Criterion {
    let wrong = case.attribution.filter(|attribution| attribution.errors() > 0);
    if wrong.is_some_and(|attribution| !attribution.is_attributed()) {
        let unknown = "no evidence is named, so errors are not attributed".to_owned();
        return criterion("Retrieval is unreliable", vec![unknown], "unknown");
    }
    let bound = wrong;
    let reworded = retrieval.iter().filter(|(name, _)| name.contains("paraphrase"));
    let reworded = reworded.map(|(name, share)| format!("{name}: {share:.3}"));
    let parts = bound.map(|attribution| {
        format!(
            "{} of {} RAG errors are retrieval-bound",
            attribution.count(Class::Retrieval),
            attribution.errors()
        )
    });
    let reading = match bound.map(|attribution| attribution.share(Class::Retrieval)) {
        Some(share) if share > HALF => "most errors come from retrieval",
        Some(_) => "most errors come from elsewhere",
        None => "",
    };
    criterion("Retrieval is unreliable", parts.into_iter().chain(reworded).collect(), reading)
}

fn guarantee(case: &Case<'_>, slices: &[SliceScore]) -> Criterion {
    let Some(best) = case.best() else {
        return criterion("Guaranteed performance", Vec::new(), "");
    };
    let mut parts = vec![format!("{}: {}", best.system, percent_interval(best.score))];
    parts.extend(case.rule.target.map(|target| format!("target {}", percent(target))));
    parts.extend(
        best.seed_deviation.map(|sd| format!("standard deviation over seeds {}", percent(sd))),
    );
    parts.extend(slices.first().map(|worst| {
        format!(
            "worst of {} slices: {} {} on {} questions",
            slices.len(),
            worst.name,
            percent_interval(worst.score),
            worst.questions
        )
    }));
    let reading = match case.rule.target {
        Some(target) if best.score.lower >= target => "the best system is shown to meet the target",
        Some(target) if best.score.upper < target => "no system meets the target",
        Some(_) => "the target is within reach, not shown to be met",
        None => "the lower bound is what can be relied on",
    };
    criterion("Guaranteed performance", parts, reading)
}

fn training_data(case: &Case<'_>) -> Criterion {
    let mut parts: Vec<String> = case.pair_faults.to_vec();
    let curve = case.curve;
    parts.extend(
        curve.map(|curve| format!("twice the pairs: {}", points_interval(curve.gain_of_doubling))),
    );
    let reading = match (case.pair_faults.is_empty(), curve) {
        (false, _) => "faults in the pairs come first",
        (true, Some(curve)) if curve.still_rises(case.rule.margin) => "more pairs would help",
        (true, Some(curve)) if curve.gain_of_doubling.upper < case.rule.margin => {
            "more pairs would help little"
        }
        (true, _) => "whether more pairs would help is open",
    };
    criterion("Training data is good", parts, reading)
}

fn together(case: &Case<'_>) -> Criterion {
    let score =
        |arm: Arm| case.summary(case.at(arm)).map_or(f64::MIN, |summary| summary.score.estimate);
    let single = if score(Arm::Tuned) > score(Arm::Rag) { Arm::Tuned } else { Arm::Rag };
    let parts = [case.written(Arm::Raft, single), case.written(Arm::TunedRag, single)];
    let reading = sign(
        case.difference(Arm::Raft, single),
        "both together beat either alone",
        "together they are worse than the better one alone",
        "both together are not shown to beat the better one alone",
    );
    let reading = if case.difference(Arm::Raft, single).is_some() { reading } else { "" };
    criterion("Both together", parts.into_iter().flatten().collect(), reading)
}
