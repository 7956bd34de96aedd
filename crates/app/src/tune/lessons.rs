//! What an adapter learns from: the questions of a set with their answers, rendered as the model
//! reads them, with a mask of the tokens that are trained.

use std::sync::atomic::AtomicBool;

use lm::{Message, Model, Rendered, Role};

use crate::error::{Error, Problem, Result};
use crate::project::config::Training;
use crate::prompt::{Passage, Prompt};
use crate::questions::{Question, QuestionSet, sample};
use crate::search::knowledge::Knowledge;
use crate::tune::Pairs;
use crate::tune::adapters::{Recipe, hash_examples};
use crate::tune::draw::stable_draw;
use crate::tune::passages::{PromptPassages, RaftPassages};

/// Dev examples whose loss is watched, at most: enough to see it turn, few enough to cost little
/// beside training.
const DEV_EXAMPLES: usize = 64;

/// The rendered examples of a recipe.
pub struct Lessons {
    /// To learn from.
    pub train: Vec<Rendered>,
    /// To watch.
    pub dev: Vec<Rendered>,
    /// Paths of the documents whose text may be learnt from these examples; sorted, each once.
    pub documents: Vec<String>,
    /// Hash of everything rendered.
    pub hash: String,
}

/// The training questions that are learnt from, with the answers that are learnt.
fn learnt_from(pairs: Pairs, train: &[Question]) -> Vec<Question> {
    match pairs {
        Pairs::All => train.to_vec(),
        Pairs::Shuffled => {
            let mut order: Vec<usize> = (0..train.len()).collect();
            let drawn = |place: &usize| stable_draw(&["shuffled answers", &train[*place].id]);
            order.sort_by(|a, b| drawn(a).total_cmp(&drawn(b)));
            let dealt = |(question, from): (&Question, usize)| Question {
                answers: train[from].answers.clone(),
                completion: train[from].completion.clone(),
                ..question.clone()
            };
            train.iter().zip(order).map(dealt).collect()
        }
        Pairs::Eighths(eighths) => {
            let count = (train.len() * usize::from(eighths)).div_ceil(8);
            sample(train, Some(count))
        }
    }
}

/// What the examples of a recipe are rendered from.
pub(super) struct LessonSource<'a> {
    pub(super) knowledge: &'a Knowledge,
    pub(super) model: &'a Model,
    pub(super) training: &'a Training,
    pub(super) set: &'a QuestionSet,
    pub(super) recipe: Recipe,
    pub(super) pairs: Pairs,
}

impl LessonSource<'_> {
    /// Renders the training examples, and the dev examples that are watched.
    ///
    /// # Errors
    /// [`Error::Problems`] naming every example that is too long or leaves no trainable token, and
    /// evidence that is not in the documents; [`Error::NoDocuments`] when the recipe needs
    /// passages.
    pub(super) fn lessons(&self, stop: &AtomicBool) -> Result<Lessons> {
        let limit = self.training.max_examples.unwrap_or(usize::MAX);
        let train = learnt_from(self.pairs, &self.set.train[..self.set.train.len().min(limit)]);
        let dev = &self.set.dev[..self.set.dev.len().min(DEV_EXAMPLES)];
        let (mut documents, mut problems) = (Vec::new(), Vec::new());
        let mut render = |questions: &[Question]| {
            let mut examples = Vec::with_capacity(questions.len());
            for (question, shown) in questions.iter().zip(self.passages(questions, stop)?) {
                documents.extend(shown.documents);
                // The answer was drawn from these, whether or not the prompt shows them.
                let evidence = question.evidence.iter();
                documents.extend(evidence.map(|evidence| evidence.document.clone()));
                match self.render(question, shown.passages)? {
                    Ok(example) => examples.push(example),
                    Err(problem) => problems.push(problem),
                }
            }
            Ok::<_, Error>(examples)
        };
        let (train, dev) = (render(&train)?, render(dev)?);
        if !problems.is_empty() {
            return Err(Error::Problems(problems));
        }
        documents.sort();
        documents.dedup();
        let hash = hash_examples(&train, &dev);
        Ok(Lessons { train, dev, documents, hash })
    }

    /// The passages in the prompt of each question.
    fn passages(&self, questions: &[Question], stop: &AtomicBool) -> Result<Vec<PromptPassages>> {
        match self.recipe {
            Recipe::Plain => Ok(vec![PromptPassages::default(); questions.len()]),
            Recipe::Raft => RaftPassages {
                knowledge: self.knowledge,
                set: &self.set.config,
                gold_missing: self.training.gold_missing,
            }
            .choose(questions, stop),
        }
    }

    /// The example of one question, or what is wrong with it.
    fn render(
        &self,
        question: &Question,
        passages: Vec<Passage>,
    ) -> Result<Result<Rendered, Problem>> {
        let Model { decoder, template, tokenizer, .. } = self.model;
        let longest = self.training.max_length.min(decoder.config().max_positions);
        // The answer and its end token must fit behind the prompt.
        let room = tokenizer.encode_plain(&question.completion)?.len() + 2;
        let prompt = Prompt {
            instruction: &question.instruction,
            labels: &self.set.labels,
            question: &question.text,
            passages,
            shots: Vec::new(),
            history: &[],
        };
        let longest_prompt = longest.saturating_sub(room);
        let mut messages = prompt.fit(self.recipe.arm(), template, tokenizer, longest_prompt)?;
        messages.push(Message::new(Role::Assistant, &question.completion));
        match template.example_ids(tokenizer, &messages) {
            Ok(example) if example.ids.len() > longest => {
                let message =
                    format!("expected at most {longest} tokens, found {}", example.ids.len());
                Ok(Err(question.place.problem("question", message)))
            }
            Ok(example) => Ok(Ok(example)),
            Err(lm::Error::NoTrainableToken { reason, .. }) => {
                let message = format!("expected a trainable token, found none: {reason}");
                Ok(Err(question.place.problem("completion", message)))
            }
            Err(error) => Err(error.into()),
        }
    }
}
