//! Training questions that stand there with different answers.

use std::collections::BTreeMap;
use std::fmt;

use eval::{Measure, grade};
use serde::{Deserialize, Serialize};

use super::leak::word_key;
use super::question::Question;

/// A question that stands in train several times, with answers that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// The question, as it stands there first.
    pub question: String,
    /// Each answer, and where it stands: `FILE:LINE`.
    pub answers: Vec<(String, String)>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<String> =
            (self.answers.iter()).map(|(answer, place)| format!("{answer:?} ({place})")).collect();
        write!(f, "{:?} has different answers in train: {}", self.question, answers.join(", "))
    }
}

/// The questions that stand in train with answers of which one would be wrong beside the other, in
/// the order of the file. Only where an answer is right or wrong: free answers differ in form.
pub(super) fn contradictions(measure: Measure, train: &[Question]) -> Vec<Contradiction> {
    if !matches!(measure, Measure::Label | Measure::ExactMatch | Measure::Numeric { .. }) {
        return Vec::new();
    }
    let mut same: BTreeMap<String, Vec<&Question>> = BTreeMap::new();
    for question in train {
        same.entry(word_key(&question.text)).or_default().push(question);
    }
    let mut found: Vec<&Vec<&Question>> =
        same.values().filter(|questions| contradict(measure, questions)).collect();
    found.sort_by_key(|questions| (&questions[0].place.file, questions[0].place.line));
    found.into_iter().map(|questions| listed(questions)).collect()
}

/// Whether no answer of one of them is right for another one.
fn contradict(measure: Measure, questions: &[&Question]) -> bool {
    let right = |a: &Question, b: &Question| {
        a.answers.iter().any(|answer| grade(measure, answer, &b.answers) == Some(1.0))
    };
    questions.iter().skip(1).any(|other| !right(questions[0], other))
}

fn listed(questions: &[&Question]) -> Contradiction {
    let answer = |question: &&Question| {
        let place = &question.place;
        (question.answers.join(" or "), format!("{}:{}", place.file.display(), place.line))
    };
    Contradiction {
        question: questions[0].text.clone(),
        answers: questions.iter().map(answer).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::question;

    #[test]
    fn the_same_question_with_other_answers_is_listed_with_its_lines() {
        let rows = [
            ("Is it open?", "yes"),
            ("When?", "at six"),
            ("is it OPEN", "no"),
            ("Is it not open?", "no"),
            ("When?", "At six."),
        ];
        let train: Vec<Question> = rows
            .iter()
            .enumerate()
            .map(|(line, (text, answer))| {
                let mut question = question(text, answer);
                question.place = crate::questions::Place { file: "t.jsonl".into(), line: line + 1 };
                question
            })
            .collect();
        let found = contradictions(Measure::Label, &train);
        let answers = vec![
            ("yes".to_owned(), "t.jsonl:1".to_owned()),
            ("no".to_owned(), "t.jsonl:3".to_owned()),
        ];
        assert_eq!(found, [Contradiction { question: "Is it open?".to_owned(), answers }]);
        assert!(contradictions(Measure::TokenF1, &train).is_empty(), "free answers differ in form");
    }
}
