//! Systems that are there already: their answers are read from a file, checked before anything is
//! opened, and graded like those of any setup.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use eval::{Costs, Name, System, Trial};
use serde_json::{Map, Value};

use super::costs::mean;
use super::trials::TrialRunner;
use crate::error::{Error, IoContext, Problem, Result};
use crate::grading::{Answered, Grade};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::ForeignSystem;
use crate::questions::{Place, Question, QuestionSet};

/// The fields of a line; any other is an error, so that a misspelt one is not passed over.
const FIELDS: [&str; 5] = ["id", "answer", "latency_seconds", "cost", "passages"];

/// What a system answered to the test questions of a set.
#[derive(Clone, Debug)]
pub(super) struct ForeignAnswers {
    pub(super) system: System,
    /// Whether it answers without a network.
    offline: bool,
    /// By the id of the question.
    answers: BTreeMap<String, ForeignAnswer>,
    /// Answers to other questions than those of test, which nothing is read from.
    pub(super) unused: usize,
    /// A hash of the file.
    pub(super) hash: String,
}

#[derive(Clone, Debug, PartialEq)]
struct ForeignAnswer {
    answer: String,
    latency_seconds: Option<f64>,
    /// In the user's currency.
    cost: Option<f64>,
    passages: Option<Vec<String>>,
}

impl ForeignAnswers {
    /// The answers of every foreign system that may have some for this set; one that has none takes no
    /// part.
    ///
    /// # Errors
    /// [`Error::Problems`] with every line that can't be read, every second answer to a question,
    /// every answer to a question that no set has, and every system that says it answered this set
    /// and has no answer to its test questions.
    pub(super) fn load(project: &Project, set: &QuestionSet) -> Result<Vec<Self>> {
        let mut problems = Vec::new();
        let mut all = Vec::new();
        for system in &project.config.systems {
            let named = system.set.as_ref();
            if named.is_none_or(|name| *name == set.config.name) {
                all.push(Self::read(project, system, set, &mut problems)?);
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(Error::Problems(problems)) }
    }

    fn read(
        project: &Project,
        system: &ForeignSystem,
        set: &QuestionSet,
        problems: &mut Vec<Problem>,
    ) -> Result<Self> {
        let path = project.path(&system.answers);
        let text = fs::read_to_string(&path).context("read", &path)?;
        let mut found = BTreeMap::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let ids = |questions: &[Question]| -> HashSet<String> {
            questions.iter().map(|question| question.id.clone()).collect()
        };
        let test = ids(&set.test);
        let left_out: HashSet<String> =
            set.leaked.iter().map(|leak| leak.question.id.clone()).collect();
        let known: HashSet<String> = set.all().map(|question| question.id.clone()).collect();
        let mut unused = 0;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = Place { file: system.answers.clone(), line: index + 1 };
            let Some((id, answer)) = parse(line, &place, problems) else { continue };
            if let Some(first) = seen.insert(id.clone(), index + 1) {
                let message =
                    format!("expected one answer to {id:?}, found another (first on line {first})");
                problems.push(place.problem("id", message));
            } else if test.contains(&id) {
                found.insert(id, answer);
            } else if known.contains(&id) || left_out.contains(&id) {
                unused += 1;
            } else if system.set.is_none() {
                // A question of another set, or of none.
                unused += 1;
            } else {
                let message = format!(
                    "expected the id of a question of set {:?}, found {id:?}",
                    set.config.name
                );
                problems.push(place.problem("id", message));
            }
        }
        if found.is_empty() && system.set.is_some() {
            let message = format!(
                "expected answers to the test questions of set {:?}, found none; `tunesmith questions \
                 export {} --split test` writes what to answer",
                set.config.name, set.config.name
            );
            problems.push(whole_file(&system.answers, message));
        }
        let name = Name::new(&system.name)?;
        Ok(Self {
            system: System::Foreign(name),
            offline: system.offline,
            answers: found,
            unused,
            hash: hash_bytes(text.as_bytes()),
        })
    }

    /// The answers graded; a question without one has no trial, and is missing.
    ///
    /// # Errors
    /// Those of the grader.
    pub(super) fn trials(
        &self,
        questions: &[Question],
        runner: &mut TrialRunner<'_>,
        stop: &AtomicBool,
    ) -> Result<Vec<Trial>> {
        let given: Vec<(&Question, &ForeignAnswer)> = (questions.iter())
            .filter_map(|question| Some((question, self.answers.get(&question.id)?)))
            .collect();
        let answered: Vec<Answered<'_>> = (given.iter())
            .map(|(question, given)| Answered { question, answer: &given.answer, documents: &[] })
            .collect();
        let grades = runner.grade(&answered, stop)?;
        let trial = |((question, given), grade): ((&Question, &ForeignAnswer), Grade)| {
            let ForeignAnswer { answer, latency_seconds, passages, cost: _ } = given;
            let seconds = latency_seconds.unwrap_or_default();
            Trial {
                qid: question.id.clone(),
                cluster: question.cluster().to_owned(),
                score: grade.score,
                lenient: grade.lenient,
                problem: grade.problem,
                evidence_retrieved: passages.as_ref().and_then(|all| evidence_in(all, question)),
                latency_seconds: seconds,
                first_token_seconds: seconds,
                abstained: answer.trim().is_empty(),
                answer: answer.clone(),
                ..Trial::new(self.system)
            }
        };
        Ok(given.into_iter().zip(grades).map(trial).collect())
    }

    /// How many of the questions it has no answer to.
    pub(super) fn missing(&self, questions: &[Question]) -> usize {
        questions.iter().filter(|question| !self.answers.contains_key(&question.id)).count()
    }

