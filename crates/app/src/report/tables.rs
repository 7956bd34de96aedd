//! The figures behind the plots, for those who want to read rather than look.

use eval::figures::{
    count, duration, p_value, percent, percent_interval, points, points_interval, size,
};
use eval::{Attribution, Decision, Gate, GateAnswer};
use maud::{Markup, html};

use super::content::ReportContext;
use super::figure::{arm_class, class_name};
use super::text::typeset;

pub(super) fn arms(decision: &Decision) -> Markup {
    html! {
        div class="scroll" { table {
            thead { tr {
                th { "setup" } th class="number" { "questions" } th class="number" { "score" }
                th class="number" { "contains the expected text" } th class="number" { "prompt tokens" }
                th class="number" { "answer tokens" } th class="number" { "p50" } th class="number" { "p95" }
                th class="number" { "training" } th class="number" { "per correct answer" } th { "limits" }
            } }
            tbody { @for s in &decision.systems { tr class=(arm_class(s.system)) {
                td class="arm" { (s.system.title()) }
                td class="number" { (s.questions) @if s.seeds > 1 { " × " (s.seeds) " seeds" } }
                td class="number" { (percent_interval(s.score)) }
                td class="number" { (percent(s.lenient)) }
                td class="number" { (format!("{:.0}", s.prompt_tokens)) }
                td class="number" { (format!("{:.1}", s.completion_tokens)) }
                td class="number" { (duration(s.latency_p50)) }
                td class="number" { (duration(s.latency_p95)) }
                td class="number" { @if s.costs.training_seconds > 0.0 { (duration(s.costs.training_seconds)) } @else { "–" } }
                td class="number" { (s.seconds_per_correct.map_or("never".to_owned(), duration)) }
                td { @if s.system.is_floor() { "baseline" } @else if s.system.is_diagnostic() { "diagnostic" } @else if s.fails.is_empty() { "within" } @else { (s.fails.join(", ")) } }
            } } }
        } }
    }
}

pub(super) fn contrasts(decision: &Decision) -> Markup {
    html! {
        div class="scroll" { table {
            thead { tr {
                th { "contrast" } th class="number" { "questions" } th class="number" { "difference" }
                th class="number" { "better / worse" } th class="number" { "p" } th class="number" { "p, Holm" }
            } }
            tbody { @for c in &decision.contrasts { tr {
                td { span class={ "arm " (arm_class(c.a)) } { (c.a) } " − " span class={ "arm " (arm_class(c.b)) } { (c.b) } }
                td class="number" { (c.questions) }
                td class="number" { (typeset(&points_interval(c.difference))) }
                td class="number" { (c.a_better) " / " (c.b_better) }
                td class="number" { (p_value(c.p)) }
                td class="number" { (p_value(c.p_holm)) }
            } } }
        } }
    }
}

pub(super) fn errors(attribution: &Attribution) -> Markup {
    html! {
        table {
            thead { tr { th { "why rag was wrong" } th class="number" { "questions" } th class="number" { "of errors" } th { "what helps" } } }
            tbody { @for (class, count) in attribution.counts.iter().filter(|(_, count)| *count > 0) { tr {
                td { span class="swatch" style={ "background:var(--class-" (class_name(*class)) ")" } {} (class.as_str()) }
                td class="number" { (count) }
                td class="number" { (percent(attribution.share(*class))) }
                td { (class.remedy()) }
            } } }
        }
    }
}

pub(super) fn gate(gate: &Gate) -> Markup {
    html! {
        table {
            thead { tr { th { "condition" } th { "measured on dev" } th { "holds" } } }
            tbody { @for condition in &gate.conditions { tr {
                td { (condition.statement) }
                td { (typeset(&condition.measurement)) }
                td { (gate_word(condition.answer.unwrap_or(if condition.holds { GateAnswer::Yes } else { GateAnswer::No }))) }
            } } }
        }
    }
}

/// The answer of the gate or of one of its conditions.
pub(super) fn gate_word(answer: GateAnswer) -> Markup {
    html! {
        @match answer {
            GateAnswer::Yes => { span class="yes" { "yes" } }
            GateAnswer::No => { span class="no" { "no" } }
            GateAnswer::Unknown => { span class="soft" { "unknown" } }
        }
    }
}

/// The most that each choice might cost.
pub(super) fn regrets(decision: &Decision) -> Markup {
    html! {
        table {
            thead { tr { th { "choice" } th class="number" { "points lost, at most" } th class="number" { "more time than the cheapest" } } }
            tbody { @for regret in &decision.regrets { tr {
                td { span class={ "arm " (arm_class(regret.system)) } { (regret.system) } }
                td class="number" { (size(regret.points)) }
                td class="number" { @if regret.seconds > 0.0 { (duration(regret.seconds)) } @else { "–" } }
            } } }
        }
    }
}

pub(super) fn slices(decision: &Decision) -> Markup {
    html! {
        table {
            thead { tr { th { "slice" } th class="number" { "questions" } th class="number" { "score (95 % interval)" } } }
            tbody { @for slice in &decision.slices { tr {
                td { (slice.name) }
                td class="number" { (slice.questions) }
                td class="number" { (percent_interval(slice.score)) }
            } } }
        }
    }
}

/// What was dropped on dev.
pub(super) fn pruned(decision: &Decision) -> Markup {
    html! {
        table {
            thead { tr { th { "system" } th class="number" { "score on dev" } th class="number" { "against the best on dev" } th { "which is" } } }
            tbody { @for pruned in &decision.pruned { tr {
                td { span class={ "arm " (arm_class(pruned.system)) } { (pruned.system) } }
                td class="number" { (percent(pruned.score)) }
                td class="number" { (typeset(&points_interval(pruned.difference))) }
                td { span class={ "arm " (arm_class(pruned.best)) } { (pruned.best) } }
            } } }
        }
    }
}

pub(super) fn criteria(decision: &Decision) -> Markup {
    html! {
        table {
            thead { tr { th { "criterion" } th { "measured" } th { "which says" } } }
            tbody { @for criterion in &decision.criteria { tr {
                td { (criterion.name) }
                td { (typeset(&criterion.measurement)) }
                td { (criterion.reading) }
            } } }
        }
    }
}

pub(super) fn documents(context: &ReportContext) -> Markup {
    html! {
        div class="scroll" { table {
            thead { tr { th { "document" } th { "format" } th class="number" { "pages" } th class="number" { "characters" } th class="number" { "chunks" } } }
            tbody { @for document in &context.documents { tr {
                td { (document.path) @if let Some(problem) = &document.problem { br; span class="no" { (problem) } } }
                td { (document.format) }
                td class="number" { @if document.pages > 0 { (document.pages) } @else { "–" } }
                td class="number" { (count(document.characters as u64)) }
                td class="number" { (document.chunks) }
            } } }
        } }
    }
}

/// Name and value pairs.
pub(super) fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        dl class="facts" { @for (name, value) in facts { dt { (name) } dd { (value) } } }
    }
}

/// The learning curve in a sentence.
pub(super) fn curve_sentence(decision: &Decision) -> Option<String> {
    let curve = decision.curve.as_ref()?;
    let gain = curve.gain_of_doubling;
    let weight = if curve.still_rises(decision.rule.margin) {
        "More pairs are worth it"
    } else {
        "Less than the margin"
    };
    Some(typeset(&format!(
        "{weight}: twice the pairs are foreseen to change the score by {} points, between {} and {}.",
        points(gain.estimate),
        points(gain.lower),
        points(gain.upper)
    )))
}
