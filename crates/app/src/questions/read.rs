//! Rows of question files: our own form, and pairs in the forms `lm::dataset` recognises.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lm::Role;
use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::question::{Evidence, Place, Question, Split};
use crate::error::{Error, IoContext, Problem};
use crate::project::Project;
use crate::project::config::SetConfig;

/// A question whose split may not be known yet.
pub(super) struct QuestionRow {
    pub(super) question: Question,
    /// The split named by the row or by its file.
    pub(super) split: Option<Split>,
}

/// Reads one file.
pub(super) fn file(
    project: &Project,
    config: &SetConfig,
    path: &Path,
    split: Option<Split>,
) -> Result<Vec<QuestionRow>, Error> {
    let mut problems = Vec::new();
    let rows = collect(project, config, path, split, &mut problems)?;
    finish(rows, problems)
}

/// Reads the three files of a set.
pub(super) fn files(
    project: &Project,
    config: &SetConfig,
    parts: [(&std::path::PathBuf, Split); 3],
) -> Result<Vec<QuestionRow>, Error> {
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    for (path, split) in parts {
        rows.extend(collect(project, config, path, Some(split), &mut problems)?);
    }
    finish(rows, problems)
}

fn finish(rows: Vec<QuestionRow>, mut problems: Vec<Problem>) -> Result<Vec<QuestionRow>, Error> {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    for QuestionRow { question, .. } in &rows {
        if let Some(first) = seen.insert(&question.id, &question.place) {
            let message = format!(
                "expected an id of its own, found {:?} again (first on {}:{})",
                question.id,
                first.file.display(),
                first.line
            );
            problems.push(question.place.problem("id", message));
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(Error::Problems(problems)) }
}

fn collect(
    project: &Project,
    config: &SetConfig,
    path: &Path,
    split: Option<Split>,
    problems: &mut Vec<Problem>,
) -> Result<Vec<QuestionRow>, Error> {
    let full = project.path(path);
    let bytes = fs::read(&full).context("read", &full)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line =
                1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            let message =
                format!("expected UTF-8, found an invalid byte at offset {}", error.valid_up_to());
            problems.push(Problem {
                file: path.to_owned(),
                line: Some(line),
                field: None,
                message,
            });
            return Ok(Vec::new());
        }
    };
    // Our own rows hold a question; everything else is for the reader of pairs, which knows its
    // forms and names their faults.
    let first = text.lines().find(|line| !line.trim().is_empty());
    let ours = first.is_none_or(|line| {
        serde_json::from_str::<Value>(line)
            .map_or(true, |row| row.get("question").is_some() || row.get("answers").is_some())
    });
    let mut lines = Lines { config, split, path, problems };
    if ours { Ok(lines.questions(text)) } else { Ok(lines.pairs(text)) }
}

/// The lines of one file.
struct Lines<'a> {
    config: &'a SetConfig,
    /// The split of the file.
    split: Option<Split>,
    path: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl Lines<'_> {
    fn questions(&mut self, text: &str) -> Vec<QuestionRow> {
        let mut rows = Vec::new();
        let mut empty = true;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            empty = false;
            let place = Place { file: self.path.to_owned(), line: index + 1 };
            match serde_json::from_str::<Value>(line) {
                Ok(Value::Object(fields)) => {
                    let mut reader = RowFields { fields, place: &place, problems: self.problems };
                    let pair = reader.question();
                    rows.extend(reader.row(self.config, self.split, pair));
                }
                Ok(other) => {
                    let message = format!("expected a JSON object, found {}", kind(&other));
                    self.problems.push(place.problem("row", message));
                }
                Err(error) => {
                    let message = format!(
                        "expected a JSON object on one line, found malformed JSON ({error})"
                    );
                    self.problems.push(place.problem("row", message));
                }
            }
        }
        if empty {
            self.problems.push(Problem {
                file: self.path.to_owned(),
                line: None,
                field: None,
                message: "expected questions, found an empty file".to_owned(),
            });
        }
        rows
    }

    /// Pairs in chat, alpaca or prompt/completion form: the system message is the instruction, the
    /// last user message the question, the assistant's reply to it the answer.
    fn pairs(&mut self, text: &str) -> Vec<QuestionRow> {
        let examples = match lm::parse_examples(self.path, text.as_bytes()) {
            Ok(examples) => examples,
            Err(errors) => {
                self.problems.extend(errors.errors.into_iter().map(|error| Problem {
                    file: error.path,
                    line: (error.line > 0).then_some(error.line),
                    field: Some(error.field),
                    message: format!("expected {}, found {}", error.expected, error.found),
                }));
                return Vec::new();
            }
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut rows = Vec::new();
        for example in examples {
            let place = Place { file: self.path.to_owned(), line: example.line };
            let Some(Value::Object(fields)) =
                lines.get(example.line - 1).and_then(|line| serde_json::from_str(line).ok())
            else {
                continue;
            };
            let mut reader = RowFields { fields, place: &place, problems: self.problems };
            let last = |role| example.messages.iter().rev().find(|message| message.role == role);
            let content = |role| last(role).map(|message| message.content.clone());
            let Some(question) = content(Role::User) else {
                let message = "expected a user message before the answer, found none";
                reader.problem("messages", message.to_owned());
                continue;
            };
            let answer = content(Role::Assistant).unwrap_or_default();
            let pair = Pair {
                instruction: content(Role::System),
                text: question,
                answers: vec![answer.clone()],
                patterns: Vec::new(),
                completion: Some(answer),
            };
            rows.extend(reader.row(self.config, self.split, pair));
        }
        rows
    }
}

