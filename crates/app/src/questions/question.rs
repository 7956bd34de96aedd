//! One question, and where it came from.

use std::path::PathBuf;

use eval::lenient;
use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::error::Problem;

/// Which part of the work a question belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Examples to learn from.
    Train,
    /// Questions for every choice made before the end.
    Dev,
    /// Questions for the comparison alone.
    Test,
}

impl Split {
    /// All of them, in the order of work.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// The name in files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// Where the truth of an answer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The document's name in the store.
    pub document: String,
    /// Its words, exactly.
    pub quote: String,
}

/// One question with its gold answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Unique in its set.
    pub id: String,
    /// The system prompt, if any.
    pub instruction: String,
    /// The question.
    pub text: String,
    /// Accepted answers; none for a question that the documents do not answer.
    pub answers: Vec<String>,
    /// Patterns that accept an answer, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Pattern>,
    /// Where the answer stands; empty when that is not known, or it stands nowhere.
    pub evidence: Vec<Evidence>,
    /// What a model is trained to write: the first answer unless the row says otherwise.
    pub completion: String,
    /// The same question in other words, to measure whether retrieval finds its evidence all the same.
    pub paraphrases: Vec<String>,
    /// The value of the field that the set's questions are looked at by, if it names one.
    pub slice: Option<String>,
    /// What is kept together when the set is split, if the row says so.
    pub group: Option<String>,
    /// Its split.
    pub split: Split,
    /// Where it was read, for messages.
    #[serde(skip)]
    pub place: Place,
}

impl Question {
    /// Whether the documents answer it.
    pub fn is_answerable(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether a text holds an accepted answer, or something that a pattern matches.
    pub fn is_answered_in(&self, text: &str) -> bool {
        lenient(text, &self.answers) || self.patterns.iter().any(|pattern| pattern.occurs_in(text))
    }

    /// What its errors have in common with those of other questions: the group, else the first
    /// evidence document, else the question itself. Clustered statistics resample these.
    pub fn cluster(&self) -> &str {
        self.group
            .as_deref()
            .or_else(|| self.evidence.first().map(|evidence| evidence.document.as_str()))
            .unwrap_or(&self.id)
    }
}

/// A line of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    /// A problem with a field of this line.
    pub fn problem(&self, field: &str, message: String) -> Problem {
        Problem {
            file: self.file.clone(),
            line: Some(self.line),
            field: Some(field.to_owned()),
            message,
        }
    }
}
