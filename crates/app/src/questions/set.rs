//! A question set: its files read, split, and cleared of what leaked.

use std::collections::HashSet;
use std::path::PathBuf;

use lm::Encoder;

use super::contradiction::{Contradiction, contradictions};
use super::leak::{Leak, SharedDocument, leaks, paraphrased, shared_documents};
use super::question::{Question, Split};
use super::{read, split};
use crate::error::{Error, Problem};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::{SetConfig, SetFiles};
use crate::prompt;

/// Fewer questions than this, with more of them left out, are none to compare on.
const HANDFUL: usize = 5;
/// Questions embedded at a time.
const BATCH: usize = 256;

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
    /// Dev and test questions that are left out because another split holds them.
    pub leaked: Vec<Leak>,
    /// Documents with evidence for questions of more than one split. Nothing is left out for that.
    pub shared_documents: Vec<SharedDocument>,
    /// Training questions that stand there with different answers. They stay.
    pub contradictions: Vec<Contradiction>,
}

impl QuestionSet {
    /// Reads the files of a set, splits them if they are not split, and leaves out what another
    /// split holds by its words: test questions found in train, dev questions found in train or
    /// test.
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
        let (train, dev, test): (Vec<_>, Vec<_>, Vec<_>) =
            (take(Split::Train), take(Split::Dev), take(Split::Test));
        let (config, labels) = (config.clone(), prompt::labels(config, &train));
        let (leaked, shared) =
            (Vec::new(), shared_documents([&train, &dev, &test].into_iter().flatten()));
        let contradictions = contradictions(config.measure, &train);
        let mut set = Self {
            config,
            labels,
            train,
            dev,
            test,
            unanswerable,
            leaked,
            shared_documents: shared,
            contradictions,
        };
        let found = leaks(&set.all().collect::<Vec<_>>());
        set.leave_out(found);
        Ok(set)
    }

    /// Leaves out also what another split holds in other words, by the vectors of an embedder,
    /// which it returns for the training questions.
    ///
    /// # Errors
    /// Those of the embedder.
    pub fn leave_out_paraphrases(&mut self, encoder: &Encoder) -> Result<Vec<Vec<f32>>, Error> {
        let questions: Vec<&Question> = self.all().collect();
        let mut vectors = Vec::with_capacity(questions.len());
        for batch in questions.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|question| question.text.as_str()).collect();
            vectors.extend(encoder.embed(&texts)?);
        }
        let found = paraphrased(&questions, &vectors);
        self.leave_out(found);
        vectors.truncate(self.train.len());
        Ok(vectors)
    }

    /// Leaves out the questions of these leaks.
    fn leave_out(&mut self, leaks: Vec<Leak>) {
        let out: HashSet<&str> = leaks.iter().map(|leak| leak.question.id.as_str()).collect();
        self.dev.retain(|question| !out.contains(question.id.as_str()));
        self.test.retain(|question| !out.contains(question.id.as_str()));
        self.leaked.extend(leaks);
    }

    /// Makes sure that dev and test have questions left without those that another split holds.
    ///
    /// # Errors
    /// [`Error::Problems`] with the split of which next to nothing is left, and an example.
    pub fn check_left(&self) -> Result<(), Error> {
        let problems: Vec<Problem> = [(Split::Dev, &self.dev), (Split::Test, &self.test)]
            .into_iter()
            .filter_map(|(split, left)| self.nothing_left(split, left.len()))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Error::Problems(problems)) }
    }

    /// What is wrong with a split of which so many questions are left.
    fn nothing_left(&self, split: Split, left: usize) -> Option<Problem> {
        let out = self.left_out(split);
        if left > 0 && (left >= HANDFUL || out <= left) {
            return None;
        }
        let example = self.leaked.iter().find(|leak| leak.question.split == split)?;
        let Leak { question, twin, .. } = example;
        Some(Problem {
            file: self.config.files.of(split).to_owned(),
            line: None,
            field: Some("question".to_owned()),
            message: format!(
                "set {:?}: expected {} questions that no other split holds, found {left} of {}; \
                 {:?} ({}), for one, is {:?} ({}, {})",
                self.config.name,
                split.as_str(),
                left + out,
                question.text,
                question.id,
                twin.text,
                twin.id,
                twin.split.as_str(),
            ),
        })
    }

    /// How many questions of a split are left out.
    pub fn left_out(&self, split: Split) -> usize {
        let of_split = self.leaked.iter().filter(|leak| leak.question.split == split);
        of_split.map(|leak| &leak.question.id).collect::<HashSet<_>>().len()
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
