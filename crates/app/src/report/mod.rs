//! The HTML report: one self-contained file per comparison, for people who were not there.

mod examples;
mod figure;
mod set;
mod tables;
#[cfg(test)]
mod tests;
mod tree;

use eval::figures::duration;
use eval::{Arm, Decision};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What the whole page is about.
#[derive(Debug, Clone, Default)]
pub struct ReportContext {
    /// Project name.
    pub project: String,
    /// Model, quantisation, embedder, program version and the like: (name, value).
    pub versions: Vec<(String, String)>,
    /// When the report was written, as text.
    pub generated: String,
    /// Receipts of the documents.
    pub documents: Vec<DocumentReceipt>,
    /// Seconds each stage of the run took: (stage, seconds).
    pub stages: Vec<(String, f64)>,
}

/// One ingested document.
#[derive(Debug, Clone, Default)]
pub struct DocumentReceipt {
    /// Path within the project.
    pub path: String,
    /// Format name.
    pub format: String,
    /// Pages, where the format has pages.
    pub pages: usize,
    /// Characters of text.
    pub characters: usize,
    /// Chunks indexed.
    pub chunks: usize,
    /// Why it was not ingested, if it was not.
    pub problem: Option<String>,
}

/// One question set with its decision.
#[derive(Debug, Clone)]
pub struct SetReport {
    /// The decision.
    pub decision: Decision,
    /// The test questions with the answers of the arms; the page shows a dozen, chosen to tell the
    /// arms apart.
    pub examples: Vec<ExampleQuestion>,
    /// Training runs behind the fine-tuned arms.
    pub training: Vec<TrainingRun>,
    /// Further facts on the set: (name, value), such as the instruction or the sizes of the splits.
    pub facts: Vec<(String, String)>,
}

/// One test question with what the arms answered.
#[derive(Debug, Clone, Default)]
pub struct ExampleQuestion {
    /// Question id.
    pub qid: String,
    /// The question.
    pub question: String,
    /// Gold answers.
    pub gold: Vec<String>,
    /// Answers by arm.
    pub answers: Vec<ExampleAnswer>,
}

/// One arm's answer.
#[derive(Debug, Clone)]
pub struct ExampleAnswer {
    /// Who answered.
    pub arm: Arm,
    /// The answer.
    pub answer: String,
    /// Its score; `None` when the grader failed.
    pub score: Option<f64>,
    /// Whether the gold evidence was retrieved.
    pub evidence_retrieved: Option<bool>,
}

/// The course of one training run.
#[derive(Debug, Clone)]
pub struct TrainingRun {
    /// The arm trained for.
    pub arm: Arm,
    /// Seed.
    pub seed: u64,
    /// (step, loss per trained token) on train.
    pub train_loss: Vec<(usize, f64)>,
    /// (step, loss per trained token) on dev.
    pub dev_loss: Vec<(usize, f64)>,
    /// Step whose weights were kept.
    pub best_step: Option<usize>,
    /// Seconds it took.
    pub seconds: f64,
    /// Further facts: (name, value), such as pairs, epochs, rank.
    pub facts: Vec<(String, String)>,
}

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
            "Every arm answered the same held-out questions with the same base model, decoding and retriever. Lines \
             are intervals at the level of each set's rule; hollow dots are diagnostic arms that are shown the gold \
             passages and can't be served."
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

/// A fragment name for a set: letters and digits, everything else a dash.
fn anchor(set: &str) -> String {
    let clean: String = set.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("set-{clean}")
}

/// Figures come with ASCII hyphens and plain spaces, which suit a terminal; a page can afford the
/// true minus sign, and must not break a line before "%".
fn typeset(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let sign = matches!(before, ' ' | '[') && (next == ' ' || next.is_ascii_digit());
        out.push(match c {
            '-' if sign => '\u{2212}',
            ' ' if next == '%' => '\u{a0}',
            c => c,
        });
        before = c;
    }
    out
}