    /// Whether it answered any test question.
    pub(super) fn takes_part(&self) -> bool {
        !self.answers.is_empty()
    }

    /// What it costs, as far as its answers say: a time or a price is known where every answer names
    /// one.
    pub(super) fn costs(&self) -> Costs {
        let all = |value: fn(&ForeignAnswer) -> Option<f64>| {
            let values: Option<Vec<f64>> = self.answers.values().map(value).collect();
            values.map(|values| mean(values.into_iter()))
        };
        let cites = self.answers.values().all(|answer| answer.passages.is_some());
        Costs {
            seconds_per_query: all(|answer| answer.latency_seconds),
            price_per_query: all(|answer| answer.cost),
            cites,
            remote: !self.offline,
            ..Costs::new(self.system)
        }
    }
}

/// Whether the evidence of a question stands in the passages; `None` where it names none. White space
/// does not count.
fn evidence_in(passages: &[String], question: &Question) -> Option<bool> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let passages: Vec<String> = passages.iter().map(|passage| plain(passage)).collect();
    let holds = |quote: &str| passages.iter().any(|passage| passage.contains(&plain(quote)));
    (!question.evidence.is_empty())
        .then(|| question.evidence.iter().all(|evidence| holds(&evidence.quote)))
}

fn whole_file(file: &Path, message: String) -> Problem {
    Problem { file: file.to_owned(), line: None, field: None, message }
}

/// One line: the id of the question and the answer to it.
fn parse(
    line: &str,
    place: &Place,
    problems: &mut Vec<Problem>,
) -> Option<(String, ForeignAnswer)> {
    let before = problems.len();
    let fields: Map<String, Value> = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            problems.push(place.problem("row", "expected a JSON object".to_owned()));
            return None;
        }
        Err(error) => {
            let message =
                format!("expected a JSON object on one line, found malformed JSON ({error})");
            problems.push(place.problem("row", message));
            return None;
        }
    };
    let known: BTreeSet<&str> = FIELDS.into_iter().collect();
    for field in fields.keys().filter(|field| !known.contains(field.as_str())) {
        let message = format!("expected one of {}, found another field", FIELDS.join(", "));
        problems.push(place.problem(field, message));
    }
    let id = match fields.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => {
            problems.push(place.problem("id", "expected the id of a question".to_owned()));
            return None;
        }
    };
    let answer = match fields.get("answer") {
        Some(Value::String(answer)) => answer.clone(),
        Some(Value::Number(answer)) => answer.to_string(),
        // An empty text says that the system declined; a field that is not there says nothing.
        _ => {
            let message = "expected a text (an empty one where the system declined)";
            problems.push(place.problem("answer", message.to_owned()));
            String::new()
        }
    };
    let mut number = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => None,
        Some(value) => {
            let number = value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
            if number.is_none() {
                let message = format!("expected a number from 0 up, found {value}");
                problems.push(place.problem(field, message));
            }
            number
        }
    };
    let (latency_seconds, cost) = (number("latency_seconds"), number("cost"));
    let passages = passages(fields.get("passages"), place, problems);
    (problems.len() == before)
        .then_some((id, ForeignAnswer { answer, latency_seconds, cost, passages }))
}

/// Passages as texts, or as objects with a `text`.
fn passages(
    value: Option<&Value>,
    place: &Place,
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => fields.get("text").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    match value {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) if items.iter().all(|item| text(item).is_some()) => {
            Some(items.iter().filter_map(text).collect())
        }
        Some(_) => {
            let message = "expected a list of texts, or of objects with a `text`";
            problems.push(place.problem("passages", message.to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::question;
    use crate::questions::Evidence;

    fn read(line: &str) -> std::result::Result<(String, ForeignAnswer), Vec<String>> {
        let mut problems = Vec::new();
        let place = Place { file: "answers.jsonl".into(), line: 3 };
        let found = parse(line, &place, &mut problems);
        found.ok_or_else(|| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_line_is_read_and_every_fault_in_it_named() {
        let line = r#"{"id": "q1", "answer": "the pier", "latency_seconds": 0.5, "cost": 0.01, "passages": ["a", {"text": "b"}]}"#;
        let (id, answer) = read(line).unwrap();
        assert_eq!((id.as_str(), answer.answer.as_str()), ("q1", "the pier"));
        assert_eq!((answer.latency_seconds, answer.cost), (Some(0.5), Some(0.01)));
        assert_eq!(answer.passages.unwrap(), ["a", "b"]);
        assert_eq!(read(r#"{"id": 7, "answer": ""}"#).unwrap().0, "7");
        let faults = read(
            r#"{"id": "q", "latency": 1, "cost": -1, "latency_seconds": "1 s", "passages": "a"}"#,
        )
        .unwrap_err();
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.contains("answers.jsonl:3")), "{faults:?}");
        assert_eq!(read("[1]").unwrap_err().len(), 1);
        assert_eq!(read("{").unwrap_err().len(), 1);
    }

    #[test]
    fn evidence_is_looked_for_in_the_passages() {
        let evidence = Evidence { document: "d".into(), quote: "on the \n pier".into() };
        let asked = Question { evidence: vec![evidence], ..question("where?", "pier") };
        assert_eq!(evidence_in(&["It stands on the pier.".to_owned()], &asked), Some(true));
        assert_eq!(evidence_in(&["It stands.".to_owned()], &asked), Some(false));
        assert_eq!(evidence_in(&[], &question("where?", "pier")), None);
    }
}
