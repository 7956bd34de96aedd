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
    // At most one branch goes on to another node; the rest end in outcomes.
    // Where the data cannot tell, the way is that of "no", and it says so.
    let other = if node.answer == Answer::Unknown { Answer::Unknown } else { Answer::No };
    let on = [(Answer::Yes, &node.yes), (other, &node.no)];
    let down = on.iter().find(|(_, lead)| matches!(lead, Lead::Node(_))).map(|(answer, _)| *answer);
    let exits = on.iter().filter_map(|(answer, lead)| match lead {
        Lead::Outcome(outcomes) => Some((*answer, outcomes)),
        Lead::Node(_) => None,
    });
    let taken = |answer: Answer| node.reached && node.answer == answer;
    html! {
        li class=(if node.reached { "" } else { "away" }) {
            div class=(if node.reached { "node taken" } else { "node" }) {
                b { (node.question) }
                span { (typeset(&node.measurement)) }
            }
            div class="exits" {
                @for (answer, outcomes) in exits {
                    div class=(if taken(answer) { "branch taken" } else { "branch" }) { i { (answer.as_str()) } }
                    div class="leaves" { (leaves(outcomes, taken(answer), decision.outcome)) }
                }
            }
            @if let Some(answer) = down {
                div class=(if taken(answer) { "down taken" } else { "down" }) { (answer.as_str()) }
            }
        }
    }
}

fn leaves(outcomes: &[Outcome], taken: bool, outcome: Outcome) -> Markup {
    html! {
        @for leaf in outcomes {
            span class=(if taken && *leaf == outcome { "leaf taken" } else { "leaf" }) { (leaf) }
        }
    }
}
