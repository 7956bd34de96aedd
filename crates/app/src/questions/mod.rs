//! Question sets: reading them with every format error at once, splitting them so that nothing
//! leaks, finding what leaked anyway.

mod leak;
mod read;
mod split;
pub mod synthetic;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use leak::similar;
pub use leak::{Leak, leaks, normalised_tokens};

use crate::error::{Error, Problem};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::{SetConfig, SetFiles};

/// Which part of the work a question belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
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
    /// Where the answer stands; empty when that is not known, or it stands nowhere.
    pub evidence: Vec<Evidence>,
    /// What a model is trained to write: the first answer unless the row says otherwise.
    pub completion: String,
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

/// A question set, read and split.
#[derive(Clone, Debug)]
pub struct QuestionSet {
    /// Its configuration.
    pub config: SetConfig,
    /// Training examples.
    pub train: Vec<Question>,
    /// Questions for choices.
    pub dev: Vec<Question>,
    /// Questions for the comparison, without those that leaked.
    pub test: Vec<Question>,
    /// Questions of all splits that the documents do not answer: nothing is trained or compared on
    /// them, abstaining is measured and calibrated with them.
    pub unanswerable: Vec<Question>,
    /// Test questions left out because training examples hold them.
    pub leaked: Vec<Leak>,
}

impl QuestionSet {
    /// Reads the files of a set, splits them if they are not split, and leaves out test questions
    /// found in train.
    ///
    /// # Errors
    /// [`Error::Problems`] with every malformed line, missing field, repeated id, set without
    /// questions or without answers.
    pub fn load(project: &Project, config: &SetConfig) -> Result<Self, Error> {
        let rows = match &config.files {
            SetFiles::One(path) => read::file(project, config, path, None)?,
            SetFiles::Three { train, dev, test } => read::files(
                project,
                config,
                [(train, Split::Train), (dev, Split::Dev), (test, Split::Test)],
            )?,
        };
        let (mut questions, unanswerable): (Vec<_>, Vec<_>) =
            split::assign(config, rows)?.into_iter().partition(Question::is_answerable);
        let mut take = |split| {
            let (taken, rest) =
                questions.drain(..).partition(|question: &Question| question.split == split);
            questions = rest;
            taken
        };
        let (train, dev, mut test): (Vec<_>, Vec<_>, Vec<_>) =
            (take(Split::Train), take(Split::Dev), take(Split::Test));
        let leaked = leaks(&train, &test);
        test.retain(|question| leaked.iter().all(|leak| leak.test != question.id));
        Ok(Self { config: config.clone(), train, dev, test, unanswerable, leaked })
    }

    /// Whether any question says where its answer stands: without that there are no oracle arms.
    pub fn has_evidence(&self) -> bool {
        self.dev.iter().chain(&self.test).any(|question| !question.evidence.is_empty())
    }

    /// The answerable questions of a split.
    pub fn of(&self, split: Split) -> &[Question] {
        match split {
            Split::Train => &self.train,
            Split::Dev => &self.dev,
            Split::Test => &self.test,
        }
    }

    /// The questions of a split that the documents do not answer.
    pub fn unanswerable_of(&self, split: Split) -> impl Iterator<Item = &Question> {
        self.unanswerable.iter().filter(move |question| question.split == split)
    }

    /// Every answerable question of the set.
    pub fn all(&self) -> impl Iterator<Item = &Question> {
        self.train.iter().chain(&self.dev).chain(&self.test)
    }
}

/// At most `limit` questions: those whose ids hash lowest, in the order of the set. A larger limit
/// keeps the smaller sample.
pub(crate) fn sample(questions: &[Question], limit: Option<usize>) -> Vec<Question> {
    let Some(limit) = limit.filter(|limit| *limit < questions.len()) else {
        return questions.to_vec();
    };
    let mut order: Vec<(String, usize)> = questions
        .iter()
        .enumerate()
        .map(|(index, question)| (hash_bytes(question.id.as_bytes()), index))
        .collect();
    order.sort();
    let mut chosen: Vec<usize> = order.into_iter().take(limit).map(|(_, index)| index).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|index| questions[index].clone()).collect()
}
