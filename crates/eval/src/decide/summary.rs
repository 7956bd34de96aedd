//! Each system summed up, the hard gates it fails, and what the reader should be warned of.

use super::case::{Case, MIN_CLUSTERS, names};
use super::rule::Verdict;
use crate::cost::cost_per_correct;
use crate::decision::{Limits, SystemSummary};
use crate::evidence::{Column, Table};
use crate::figures::{count, duration, percent, points_interval, size};
use crate::stats::PairedTest;
use crate::{Costs, DecisionInput, Outcome, Rule, System};

/// Seeds from which a fine-tuned system shows its variance.
const SEEDS_ASKED_FOR: usize = 3;

/// The end of what is said of a limit that nobody checked.
pub(super) const NOT_MEASURED: &str = "not measured";

/// A margin is too fine for the questions when they can show only a difference of more than so many
/// margins.
const COARSE: f64 = 2.0;

/// Sums up every system with a graded trial, in order of display.
pub(super) fn systems(
    table: &Table<'_>,
    costs: &[Costs],
    rule: &Rule,
    test: &PairedTest,
) -> Vec<SystemSummary> {
    let columns = table
        .systems()
        .filter_map(|system| Some((system, table.column(system)?, table.mean(system, test)?)));
    columns
        .map(|(system, column, mean)| {
            let trials = &column.trials;
            let average = |value: &dyn Fn(&crate::Trial) -> f64| {
                trials.iter().map(|trial| value(trial)).sum::<f64>() / trials.len() as f64
            };
            let costs = costs
                .iter()
                .find(|costs| costs.system == system)
                .cloned()
                .unwrap_or_else(|| Costs::new(system));
            let latencies = sorted(trials.iter().map(|trial| trial.latency_seconds));
            let per_query =
                costs.seconds_per_query.unwrap_or_else(|| average(&|t| t.latency_seconds));
            let latency_p95 = quantile(&latencies, 0.95);
            let cost_known = system.arm().is_some() || costs.seconds_per_query.is_some();
            let fails = fails(&costs, cost_known.then_some(latency_p95), &rule.limits);
            let fixed = costs.fixed_seconds();
            SystemSummary {
                system,
                questions: column.graded(),
                missing: trials.iter().filter(|trial| trial.score.is_none()).count(),
                trials: trials.len(),
                seeds: column.seeds.len(),
                score: mean.interval,
                lenient: average(&|trial| f64::from(u8::from(trial.lenient))),
                seed_deviation: seed_deviation(column),
                abstained: average(&|trial| f64::from(u8::from(trial.abstained))),
                cut: trials.iter().filter(|trial| trial.cut).count(),
                prompt_tokens: average(&|trial| trial.prompt_tokens as f64),
                completion_tokens: average(&|trial| trial.completion_tokens as f64),
                latency_p50: quantile(&latencies, 0.5),
                latency_p95,
                first_token_p50: quantile(
                    &sorted(trials.iter().map(|t| t.first_token_seconds)),
                    0.5,
                ),
                seconds_per_query: per_query,
                cost_known,
                total_seconds: fixed + rule.expected_queries as f64 * per_query,
                seconds_per_correct: cost_per_correct(
                    fixed,
                    per_query,
                    rule.expected_queries,
                    mean.interval.estimate,
                ),
                eligible: !system.is_diagnostic() && fails.is_empty(),
                fails,
                costs,
            }
        })
        .collect()
}

fn seed_deviation(column: &Column<'_>) -> Option<f64> {
    let means = column.seed_means();
    let centre = means.iter().sum::<f64>() / means.len() as f64;
    let squares: f64 = means.iter().map(|mean| (mean - centre).powi(2)).sum();
    (means.len() > 1).then(|| (squares / (means.len() - 1) as f64).sqrt())
}

/// A limit that was set but not measured counts as failed: a hard gate that nobody checked is no
/// gate.
fn fails(costs: &Costs, latency_p95: Option<f64>, limits: &Limits) -> Vec<String> {
    let mut fails = Vec::new();
    let mut limit = |name: &str,
                     found: Option<f64>,
                     most: Option<f64>,
                     write: &dyn Fn(f64) -> String| match (found, most) {
        (_, None) => {}
        (None, Some(_)) => fails.push(format!("{name} {NOT_MEASURED}")),
        (Some(found), Some(most)) if found > most => {
            fails.push(format!("{name} {} above {}", write(found), write(most)));
        }
        _ => {}
    };
    let mebibytes = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
    limit("p95 latency", latency_p95, limits.p95_latency_seconds, &duration);
    let memory = costs.peak_memory_bytes.map(|bytes| bytes as f64);
    limit("memory", memory, limits.memory_bytes.map(|bytes| bytes as f64), &mebibytes);
    limit("time to a fresh answer", costs.freshness_seconds, limits.freshness_seconds, &duration);
    limit("forgetting", costs.forgetting, limits.forgetting, &percent);
    if limits.citations && !costs.cites {
        fails.push("no citations".to_owned());
    }
    if limits.offline && costs.remote {
        fails.push("needs a network".to_owned());
    }
    fails
}

