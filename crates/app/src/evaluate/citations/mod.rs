//! Citing and abstaining, measured on a question set: every question is answered as `ask` answers
//! it, also those that it would refuse, and what it cites and how sure it was is held against what
//! is known of the question.

mod score;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eval::abstention::{self, Attempt, CoveragePoint, Objective};
use eval::{Arm, Interval, lenient};
use lm::GenerateOptions;
use serde::Serialize;

use crate::ask::service::Service;
use crate::ask::{Answer, AskRequest, NEVER_ABSTAIN};
use crate::error::{Error, Result};
use crate::questions::{Question, QuestionSet, Split, sample};
use crate::search::grounding::{GoldChunk, locate};
use score::{Cited, cited};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct CitingOptions {
    /// The split.
    pub split: Split,
    /// Answerable questions, and unanswerable ones, at most; a sample that only grows with the
    /// number.
    pub limit: Option<usize>,
    /// Choose the set's threshold for abstaining by this, and keep it.
    pub calibrate: Option<Objective>,
}

/// What [`measure`] found. Intervals are at 95 %, resampled by source document or group.
#[derive(Clone, Debug, Serialize)]
pub struct CitingReport {
    /// The question set.
    pub set: String,
    /// Its split.
    pub split: Split,
    /// Questions asked that the documents answer.
    pub answerable: usize,
    /// Questions asked that they do not answer.
    pub unanswerable: usize,
    /// What the answers cite.
    pub citing: Citing,
    /// How well each signal tells what is answered rightly from what is not.
    pub signals: Vec<Signal>,
    /// The threshold in force for the set and what it refuses; `None` while it refuses nothing.
    pub refusal: Option<Refusal>,
    /// What comes of answering the surest tenth, two tenths, … and all questions.
    pub coverage: Vec<CoveragePoint>,
    /// What the threshold was chosen by, if it was chosen now; the refusals are those of the same
    /// questions, which flatters.
    pub calibrated_by: Option<Objective>,
    /// Seconds for everything.
    pub seconds: f64,
}

/// How many of something are as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Those that are.
    pub count: usize,
    /// All of them.
    pub of: usize,
    /// The share, and what it may be.
    #[serde(flatten)]
    pub share: Interval,
}

/// What answers cite, without anything being refused.
#[derive(Clone, Debug, Serialize)]
pub struct Citing {
    /// Answerable questions that were answered rightly: full score by a measure of right and wrong;
    /// else half the score, or a gold answer stands in the answer.
    pub right: Share,
    /// Citations for questions that name their evidence: those whose quote overlaps it, byte by
    /// byte in the same document.
    pub precision: Share,
    /// The same, where the quote also holds a gold answer.
    pub holds_answer: Share,
    /// Right answers to questions that name their evidence: those with a citation that overlaps it.
    pub recall: Share,
    /// All questions that name their evidence: those answered rightly with such a citation.
    pub right_and_cited: Share,
    /// Sentences of right answers that are supported.
    pub supported_right: Share,
    /// Sentences of wrong answers that are supported all the same.
    pub supported_wrong: Share,
    /// Sentences of answers to unanswerable questions that are supported all the same.
    pub supported_unanswerable: Share,
}

/// Something that says how sure an answer is, measured by the area under its ROC curve; .5 is
/// chance.
#[derive(Clone, Debug, Serialize)]
pub struct Signal {
    /// `cosine` of the best passage, which `ask` abstains by; `bm25` of the best passage; `support`
    /// of the answer's weakest sentence; mean log `likelihood` of its tokens.
    pub name: &'static str,
    /// Answerable questions against unanswerable ones.
    pub auc_answerable: Option<f64>,
    /// Questions that were answered rightly against all others.
    pub auc_right: Option<f64>,
}

/// What a threshold refuses.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refusal {
    /// The relevance below which questions are refused.
    pub threshold: f32,
    /// Of the refused questions, the unanswerable ones.
    pub precision: Share,
    /// Of the unanswerable questions, the refused ones.
    pub recall: Share,
    /// Of the answerable questions, those answered.
    pub answered: Share,
    /// Of all answers given, the right ones.
    pub right: Share,
    /// The same, were every question answered.
    pub right_without: Share,
}

