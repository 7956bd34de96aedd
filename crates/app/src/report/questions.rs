//! What was found wrong with the questions of a set: twins, shared documents, contradictions.

use maud::{Markup, html};

use super::content::QuestionFindings;
use crate::questions::{Contradiction, Leak, Likeness, SharedDocument};

/// The lists, folded away; nothing where nothing was found.
pub(super) fn questions(found: &QuestionFindings) -> Markup {
    let QuestionFindings { leaks, shared_documents, contradictions } = found;
    if leaks.is_empty() && shared_documents.is_empty() && contradictions.is_empty() {
        return html! {};
    }
    html! {
        div class="block" {
            h3 { "What stands twice" }
            @if !leaks.is_empty() { (twins(leaks)) }
            @if !contradictions.is_empty() { (different_answers(contradictions)) }
            @if !shared_documents.is_empty() { (documents(shared_documents)) }
        }
    }
}

fn twins(leaks: &[Leak]) -> Markup {
    html! {
        p class="note" {
            "What another split holds is left out: test questions that stand in train, and dev \
             questions that stand in train or test."
        }
        details {
            summary { (leaks.len()) " questions left out, with their twins" }
            div class="scroll" {
                table {
                    thead { tr { th { "left out" } th { "twin" } th { "why" } } }
                    tbody {
                        @for leak in leaks {
                            tr {
                                td { (leak.question.split.as_str()) " " (leak.question.id) ": " (leak.question.text) }
                                td { (leak.twin.split.as_str()) " " (leak.twin.id) ": " (leak.twin.text) }
                                td { (why(leak.likeness)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn why(likeness: Likeness) -> String {
    match likeness {
        Likeness::Same => "the same words".to_owned(),
        Likeness::Near => "nearly the same words, the same figures and order".to_owned(),
        Likeness::Paraphrase { cosine } => {
            format!("other words with the same answer, cosine {cosine:.2}")
        }
    }
}

fn different_answers(contradictions: &[Contradiction]) -> Markup {
    html! {
        p class="note" { "A model can learn one of these answers at most." }
        details {
            summary { (contradictions.len()) " training questions with different answers" }
            div class="scroll" {
                table {
                    thead { tr { th { "question" } th { "answers" } } }
                    tbody {
                        @for contradiction in contradictions {
                            tr {
                                td { (contradiction.question) }
                                td {
                                    @for (answer, place) in &contradiction.answers {
                                        div { (answer) " " small { (place) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn documents(shared: &[SharedDocument]) -> Markup {
    html! {
        p class="note" {
            "Questions about one document in two splits may help each other. Nothing is left out \
             for that."
        }
        details {
            summary { (shared.len()) " documents with questions in more than one split" }
            div class="scroll" {
                table {
                    thead { tr { th { "document" } th { "train" } th { "dev" } th { "test" } } }
                    tbody {
                        @for SharedDocument { document, questions } in shared {
                            tr {
                                td { (document) }
                                @for count in questions { td { (count) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