/// What the reader should know before trusting the figures.
pub(super) fn warnings(
    case: &Case<'_>,
    verdict: &Verdict,
    input: &DecisionInput,
    unshared: usize,
) -> Vec<String> {
    let mut warnings = about_trials(case);
    if unshared > 0 {
        warnings.push(format!(
            "{} questions were not graded for every setup and are left out of all comparisons.",
            count(unshared as u64)
        ));
    }
    for summary in case.eligible().iter().filter(|summary| !summary.cost_known) {
        warnings.push(format!(
            "What {} costs is not known (its answers name no latency_seconds): it is taken to be the dearest.",
            summary.system
        ));
    }
    for pruned in &input.pruned {
        warnings.push(format!(
            "{} was dropped on dev, before the test questions were opened: {} - {}: {}.",
            pruned.system,
            pruned.system,
            pruned.best,
            points_interval(pruned.difference)
        ));
    }
    warnings.extend(about_test_split(input));
    warnings.extend(about_verdict(case, verdict));
    warnings
}

/// Few questions, few sources, trials without a grade, few seeds.
fn about_trials(case: &Case<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let rule = &case.rule;
    if case.questions < rule.min_questions {
        warnings.push(format!(
            "Exploratory: {} questions, {} asked for. Only differences beyond what so few can show count.",
            case.questions, rule.min_questions
        ));
    }
    if case.clusters < MIN_CLUSTERS {
        warnings.push(format!(
            "Exploratory: the questions come from {} source documents or groups, {MIN_CLUSTERS} asked for.",
            case.clusters
        ));
    }
    for summary in case.systems.iter().filter(|summary| summary.missing > 0) {
        warnings.push(format!(
            "{} of {} trials of {} could not be graded; they are left out, not counted as wrong.",
            summary.missing, summary.trials, summary.system
        ));
    }
    let cut: Vec<String> = (case.systems.iter())
        .filter(|summary| summary.cut > 0 && !summary.system.is_diagnostic())
        .map(|summary| format!("{} {} of {}", summary.system, summary.cut, summary.trials))
        .collect();
    if !cut.is_empty() {
        warnings.push(format!(
            "Answers that were cut at the greatest length count as wrong: {}. A larger `max_tokens` would tell \
             whether they are.",
            cut.join(", ")
        ));
    }
    let few: Vec<System> = (case.systems.iter())
        .filter(|summary| summary.system.needs_adapter() && summary.seeds < SEEDS_ASKED_FOR)
        .map(|summary| summary.system)
        .collect();
    if !few.is_empty() {
        warnings.push(format!(
            "Fewer than {SEEDS_ASKED_FOR} training seeds for {}: their intervals rest on what is known of the luck of \
             training in general.",
            names(&few)
        ));
    }
    warnings
}

/// Questions that training has seen, and repeated looks at the test split.
fn about_test_split(input: &DecisionInput) -> Vec<String> {
    let mut warnings = Vec::new();
    if input.left_out > 0 {
        warnings.push(format!(
            "{} test questions stand, exactly or nearly, in the training pairs and were left out.",
            count(input.left_out as u64)
        ));
    }
    if input.looks.openings > 1 {
        warnings.push(format!(
            "These questions were looked at {} times. Each look after which something was changed makes its \
             figures rosier.",
            input.looks.openings
        ));
    }
    if !input.looks.changed.is_empty() {
        warnings.push(format!(
            "Changed since the first look: {}. What is frozen there decides; anything else is exploratory.",
            input.looks.changed.join(", ")
        ));
    }
    warnings
}

/// A margin finer than the questions can show.
fn about_verdict(case: &Case<'_>, verdict: &Verdict) -> Vec<String> {
    let mut warnings = Vec::new();
    let rule = &case.rule;
    if verdict.outcome != Outcome::Undetermined
        && case.detectable_by_leaders() > COARSE * rule.margin
    {
        warnings.push(format!(
            "The margin is {} points, but these questions can show a difference of {} points at best.",
            size(rule.margin),
            size(case.detectable_by_leaders())
        ));
    }
    warnings
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Nearest-rank quantile: always a value that occurred.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;

    #[test]
    fn quantiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.95), quantile(&values, 1.0)),
            (10.0, 19.0, 20.0)
        );
        assert_eq!((quantile(&[3.0], 0.95), quantile(&[], 0.5)), (3.0, 0.0));
    }

    #[test]
    fn limits_fail_when_broken_or_unmeasured() {
        let limits = Limits {
            p95_latency_seconds: Some(1.0),
            memory_bytes: Some(1 << 30),
            freshness_seconds: Some(60.0),
            citations: true,
            ..Limits::default()
        };
        let costs = Costs { freshness_seconds: Some(600.0), ..Costs::new(Arm::Tuned) };
        let found = fails(&costs, Some(2.0), &limits);
        assert_eq!(found.len(), 4, "{found:?}");
        let costs = Costs {
            freshness_seconds: Some(5.0),
            peak_memory_bytes: Some(1 << 29),
            ..Costs::new(Arm::Rag)
        };
        assert!(fails(&costs, Some(0.5), &limits).is_empty());
    }
}