/// A question and what came of it.
struct Outcome<'a> {
    question: &'a Question,
    answer: Answer,
    right: bool,
    cited: Cited,
}

impl Outcome<'_> {
    /// How sure the system was before it answered.
    fn relevance(&self) -> f32 {
        self.answer.relevance.unwrap_or(NEVER_ABSTAIN)
    }
}

/// Answers the questions of a split and measures what is cited and what should have been refused.
/// Opening the test split is logged, as whoever sees these figures may choose by them.
///
/// # Errors
/// No documents; evidence that is not in the documents; calibrating on the test split, without
/// unanswerable questions, or a threshold that stands in the configuration; [`Error::Interrupted`].
pub fn measure(
    service: &Service,
    set: &QuestionSet,
    options: &CitingOptions,
    stop: &AtomicBool,
    on_question: &mut dyn FnMut(usize, usize),
) -> Result<CitingReport> {
    let start = Instant::now();
    let name = &set.config.name;
    let unanswerable: Vec<Question> = set.unanswerable_of(options.split).cloned().collect();
    if !service.knowledge().store.has_documents()? {
        return Err(Error::NoDocuments);
    }
    match options.calibrate {
        Some(_) if options.split == Split::Test => return Err(Error::CalibratedOnTest),
        Some(_) if set.config.abstain_below.is_some() => {
            return Err(Error::ThresholdConfigured { set: name.clone() });
        }
        Some(Objective::Balance) if unanswerable.is_empty() => {
            return Err(Error::NoUnanswerable { set: name.clone(), split: options.split.as_str() });
        }
        _ => {}
    }
    let mut questions = sample(set.of(options.split), options.limit);
    let answerable = questions.len();
    questions.extend(sample(&unanswerable, options.limit));
    let gold = locate(&service.knowledge(), &questions)?;
    if options.split == Split::Test {
        service.knowledge().store.log_test_opening(name, "eval citations")?;
    }
    let mut outcomes = Vec::with_capacity(questions.len());
    for (question, gold) in questions.iter().zip(&gold) {
        outcomes.push(outcome(service, set, question, gold, stop)?);
        on_question(outcomes.len(), questions.len());
    }
    let attempts: Vec<Attempt> = outcomes
        .iter()
        .map(|outcome| Attempt {
            confidence: f64::from(outcome.relevance()),
            answerable: outcome.question.is_answerable(),
            right: outcome.right,
        })
        .collect();
    let chosen =
        options.calibrate.and_then(|objective| abstention::threshold(&attempts, objective));
    let mut knowledge = service.knowledge();
    if let Some(threshold) = chosen {
        knowledge.put_abstain_below(name, threshold as f32)?;
    }
    let threshold = knowledge.abstain_below(Some(&set.config))?;
    Ok(CitingReport {
        set: name.clone(),
        split: options.split,
        answerable,
        unanswerable: outcomes.len() - answerable,
        citing: score::citing(&outcomes),
        signals: score::signals(&outcomes),
        refusal: threshold.map(|threshold| score::refusal(&outcomes, threshold)),
        coverage: abstention::coverage(&attempts),
        calibrated_by: chosen.and(options.calibrate),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Asks one question.
fn outcome<'a>(
    service: &Service,
    set: &QuestionSet,
    question: &'a Question,
    gold: &[GoldChunk],
    stop: &AtomicBool,
) -> Result<Outcome<'a>> {
    let request = AskRequest {
        question: &question.text,
        set: Some(&set.config),
        arm: Some(Arm::Rag),
        instruction: Some(&question.instruction),
        abstain_below: Some(NEVER_ABSTAIN),
        sampling: GenerateOptions { likelihood: true, ..GenerateOptions::default() },
        ..AskRequest::default()
    };
    let answer = service.ask(&request, &mut |_| {
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let measure = set.config.measure;
    let score = eval::grade(measure, &answer.text, &question.answers);
    let right = if measure.is_right_wrong() {
        score == 1.0
    } else {
        score >= 0.5 || lenient(&answer.text, &question.answers)
    };
    let cited = cited(&answer.support.citations, gold, question);
    Ok(Outcome { question, answer, right, cited })
}
