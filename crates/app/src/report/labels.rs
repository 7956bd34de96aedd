//! A label task by label: macro-F1 of every system, and of one of them precision, recall and what
//! it takes for what.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use eval::LabelFigures;
use eval::figures::{percent, percent_interval};
use maud::{Markup, html};

use super::content::SetReport;
use super::figure::arm_class;
use super::text::typeset;

/// With more labels than this a matrix is too wide to read, and the confusions are listed.
const MATRIX: usize = 12;
/// Confusions listed.
const LISTED: usize = 20;

pub(super) fn labels(set: &SetReport) -> Markup {
    let decision = &set.decision;
    let shown = decision.recommended.or(decision.best);
    let one = set.labels.iter().find(|labels| shown.is_some_and(|system| system.is(labels.arm)));
    html! {
        @if !set.labels.is_empty() {
            div class="block" {
                h3 { "Label by label" }
                p class="note" {
                    "Macro-F1 counts a rare label as much as a frequent one. It is the mean of the F1 of the labels that "
                    "are asked for, with the interval of a jackknife over sources. The decision rests on label accuracy."
                }
                div class="scroll" { table {
                    thead { tr {
                        th { "system" } th class="number" { "macro-F1" } th class="number" { "answers" }
                        th class="number" { "no label" }
                    } }
                    tbody { @for labels in &set.labels { tr class=(arm_class(labels.arm)) {
                        td class="arm" { (labels.arm.title()) }
                        td class="number" { (typeset(&percent_interval(labels.figures.macro_f1))) }
                        td class="number" { (labels.figures.answers) }
                        td class="number" { (labels.figures.no_label) }
                    } } }
                } }
                @if let Some(one) = one {
                    details open[one.figures.labels.len() <= MATRIX] {
                        summary { (one.arm) ": precision and recall of each label" }
                        (scores(&one.figures))
                    }
                    details open[one.figures.labels.len() <= MATRIX] {
                        summary { (one.arm) ": what is taken for what" }
                        @if one.figures.labels.len() <= MATRIX { (matrix(&one.figures)) } @else { (list(&one.figures)) }
                    }
                }
            }
        }
    }
}

fn scores(figures: &LabelFigures) -> Markup {
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    html! {
        div class="scroll" { table {
            thead { tr {
                th { "label" } th class="number" { "asked for" } th class="number" { "given" }
                th class="number" { "precision" } th class="number" { "recall" } th class="number" { "F1" }
            } }
            tbody { @for label in &figures.labels { tr {
                td { (label.label) }
                td class="number" { (label.gold) }
                td class="number" { (label.given) }
                td class="number" { (share(label.precision())) }
                td class="number" { (share(label.recall())) }
                td class="number" { (percent(label.f1())) }
            } } }
        } }
    }
}

/// Rows are what was asked for, columns what was given.
fn matrix(figures: &LabelFigures) -> Markup {
    let mut columns: Vec<Option<&str>> =
        figures.labels.iter().map(|label| Some(label.label.as_str())).collect();
    for cell in &figures.confusion {
        let given = cell.given.as_deref();
        if given.is_some() && !columns.contains(&given) {
            columns.push(given);
        }
    }
    // Always there, so that none is seen to be none.
    columns.push(None);
    let cells: BTreeMap<(&str, Option<&str>), usize> = figures
        .confusion
        .iter()
        .map(|cell| ((cell.gold.as_str(), cell.given.as_deref()), cell.count))
        .collect();
    html! {
        div class="scroll" { table {
            thead { tr {
                th { "asked for ↓, given →" }
                @for column in &columns { th class="number" { (column.unwrap_or("no label")) } }
            } }
            tbody { @for row in &figures.labels { tr {
                th { (row.label) }
                @for column in &columns {
                    @let count = cells.get(&(row.label.as_str(), *column)).copied().unwrap_or_default();
                    td class="number" {
                        @if *column == Some(row.label.as_str()) { strong { (count) } }
                        @else if count > 0 { (count) }
                        @else { span class="soft" { "·" } }
                    }
                }
            } } }
        } }
    }
}

/// The most frequent confusions, and how many there are besides.
fn list(figures: &LabelFigures) -> Markup {
    let mut wrong: Vec<_> =
        figures.confusion.iter().filter(|cell| cell.given.as_ref() != Some(&cell.gold)).collect();
    wrong.sort_by_key(|cell| Reverse(cell.count));
    let rest: usize = wrong.iter().skip(LISTED).map(|cell| cell.count).sum();
    html! {
        div class="scroll" { table {
            thead { tr { th { "asked for" } th { "given" } th class="number" { "answers" } } }
            tbody { @for cell in wrong.iter().take(LISTED) { tr {
                td { (cell.gold) }
                td { (cell.given.as_deref().unwrap_or("no label")) }
                td class="number" { (cell.count) }
            } } }
        } }
        @if rest > 0 { p class="note" { (rest) " further wrong answers are not listed." } }
    }
}

#[cfg(test)]
mod tests {
    use eval::{LabelAnswer, label_figures};

    use super::*;

    fn figures(pairs: &[(String, String)]) -> LabelFigures {
        let gold: Vec<Vec<String>> = pairs.iter().map(|(_, gold)| vec![gold.clone()]).collect();
        let answers: Vec<LabelAnswer<'_>> = pairs
            .iter()
            .zip(&gold)
            .map(|((answer, gold), golds)| LabelAnswer {
                cluster: gold,
                seed: 0,
                answer,
                gold: golds,
            })
            .collect();
        label_figures(&answers, &["spare".to_owned()], false, 0.05).unwrap()
    }

    fn owned(answer: &str, gold: &str) -> (String, String) {
        (answer.to_owned(), gold.to_owned())
    }

    #[test]
    fn the_matrix_has_a_column_for_what_is_no_label() {
        let right = matrix(&figures(&[owned("a", "a"), owned("b", "b")])).into_string();
        assert!(right.contains("<th class=\"number\">no label</th>"));
        let wrong =
            figures(&[owned("a", "a"), owned("well", "b"), owned("spare", "b"), owned("b", "b")]);
        let page = matrix(&wrong).into_string();
        let row = page.split("<th>b</th>").nth(1).unwrap();
        // a, b, spare, no label
        let cells = ["<span class=\"soft\">·</span>", "<strong>1</strong>", "1", "1"];
        let expected: String =
            cells.iter().map(|cell| format!("<td class=\"number\">{cell}</td>")).collect();
        assert!(row.starts_with(&expected), "{row}");
        let scores = scores(&wrong).into_string();
        assert!(scores.contains("33.3 %") && scores.contains("50.0 %"), "{scores}");
    }

    #[test]
    fn many_labels_are_a_list_that_says_what_it_leaves_out() {
        let pairs: Vec<(String, String)> =
            (0..30).map(|at| owned(&format!("l{}", (at + 1) % 30), &format!("l{at}"))).collect();
        let page = list(&figures(&pairs)).into_string();
        assert_eq!(page.matches("<tr>").count(), 1 + LISTED);
        assert!(page.contains("10 further wrong answers are not listed"));
    }
}
