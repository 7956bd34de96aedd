//! The decision tree: one row a question, the way out to the right, the way on downward, the path
//! taken marked.

use eval::decision::{Answer, Lead, Node};
use eval::{Decision, Outcome};
use maud::{Markup, html};

use super::text::typeset;

pub(super) fn tree(decision: &Decision) -> Markup {
    html! {
        ol class="tree" {
            @for node in &decision.tree {
                (row(node, decision))
            }
        }
    }
}

fn row(node: &Node, decision: &Decision) -> Markup {
    let answers = [
        (&[Answer::Yes][..], &node.yes),
        // What is unknown leads where "no" does.
        (&[Answer::No, Answer::Unknown][..], &node.no),
    ];
    html! {
        li class=(if node.reached { "" } else { "away" }) {
            div class=(if node.reached { "node taken" } else { "node" }) {
                b { (node.question) " " span class={ "says " (node.answer.as_str()) } { (node.answer.as_str()) } }
                span { (typeset(&node.measurement)) }
            }
            div class="exits" {
                @for (answers, lead) in answers {
                    @if let Lead::Outcome(outcomes) = lead {
                        @let taken = node.reached && answers.contains(&node.answer);
                        div class=(if taken { "branch taken" } else { "branch" }) { i { (words(answers)) } }
                        div class="leaves" { (leaves(outcomes, taken, decision.outcome)) }
                    }
                }
            }
            @for (answers, lead) in answers {
                @if matches!(lead, Lead::Node(_)) {
                    @let taken = node.reached && answers.contains(&node.answer);
                    div class=(if taken { "down taken" } else { "down" }) { (words(answers)) }
                }
            }
        }
    }
}

/// Where a branch ends. Outcomes that all name a setup are one leaf, which says which where the path
/// was taken.
fn leaves(outcomes: &[Outcome], taken: bool, outcome: Outcome) -> Markup {
    let one = outcomes.len() == 1;
    html! {
        @if taken {
            span class="leaf taken" { (outcome) }
        } @else if one {
            @for leaf in outcomes { span class="leaf" { (leaf) } }
        } @else {
            span class="leaf" { "that setup" }
        }
    }
}

/// "no, unknown".
fn words(answers: &[Answer]) -> String {
    let words: Vec<&str> = answers.iter().map(|answer| answer.as_str()).collect();
    words.join(", ")
}
