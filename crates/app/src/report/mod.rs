//! The HTML report: one self-contained file per comparison, for people who were not there.

mod content;
mod examples;
mod figure;
mod labels;
mod questions;
mod set;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod tree;

use eval::figures::duration;
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use content::{
    DocumentReceipt, ExampleAnswer, ExampleQuestion, QuestionFindings, ReportContext, SetReport,
    TrainingCourse,
};
use text::{anchor, typeset};

/// Writes the page: no script, no external resource, light and dark, fit to print.
pub fn html(sets: &[SetReport], context: &ReportContext) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (context.project) ": RAG, fine-tuning, or both?" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header { (opening(sets, context)) }
                main { @for set in sets { (set::section(set)) } }
                footer { (closing(context)) }
            }
        }
    };
    page.into_string()
}

/// Title and the list of decisions.
fn opening(sets: &[SetReport], context: &ReportContext) -> Markup {
    html! {
        h1 { (context.project) }
        p class="lede" { "RAG, fine-tuning, both, or neither: what the measurements say" }
        ul class="decisions" {
            @for set in sets {
                @let decision = &set.decision;
                li { a href={ "#" (anchor(&decision.set)) } {
                    span class="set" { (decision.set) }
                    span class={ "outcome " (set::outcome_class(decision)) } { (decision.outcome) }
                    span class="says soft small" { (typeset(&set::brief(decision))) }
                } }
            }
        }
        p class="note" {
            "Every setup of a model answered the same held-out questions with the same decoding and retriever; a system \
             that was there already did by the answers handed in. Lines are 95 % intervals unless a set says otherwise; \
             hollow dots are setups for diagnosis, which are shown the gold passages, and baselines."
        }
    }
}

/// Documents, stages and versions.
fn closing(context: &ReportContext) -> Markup {
    html! {
        h2 { "How this was made" }
        @if !context.generated.is_empty() { p class="soft" { "Written " (context.generated) "." } }
        (tables::facts(&context.versions))
        @if !context.stages.is_empty() {
            h3 { "Time taken" }
            @let stages: Vec<_> = context.stages.iter().map(|(name, s)| (name.clone(), duration(*s))).collect();
            (tables::facts(&stages))
        }
        @if !context.documents.is_empty() {
            @let failed = context.documents.iter().filter(|document| document.problem.is_some()).count();
            details open[failed > 0] {
                summary {
                    (context.documents.len()) " documents"
                    @if failed > 0 { ", " (failed) " of them not ingested" }
                }
                (tables::documents(context))
            }
        }
    }
}
