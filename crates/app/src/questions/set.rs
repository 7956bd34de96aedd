//! A question set: its files read, split, and cleared of what leaked.

use std::path::PathBuf;

use super::leak::{Leak, leaks};
use super::question::{Question, Split};
use super::{read, split};
use crate::error::{Error, Problem};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::{SetConfig, SetFiles};
use crate::prompt;

/// A question set, read and split.
#[derive(Clone, Debug)]
pub struct QuestionSet {
    /// Its configuration.
    pub config: SetConfig,
    /// The labels that its prompts name; none where answers are free, or labels are many.
    pub labels: Vec<String>,
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
        if let Some(field) = &config.slice
            && questions.iter().all(|question| question.slice.is_none())
        {
            return Err(Error::Problems(vec![Problem {
                file: PathBuf::from(crate::project::config::FILE),
                line: None,
                field: Some("slice".to_owned()),
                message: format!(
                    "expected a field that rows of set {:?} have, found {field:?}, which none has",
                    config.name
                ),
            }]));
        }
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
        let labels = prompt::labels(config, &train);
        Ok(Self { config: config.clone(), labels, train, dev, test, unanswerable, leaked })
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
