//! Example answers: which to show, and how.

use std::collections::BTreeMap;

use eval::{Arm, Trial};
use maud::{Markup, html};

use super::figure::arm_class;
use super::{ExampleAnswer, ExampleQuestion};

/// Questions shown per arm and verdict, and in all.
const PER_ARM: usize = 2;
const MOST: usize = 12;

/// Chooses questions that show every arm both right and wrong, those on which the arms disagree most first, so that a
/// page of a dozen tells them apart. `texts` gives question and gold answers; a question without texts is passed over.
/// Of several seeds the first is shown.
pub fn pick_examples(
    trials: &[Trial],
    texts: impl Fn(&str) -> Option<(String, Vec<String>)>,
) -> Vec<ExampleQuestion> {
    let mut by_question: BTreeMap<&str, BTreeMap<Arm, &Trial>> = BTreeMap::new();
    for trial in trials {
        let slot = by_question.entry(&trial.qid).or_default().entry(trial.arm).or_insert(trial);
        if trial.seed < slot.seed {
            *slot = trial;
        }
    }
    let mut needs: BTreeMap<(Arm, bool), usize> = BTreeMap::new();
    for trial in trials {
        needs.extend(trial.right().map(|right| ((trial.arm, right), PER_ARM)));
    }

    let mut chosen = Vec::new();
    while chosen.len() < MOST {
        let worth = |answers: &BTreeMap<Arm, &Trial>| {
            let verdicts: Vec<(Arm, bool)> =
                answers.values().filter_map(|trial| Some((trial.arm, trial.right()?))).collect();
            let fills = verdicts.iter().filter(|key| needs.get(key).is_some_and(|left| *left > 0)).count();
            let right = verdicts.iter().filter(|(_, right)| *right).count();
            (fills, right.min(verdicts.len() - right))
        };
        // The first of equals in question order, so that the choice never changes between runs.
        let mut best: Option<(&str, (usize, usize))> = None;
        for (qid, answers) in &by_question {
            let worth = worth(answers);
            if worth.0 > 0 && best.is_none_or(|(_, most)| worth > most) {
                best = Some((qid, worth));
            }
        }
        let Some((qid, answers)) = best.and_then(|(qid, _)| Some((qid, by_question.remove(qid)?))) else {
            break;
        };
        let Some((question, gold)) = texts(qid) else { continue };
        for trial in answers.values() {
            if let Some(left) = trial.right().and_then(|right| needs.get_mut(&(trial.arm, right))) {
                *left = left.saturating_sub(1);
            }
        }
        let answers = answers.values().map(|trial| ExampleAnswer {
            arm: trial.arm,
            answer: trial.answer.clone(),
            score: trial.score,
            evidence_retrieved: trial.evidence_retrieved,
        });
        chosen.push(ExampleQuestion { qid: qid.to_owned(), question, gold, answers: answers.collect() });
    }
    chosen
}

/// Half a dozen questions in sight, the rest folded away.
pub(super) fn examples(examples: &[ExampleQuestion]) -> Markup {
    const IN_SIGHT: usize = 6;
    let shown = &examples[..examples.len().min(MOST)];
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
                    span class={ "arm " (arm_class(answer.arm)) } {
                        (answer.arm)
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
