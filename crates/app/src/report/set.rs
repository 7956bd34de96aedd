//! The section of one question set: verdict, evidence, tree, costs, examples.

use eval::figures::{count, duration, p_value, percent, percent_interval, size};
use eval::{Arm, Decision, GateAnswer, Outcome};
use maud::{Markup, html};

use super::content::SetReport;
use super::figure::{self, Row};
use super::text::{anchor, typeset};
use super::{examples, labels, questions, tables, tree};

pub(super) fn section(set: &SetReport) -> Markup {
    let decision = &set.decision;
    html! {
        section class="set" id=(anchor(&decision.set)) {
            (verdict(decision))
            (warnings(decision))
            (regrets(decision))
            (scores(decision))
            (differences(decision))
            (slices(decision))
            (labels::labels(set))
            (path(decision))
            (pruned(decision))
            (why_rag_fails(decision))
            (price(decision))
            (training(set))
            (questions::questions(&set.found))
            (background(set))
            @if !set.examples.is_empty() {
                h3 style="margin-top:2.2rem" { "What was answered" }
                p class="note" {
                    "Chosen so that every setup is seen right and wrong, where it was both; not a sample to count. "
                    "∅ marks a setup whose prompt lacked the evidence."
                }
                (examples::examples(&set.examples))
            }
        }
    }
}

/// The colour of the outcome: that of the arm, if it names one.
pub(super) fn outcome_class(decision: &Decision) -> String {
    decision.recommended.map(figure::arm_class).unwrap_or_default()
}

/// One line for the list at the top.
pub(super) fn brief(decision: &Decision) -> String {
    let scored = decision.recommended.or(decision.best).and_then(|arm| decision.system(arm));
    let score =
        scored.map(|s| format!("{} {}", s.system, percent_interval(s.score))).unwrap_or_default();
    let lead = if decision.recommended.is_some() { "" } else { "best so far: " };
    let target = decision
        .rule
        .target
        .map(|target| format!(", target {}", percent(target)))
        .unwrap_or_default();
    format!("{lead}{score}{target}, {} questions", decision.questions)
}

fn verdict(decision: &Decision) -> Markup {
    let scored = decision.recommended.or(decision.best).and_then(|arm| decision.system(arm));
    html! {
        div class="verdict" {
            h2 { (decision.set) }
            span class={ "outcome " (outcome_class(decision)) } { (decision.outcome) }
        }
        @if !decision.advice.is_empty() { p class="advice" { (typeset(&decision.advice)) } }
        p class="sentence" { (typeset(&decision.sentence)) }
        dl class="keys" {
            @if let Some(scored) = scored {
                div class=(figure::arm_class(scored.system)) {
                    dt { @if decision.recommended.is_some() { "recommended" } @else { "best measured" } }
                    dd { (scored.system) small { (percent_interval(scored.score)) } }
                }
            }
            div { dt { "measure" } dd class="long" { (decision.measure.title()) small {
                @match decision.rule.target { Some(target) => { "target " (percent(target)) } None => { "no target given" } }
            } } }
            div { dt { "questions" } dd { (decision.questions) small { "from " (decision.clusters) " sources" } } }
            div { dt { "margin" } dd { (size(decision.rule.margin)) " points" small {
                "can show " (size(decision.detectable_difference)) " points at " (percent(decision.rule.power).replace(".0", "")) " power"
            } } }
            @if let Some(power) = decision.power {
                div { dt { "chance to name it" } dd { (percent(power).replace(".0", "")) small {
                    "for a setup that leads by " (size(1.5 * decision.rule.margin)) " points"
                } } }
            }
        }
    }
}

fn warnings(decision: &Decision) -> Markup {
    html! {
        @if !decision.warnings.is_empty() {
            aside class="warnings" {
                strong { "Before you rely on this" }
                ul { @for warning in &decision.warnings { li { (typeset(warning)) } } }
            }
        }
    }
}

/// Where nothing is decided: what each choice might cost, for those who must choose today.
fn regrets(decision: &Decision) -> Markup {
    html! {
        @if decision.outcome == Outcome::Undetermined && decision.regrets.len() > 1 {
            div class="block" {
                h3 { "If you must choose today" }
                p class="note" {
                    "The most that each choice might cost against the best, as far as these questions can tell."
                }
                (tables::regrets(decision))
            }
        }
    }
}

