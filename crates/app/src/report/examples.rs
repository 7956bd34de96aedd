//! Example answers: which to show, and how.

use std::collections::BTreeMap;

use eval::System;
use maud::{Markup, html};

use super::content::{ExampleAnswer, ExampleQuestion};
use super::figure::arm_class;

/// Questions shown per arm and verdict, and in all.
const PER_ARM: usize = 2;
const MOST: usize = 12;

/// Chooses questions that show every arm both right and wrong, those on which the arms disagree
/// most first, so that a dozen of them tell the arms apart. Of equals the first is taken, so the
/// choice never changes between runs.
fn pick(examples: &[ExampleQuestion]) -> Vec<&ExampleQuestion> {
    let verdicts = |example: &ExampleQuestion| -> Vec<(System, bool)> {
        example
            .answers
            .iter()
            .filter_map(|answer| Some((answer.system, verdict(answer)?)))
            .collect()
    };
    let mut left: Vec<(&ExampleQuestion, Vec<(System, bool)>)> =
        examples.iter().map(|example| (example, verdicts(example))).collect();
    let mut needs: BTreeMap<(System, bool), usize> = BTreeMap::new();
    for key in left.iter().flat_map(|(_, verdicts)| verdicts) {
        needs.insert(*key, PER_ARM);
    }

    let mut chosen = Vec::new();
    while chosen.len() < MOST {
        let worth = |verdicts: &[(System, bool)]| {
            let fills =
                verdicts.iter().filter(|key| needs.get(key).is_some_and(|need| *need > 0)).count();
            let right = verdicts.iter().filter(|(_, right)| *right).count();
            (fills, right.min(verdicts.len() - right))
        };
        let mut best: Option<(usize, (usize, usize))> = None;
        for (index, (_, verdicts)) in left.iter().enumerate() {
            let worth = worth(verdicts);
            if worth.0 > 0 && best.is_none_or(|(_, most)| worth > most) {
                best = Some((index, worth));
            }
        }
        let Some((index, _)) = best else { break };
        let (example, verdicts) = left.remove(index);
        for key in &verdicts {
            if let Some(need) = needs.get_mut(key) {
                *need = need.saturating_sub(1);
            }
        }
        chosen.push(example);
    }
    chosen
}

/// Half a dozen questions in sight, the rest folded away.
pub(super) fn examples(examples: &[ExampleQuestion]) -> Markup {
    const IN_SIGHT: usize = 6;
    let shown = pick(examples);
    let (first, rest) = shown.split_at(shown.len().min(IN_SIGHT));
    html! {
        div class="examples" { @for example in first { (card(example)) } }
        @if !rest.is_empty() {
            details {
                summary { (rest.len()) " more questions" }
                div class="examples" { @for example in rest { (card(example)) } }
            }
        }
    }
}

/// One question; arms that gave the same answer share a row, right answers first.
fn card(example: &ExampleQuestion) -> Markup {
    let mut rows: Vec<Vec<&ExampleAnswer>> = Vec::new();
    for answer in &example.answers {
        let same = |row: &&mut Vec<&ExampleAnswer>| {
            row[0].answer.trim() == answer.answer.trim() && verdict(row[0]) == verdict(answer)
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.push(answer),
            None => rows.push(vec![answer]),
        }
    }
    rows.sort_by_key(|row| match verdict(row[0]) {
        Some(true) => 0,
        Some(false) => 1,
        None => 2,
    });
    html! {
        article class="example" {
            h4 { (example.question) }
            p class="soft small" { "gold: " (example.gold.join(" / ")) }
            table { tbody { @for row in &rows { (answer_row(row)) } } }
        }
    }
}

fn verdict(answer: &ExampleAnswer) -> Option<bool> {
    answer.score.map(|score| score >= eval::trial::RIGHT)
}

fn answer_row(row: &[&ExampleAnswer]) -> Markup {
    let text = row[0].answer.trim();
    html! {
        tr {
            td class="mark" {
                @match verdict(row[0]) {
                    Some(true) => { span class="yes" role="img" aria-label="right" { "✓" } }
                    Some(false) => { span class="no" role="img" aria-label="wrong" { "✗" } }
                    None => { span class="soft" role="img" aria-label="not graded" { "?" } }
                }
            }
            td class="who" {
                @for answer in row {
                    span class={ "arm " (arm_class(answer.system)) } {
                        (answer.system)
                        @if answer.evidence_retrieved == Some(false) { sup title="evidence not retrieved" { "∅" } }
                    }
                }
            }
            td class="answer" {
                @if text.is_empty() { span class="soft" { "(nothing)" } } @else { (shorten(text)) }
            }
        }
    }
}

/// Long answers are cut at a word, so that a rambling arm doesn't bury the others.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 220;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST).collect();
    let end = cut.rfind(char::is_whitespace).unwrap_or(cut.len());
    format!("{} …", cut[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eval::Arm;

    use super::*;

    #[test]
    fn each_arm_is_shown_right_and_wrong_where_it_was_both() {
        let answer = |arm: Arm, right: bool| ExampleAnswer {
            system: arm.into(),
            answer: String::new(),
            score: Some(f64::from(u8::from(right))),
            evidence_retrieved: None,
        };
        // base is right once in fifty, rag wrong once in fifty, raft always right.
        let examples: Vec<ExampleQuestion> = (0..50)
            .map(|index| ExampleQuestion {
                qid: index.to_string(),
                answers: vec![
                    answer(Arm::Base, index == 31),
                    answer(Arm::Rag, index != 44),
                    answer(Arm::Raft, true),
                ],
                ..ExampleQuestion::default()
            })
            .collect();
        let picked = pick(&examples);
        let ids: BTreeSet<&str> = picked.iter().map(|example| example.qid.as_str()).collect();
        assert!(ids.len() == picked.len() && picked.len() <= 6);
        assert!(ids.contains("31") && ids.contains("44"), "{ids:?}");
        assert!(pick(&[]).is_empty());
    }
}
