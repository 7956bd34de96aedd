//! From trials to a decision: gather the evidence once, apply the rule, and ask what would change
//! it.

mod advice;
mod case;
mod criteria;
mod flips;
mod power;
mod replay;
mod rule;
mod sentence;
mod summary;

use std::collections::{BTreeMap, BTreeSet};

use crate::attribute::of_table;
use crate::contrast::Contrast;
use crate::cost::break_even;
use crate::decision::{SliceScore, SystemSummary};
use crate::evidence::{Column, Table};
use crate::stats::{Joint, Luck, PairedTest, holm};
use crate::{Arm, Decision, DecisionInput, Error, LearningCurve, Name, Rule, System};

use case::Case;
use power::{Candidate, Outlook, Prospect};

/// The most resamples drawn for the learning curve: each is a fit, and its few points give no finer
/// bounds than this many show.
const CURVE_RESAMPLES: usize = 2000;

/// The lead, in margins, whose power is stated: at one margin the rule is undecided half of the
/// time however many questions there are, as the measured lead falls short of the margin as often
/// as not.
const LEAD: f64 = 1.5;

/// Decides between RAG, fine-tuning, both, or neither.
///
/// The rule itself is `Case::apply`; this gathers what it reads. Deterministic: the same input
/// gives the same decision, resamples of the learning curve included.
pub fn decide(input: &DecisionInput) -> Result<Decision, Error> {
    check(&input.rule)?;
    let table = Table::new(&input.trials)?;
    let (questions, clusters) = table.size();
    if questions == 0 {
        return Err(Error::NoTrials { set: input.set.clone() });
    }
    let rule = &input.rule;
    let test = PairedTest { alpha: rule.alpha, ..PairedTest::default() };

    let systems = summary::systems(&table, &input.costs, rule, &test);
    let contrasts = contrasts(&table, &test);
    let model = diagnosed(&systems);
    let attribution = of_table(&table, model, &test);
    let resamples = rule.resamples.min(CURVE_RESAMPLES);
    let curve = LearningCurve::fit(&input.curve, rule.alpha, resamples, rule.seed);
    let case = Case {
        systems: &systems,
        model,
        contrasts: &contrasts,
        attribution: attribution.as_ref(),
        gate: input.gate.as_ref(),
        curve: curve.as_ref(),
        untried: input.untried,
        pair_faults: &input.pair_faults,
        pruned: &input.pruned,
        questions,
        clusters,
        rule: rule.clone(),
    };

    let verdict = case.apply();
    let prospect = prospect(&case, &table);
    let outlook = Outlook::of(&case, &verdict, prospect.as_ref());
    let looks = input.looks.openings.max(1);
    let flips = flips::flips(&case, &verdict, &outlook);
    let warnings = summary::warnings(&case, &verdict, input, table.unshared());
    let scored = verdict.recommended.or(verdict.best);
    let slices =
        scored.map_or_else(Vec::new, |system| slices(&table, system, &input.slices, &test));
    Ok(Decision {
        set: input.set.clone(),
        measure: input.measure,
        outcome: verdict.outcome,
        recommended: verdict.recommended,
        best: verdict.best,
        advice: case.advice(&verdict, &outlook, input),
        sentence: case.sentence(&verdict, &outlook, &input.looks),
        tree: verdict.tree,
        criteria: criteria::criteria(&case, &input.retrieval, &slices),
        slices,
        pruned: input.pruned.clone(),
        flips,
        warnings,
        detectable_difference: case.detectable_by_leaders(),
        more_questions_needed: outlook.more_questions,
        seeds_needed: outlook.seeds,
        power: prospect.and_then(|systems| systems.power_of_lead(LEAD * rule.margin, rule)),
        regrets: case.regrets(),
        provisional: verdict.recommended.is_some_and(|system| case.is_provisional(system)),
        unshared: table.unshared(),
        exploratory: case.exploratory() || looks > 1 || !input.looks.changed.is_empty(),
        questions,
        clusters,
        left_out: input.left_out,
        break_even_queries: break_even_queries(&systems, model),
        openings: input.openings.clone(),
        looks: input.looks.clone(),
        rule: rule.clone(),
        gate: input.gate.clone(),
        systems,
        contrasts,
        attribution,
        curve,
    })
}

/// The candidates in order of cost, with how their scores vary together; `None` where fewer than
/// two share questions of two clusters.
fn prospect(case: &Case<'_>, table: &Table<'_>) -> Option<Prospect> {
    let candidates: Vec<Candidate> = (case.eligible().iter())
        .map(|summary| {
            let trained = summary.system.needs_adapter();
            let means = table.column(summary.system).map(Column::seed_means).unwrap_or_default();
            Candidate {
                system: summary.system,
                seeds: if trained { means.len() } else { 0 },
                luck: if trained { Luck::KNOWN.moderated(&means) } else { 0.0 },
            }
        })
        .collect();
    let systems: Vec<System> = candidates.iter().map(|candidate| candidate.system).collect();
    let joint = Joint::new(&table.joint_scores(&systems))?;
    (systems.len() > 1).then_some(Prospect { candidates, joint })
}