fn slices(decision: &Decision) -> Markup {
    let scored = decision.recommended.or(decision.best);
    html! {
        @if !decision.slices.is_empty() {
            div class="block" {
                h3 { "Slice by slice, the worst first" }
                p class="note" {
                    @if let Some(scored) = scored { "Scores of " (scored) ". " }
                    "An interval stands for its slice alone: among many slices one is low by luck."
                }
                (tables::slices(decision))
            }
        }
    }
}

fn pruned(decision: &Decision) -> Markup {
    html! {
        @if !decision.pruned.is_empty() {
            div class="block" {
                h3 { "Left out before the test" }
                p class="note" { "Shown on dev to be worse than the best by more than the margin, and so not asked the test questions." }
                (tables::pruned(decision))
            }
        }
    }
}

fn scores(decision: &Decision) -> Markup {
    html! {
        div class="block" {
            h3 { "How good each is" }
            p class="note" { (decision.measure.title()) " on the test questions." }
            figure {
                div class="scroll" { (figure::arms(decision)) }
            }
            details { summary { "Figures, tokens and latency" } (tables::arms(decision)) }
        }
    }
}

/// The arm that others are held against: the one recommended, or else the best.
fn differences(decision: &Decision) -> Markup {
    let Some(anchor) = decision.recommended.or(decision.best) else { return html! {} };
    let rows: Vec<Row> = decision
        .systems
        .iter()
        .filter(|other| other.system != anchor && !other.system.is_diagnostic())
        .filter_map(|other| decision.contrast(anchor, other.system))
        .map(|contrast| Row {
            label: format!("{anchor} − {}", contrast.b),
            system: contrast.b,
            difference: contrast.difference,
            note: format!("p {}", p_value(contrast.p_holm)),
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            div class="block" {
                h3 { (anchor) " against every other, question by question" }
                p class="note" {
                    "Right of zero, " (anchor) " is better. A line that stays right of the shaded strip shows that "
                    (anchor) " is not worse by more than the margin."
                }
                figure {
                    div class="scroll" { (figure::whiskers("Paired differences in points", &rows, Some(decision.rule.margin))) }
                    figcaption { "p-values by the procedure that gives the intervals, Holm-adjusted over all " (decision.contrasts.len()) " contrasts." }
                }
                details { summary { "All contrasts" } (tables::contrasts(decision)) }
            }
        }
    }
}

fn path(decision: &Decision) -> Markup {
    html! {
        div class="block" {
            h3 { "How the decision was reached" }
            p class="note" {
                "“Yes” means shown by the data at the "
                (percent(1.0 - decision.rule.alpha).replace(".0", ""))
                " level, not merely observed. The green path was taken; pale questions were not reached."
            }
            (tree::tree(decision))
        }
        @if !decision.flips.is_empty() {
            div class="block" {
                h3 { "What would change it" }
                ul class="flips" { @for flip in &decision.flips { li { (typeset(flip)) } } }
            }
        }
    }
}

fn why_rag_fails(decision: &Decision) -> Markup {
    let Some(attribution) = &decision.attribution else { return html! {} };
    let headrooms = [
        ("oracle − rag", Arm::Oracle, attribution.retrieval, "retrieval"),
        ("raft+oracle − oracle", Arm::RaftOracle, attribution.learnable, "learnable"),
        ("raft − rag", Arm::Raft, attribution.realised, "realised"),
    ];
    let rows: Vec<Row> = headrooms
        .into_iter()
        .filter_map(|(label, arm, difference, note)| {
            Some(Row {
                label: label.to_owned(),
                system: arm.into(),
                difference: difference?,
                note: note.to_owned(),
            })
        })
        .collect();
    html! {
        div class="block" {
            h3 { "What holds RAG back" }
            p class="note" {
                "rag was right on " (attribution.right) " of " (attribution.questions) " questions"
                @if let Some(share) = attribution.evidence_retrieved {
                    "; where a question names its evidence, " (percent(share)) " of the time it was retrieved"
                }
                "."
            }
            figure { div class="scroll" { (figure::errors(attribution)) } }
            @if attribution.errors() > 0 { (tables::errors(attribution)) }
            @if attribution.errors() > 0 && !attribution.is_attributed() {
                p class="note" { "No evidence is named, so errors are not attributed." }
            }
            @if !rows.is_empty() {
                figure style="margin-top:1.4rem" {
                    div class="scroll" { (figure::whiskers("Headrooms in points", &rows, None)) }
                    figcaption { "Points to be gained: by perfect retrieval; by learning from pairs, given perfect retrieval; by learning, with retrieval as it is." }
                }
            }
        }
        @if let Some(gate) = &decision.gate {
            div class="block" {
                h3 { "Has RAG hit its ceiling? " (tables::gate_word(gate.answer())) }
                p class="note" { "Read on " (gate.questions) " dev questions, before the test questions were opened. All three must hold for fine-tuning to be due"
                    @if gate.answer() == GateAnswer::No { ": fine-tuning is not needed yet" }
                    "." }
                (tables::gate(gate))
            }
        }
    }
}