/// The fields of one line, and where to say what is wrong with them.
struct RowFields<'a> {
    fields: Map<String, Value>,
    place: &'a Place,
    problems: &'a mut Vec<Problem>,
}

impl RowFields<'_> {
    /// The question of this line, unless something was wrong with it.
    fn row(&mut self, config: &SetConfig, split: Option<Split>, pair: Pair) -> Option<QuestionRow> {
        let id = self.text("id", false).unwrap_or_else(|| {
            let stem = self
                .place
                .file
                .file_stem()
                .map_or_else(Default::default, |stem| stem.to_string_lossy());
            format!("{stem}-{}", self.place.line)
        });
        let group = self.text("group", false);
        let named = self.split();
        if let (Some(file), Some(row)) = (split, named)
            && file != row
        {
            let message = format!(
                "expected {:?}, the split of the file, found {:?}",
                file.as_str(),
                row.as_str()
            );
            self.problem("split", message);
        }
        let Pair { instruction, text, answers, patterns, completion } = pair;
        let evidence = self.evidence();
        let paraphrases = self.paraphrases();
        let slice = config.slice.as_ref().and_then(|field| self.slice(field));
        if self.problems.last().is_some_and(|problem| {
            problem.line == Some(self.place.line) && problem.file == self.place.file
        }) {
            return None;
        }
        // An unanswerable question has neither.
        let completion = completion.or_else(|| answers.first().cloned()).unwrap_or_default();
        let split = split.or(named);
        let question = Question {
            id,
            instruction: config.instruction.clone().or(instruction).unwrap_or_default(),
            text,
            answers,
            patterns,
            evidence,
            paraphrases,
            slice,
            completion,
            group,
            // Overwritten when splits are assigned.
            split: split.unwrap_or(Split::Train),
            place: self.place.clone(),
        };
        Some(QuestionRow { question, split })
    }

    fn question(&mut self) -> Pair {
        let text = self.text("question", true).unwrap_or_default();
        if !self.answerable() {
            return self.unanswerable(text);
        }
        let (answers, patterns) = match self.fields.get("answers") {
            Some(Value::Array(items)) if !items.is_empty() => self.accepted(&items.clone()),
            Some(Value::Array(_)) => {
                let message = "expected at least one answer, found an empty list and no `\"answerable\": false`";
                self.problem("answers", message.to_owned());
                Default::default()
            }
            other => {
                let message = format!("expected a list of texts, found {}", found(other));
                self.problem("answers", message);
                Default::default()
            }
        };
        let completion = self.text("completion", false);
        Pair { instruction: None, text, answers, patterns, completion }
    }

    /// Whether the documents answer the question: they do unless the row says otherwise.
    fn answerable(&mut self) -> bool {
        match self.fields.get("answerable").cloned() {
            None | Some(Value::Null) => true,
            Some(Value::Bool(answerable)) => answerable,
            other => {
                self.problem(
                    "answerable",
                    format!("expected true or false, found {}", found(other.as_ref())),
                );
                true
            }
        }
    }

    /// A question that the documents do not answer: it has nothing that belongs to an answer.
    fn unanswerable(&mut self, text: String) -> Pair {
        for field in ["answers", "evidence", "completion"] {
            match self.fields.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::Array(items)) if items.is_empty() => {}
                Some(_) => {
                    self.problem(
                        field,
                        "expected none, as the row says `\"answerable\": false`".to_owned(),
                    );
                }
            }
        }
        let (answers, patterns) = Default::default();
        Pair { instruction: None, text, answers, patterns, completion: None }
    }

    fn evidence(&mut self) -> Vec<Evidence> {
        match self.fields.get("evidence").cloned() {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    let text = |name| {
                        item.get(name)
                            .and_then(Value::as_str)
                            .filter(|text| !text.trim().is_empty())
                    };
                    match (text("document"), text("quote")) {
                        (Some(document), Some(quote)) => Some(Evidence {
                            document: document.to_owned(),
                            quote: quote.to_owned(),
                        }),
                        (document, _) => {
                            let name = if document.is_none() { "document" } else { "quote" };
                            let field = format!("evidence[{index}].{name}");
                            self.problem(
                                &field,
                                format!("expected a text, found {}", found(item.get(name))),
                            );
                            None
                        }
                    }
                })
                .collect(),
            other => {
                self.problem(
                    "evidence",
                    format!("expected a list, found {}", found(other.as_ref())),
                );
                Vec::new()
            }
        }
    }

    fn paraphrases(&mut self) -> Vec<String> {
        match self.fields.get("paraphrases").cloned() {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => {
                let texts = items.iter().enumerate().filter_map(|(index, item)| match item {
                    Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
                    other => {
                        let message = format!("expected a text, found {}", found(Some(other)));
                        self.problem(&format!("paraphrases[{index}]"), message);
                        None
                    }
                });
                texts.collect()
            }
            other => {
                let message = format!("expected a list of texts, found {}", found(other.as_ref()));
                self.problem("paraphrases", message);
                Vec::new()
            }
        }
    }

    /// The value of the field that questions are looked at by; a row without it is in no slice.
    fn slice(&mut self, field: &str) -> Option<String> {
        match self.fields.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            other => {
                let message =
                    format!("expected a text, a number, true or false, found {}", found(other));
                self.problem(field, message);
                None
            }
        }
    }

    fn split(&mut self) -> Option<Split> {
        match self.text("split", false)?.as_str() {
            "train" => Some(Split::Train),
            "dev" | "valid" | "validation" => Some(Split::Dev),
            "test" => Some(Split::Test),
            other => {
                let message = format!("expected train, dev or test, found {other:?}");
                self.problem("split", message);
                None
            }
        }
    }

    /// A text field; numbers are taken for ids and answers, since many exports write them so.
    fn text(&mut self, field: &str, required: bool) -> Option<String> {
        match self.fields.get(field) {
            Some(Value::String(text)) if !required || !text.trim().is_empty() => Some(text.clone()),
            Some(Value::Number(number)) if !required => Some(number.to_string()),
            None | Some(Value::Null) if !required => None,
            other => {
                let message = format!("expected a text, found {}", found(other));
                self.problem(field, message);
                None
            }
        }
    }

    /// The accepted answers: texts, and patterns as `{"pattern": "..."}`. One is a text, since a
    /// pattern can be neither shown nor learnt.
    fn accepted(&mut self, items: &[Value]) -> (Vec<String>, Vec<Pattern>) {
        let (mut texts, mut patterns, mut wrong) = (Vec::new(), Vec::new(), false);
        for (index, item) in items.iter().enumerate() {
            match item {
                Value::String(text) if !text.trim().is_empty() => texts.push(text.clone()),
                Value::Number(number) => texts.push(number.to_string()),
                Value::Object(fields) => match self.pattern(index, fields) {
                    Some(pattern) => patterns.push(pattern),
                    None => wrong = true,
                },
                other => {
                    wrong = true;
                    let message = format!("expected a text, found {}", found(Some(other)));
                    self.problem(&format!("answers[{index}]"), message);
                }
            }
        }
        if texts.is_empty() && !wrong {
            let message =
                "expected a text beside the patterns, which is shown and learnt, found none";
            self.problem("answers", message.to_owned());
        }
        (texts, patterns)
    }

    fn pattern(&mut self, index: usize, fields: &Map<String, Value>) -> Option<Pattern> {
        let field = format!("answers[{index}].pattern");
        let source = fields.get("pattern").and_then(Value::as_str);
        if let Some(source) = source.filter(|source| fields.len() == 1 && !source.is_empty()) {
            let compiled = Pattern::new(source);
            if let Err(cause) = &compiled {
                let message = format!("expected a regular expression, found {source:?} ({cause})");
                self.problem(&field, message);
            }
            return compiled.ok();
        }
        let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
        let message = format!(
            "expected a text or {{\"pattern\": \"...\"}}, found an object with the keys {keys:?}"
        );
        self.problem(&format!("answers[{index}]"), message);
        None
    }

    fn problem(&mut self, field: &str, message: String) {
        self.problems.push(self.place.problem(field, message));
    }
}

struct Pair {
    instruction: Option<String>,
    text: String,
    answers: Vec<String>,
    patterns: Vec<Pattern>,
    completion: Option<String>,
}

fn found(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) if text.trim().is_empty() => "an empty text".to_owned(),
        Some(value) => kind(value).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