/// The number of queries from which `tuned` is cheaper than `rag`; `None` where it never is, or not
/// both were measured.
fn break_even_queries(systems: &[SystemSummary], model: Option<Name>) -> Option<f64> {
    let summary =
        |arm: Arm| systems.iter().find(|summary| summary.system == System::Setup { model, arm });
    let (rag, tuned) = (summary(Arm::Rag)?, summary(Arm::Tuned)?);
    break_even(tuned.costs.training_seconds, rag.seconds_per_query, tuned.seconds_per_query)
}

/// The model that diagnosis is read within: that of the setup with the highest score.
fn diagnosed(systems: &[SystemSummary]) -> Option<Name> {
    let setups = systems.iter().filter_map(|summary| match summary.system {
        System::Setup { model, arm } if !arm.is_diagnostic() => Some((model, summary)),
        _ => None,
    });
    let best = setups.rev().max_by(|a, b| a.1.score.estimate.total_cmp(&b.1.score.estimate));
    best.and_then(|(model, _)| model)
}

/// What a system scores on each slice, the worst first.
fn slices(
    table: &Table<'_>,
    system: System,
    of: &BTreeMap<String, String>,
    test: &PairedTest,
) -> Vec<SliceScore> {
    let scored = |(name, qids): (&str, BTreeSet<&str>)| {
        let mean = table.mean_over(system, test, |qid| qids.contains(qid))?;
        Some(SliceScore { name: name.to_owned(), questions: qids.len(), score: mean.interval })
    };
    let mut slices: Vec<SliceScore> = table.slices(of).into_iter().filter_map(scored).collect();
    slices.sort_by(|a, b| a.score.estimate.total_cmp(&b.score.estimate));
    slices
}

/// The pre-registered contrasts: every two systems that could be recommended, each of them against
/// the baselines, and within each model its oracle arm against each setup and the two diagnostic
/// steps (learning on top of gold passages, distraction by other passages). The list depends on
/// which systems were run, never on their scores. Holm adjusts it as one family.
fn contrasts(table: &Table<'_>, test: &PairedTest) -> Vec<Contrast> {
    let candidates: Vec<System> =
        table.systems().filter(|system| !system.is_diagnostic()).collect();
    let mut pairs: Vec<(System, System)> = Vec::new();
    for (index, a) in candidates.iter().enumerate() {
        pairs.extend(candidates[..index].iter().map(|b| (*a, *b)));
    }
    for b in &candidates {
        if let System::Setup { model, .. } = *b {
            pairs.push((System::Setup { model, arm: Arm::Oracle }, *b));
        }
    }
    for floor in table.systems().filter(|system| system.is_floor()) {
        pairs.extend(candidates.iter().map(|system| (*system, floor)));
    }
    for oracle in table.systems().filter(|system| system.is(Arm::Oracle)) {
        if let System::Setup { model, .. } = oracle {
            let at = |arm| System::Setup { model, arm };
            pairs.push((at(Arm::RaftOracle), oracle));
            pairs.push((oracle, at(Arm::OracleDistractors)));
        }
    }

    let mut contrasts: Vec<Contrast> =
        pairs.into_iter().filter_map(|(a, b)| table.contrast(a, b, test)).collect();
    let p: Vec<f64> = contrasts.iter().map(|contrast| contrast.p).collect();
    for (contrast, adjusted) in contrasts.iter_mut().zip(holm(&p)) {
        contrast.p_holm = adjusted;
    }
    contrasts
}

fn check(rule: &Rule) -> Result<(), Error> {
    let share = |name, found: f64, low: f64, high: f64, expected| {
        if found > low && found < high {
            Ok(())
        } else {
            Err(Error::Setting { name, found, expected })
        }
    };
    share("margin", rule.margin, 0.0, 1.0, "above 0 and below 1")?;
    share("alpha", rule.alpha, 0.0, 0.5, "above 0 and below 0.5")?;
    share("power", rule.power, 0.5, 1.0, "above 0.5 and below 1")?;
    if let Some(target) = rule.target {
        share("target", target, 0.0, 1.0 + f64::EPSILON, "above 0 and at most 1")?;
    }
    let resamples = rule.resamples as f64;
    share("resamples", resamples, 99.0, 1e7 + 1.0, "between 100 and 10 million")
}