fn price(decision: &Decision) -> Markup {
    let priced = decision.systems.iter().any(|arm| arm.seconds_per_query > 0.0);
    let both = decision.system(Arm::Rag).is_some() && decision.system(Arm::Tuned).is_some();
    html! {
        @if priced {
            div class="block" {
                h3 { "What each costs" }
                p class="note" {
                    "Seconds of this machine for training, index and answering. At " (count(decision.rule.expected_queries))
                    " expected queries"
                    @if let Some(arm) = decision.recommended.and_then(|arm| decision.system(arm)) {
                        ", " (arm.system) " takes " (duration(arm.total_seconds)) " in all"
                        @if let Some(each) = arm.seconds_per_correct { ", " (duration(each)) " per correct answer" }
                    }
                    "."
                    @if both {
                        @match decision.break_even_queries {
                            Some(queries) => { " Fine-tuning pays for its training from " (count(queries.round() as u64)) " queries on." }
                            None => { " Fine-tuning never pays for its training against rag: it saves nothing per query." }
                        }
                    }
                }
                figure { div class="scroll" { (figure::cost(decision)) } }
            }
        }
    }
}

fn training(set: &SetReport) -> Markup {
    let curve = set.decision.curve.as_ref();
    html! {
        @if !set.training.is_empty() || curve.is_some() {
            div class="block" {
                h3 { "How training went" }
                div class="pair" {
                    @for run in &set.training {
                        figure {
                            div class="scroll" { (figure::loss(run)) }
                            figcaption {
                                span class={ "arm " (figure::arm_class(run.arm)) } { (run.arm) } ", seed " (run.seed) ", " (duration(run.seconds))
                                @for (name, value) in &run.facts { ", " (name) " " (value) }
                            }
                        }
                    }
                    @if let Some(curve) = curve {
                        figure {
                            div class="scroll" { (figure::learning(curve)) }
                            @if let Some(sentence) = tables::curve_sentence(&set.decision) { figcaption { (sentence) } }
                        }
                    }
                }
            }
        }
    }
}

fn background(set: &SetReport) -> Markup {
    let decision = &set.decision;
    let rule = &decision.rule;
    let mut facts = set.facts.clone();
    facts.push(("margin".into(), format!("{} points", size(rule.margin))));
    facts.push((
        "intervals".into(),
        format!(
            "{}, jackknife over sources with the luck of training",
            percent(1.0 - rule.alpha).replace(".0", "")
        ),
    ));
    if decision.left_out > 0 {
        facts.push((
            "left out".into(),
            format!("{} test questions that stand in train", decision.left_out),
        ));
    }
    if let (Outcome::Undetermined, Some(more)) = (decision.outcome, decision.more_questions_needed)
    {
        facts.push(("questions needed".into(), format!("about {} more", count(more as u64))));
    }
    for opening in &decision.openings {
        facts.push(("test split opened".into(), format!("{}: {}", opening.when, opening.why)));
    }
    html! {
        div class="block" {
            h3 { "The criteria, one by one" }
            div class="scroll" { (tables::criteria(decision)) }
            details { summary { "Settings and record" } (tables::facts(&facts)) }
        }
    }
}
