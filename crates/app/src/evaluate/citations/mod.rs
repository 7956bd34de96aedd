//! Citing and abstaining, measured on a question set. Every question is answered as `ask` answers
//! it, also those that it would refuse; what the answer cites and how sure it was is then compared
//! with what is known of the question.
//!
//! How an answer gets its citations is told in [`crate::ask::citation`]; here they are counted.

mod outcome;
mod report;
mod score;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use eval::abstention::{self, Attempt, Objective};

use crate::ask::service::Service;
use crate::error::{Error, Result};
use crate::grading::{self, Grader};
use crate::progress::Progress;
use crate::questions::{Question, QuestionSet, Split, sample};
use crate::search::grounding::locate;
use outcome::QuestionOutcome;
pub use report::{Citing, CitingReport, Refusal, Share, Signal};

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

/// A question has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Questions answered so far.
    pub questions: usize,
    /// Questions in all.
    pub of: usize,
}

/// Lets the grader of the set say which answers are right.
fn grade(
    service: &Service,
    set: &QuestionSet,
    outcomes: &mut [QuestionOutcome<'_>],
    stop: &AtomicBool,
) -> Result<()> {
    let grader = Grader::new(&service.project, &set.config)?;
    let answers: Vec<grading::Answered<'_>> = outcomes
        .iter()
        .map(|outcome| grading::Answered {
            question: outcome.question,
            answer: &outcome.answer.text,
            documents: &[],
        })
        .collect();
    let grades = grader.grade(&set.config.name, &answers, &mut service.knowledge().store, stop)?;
    for (outcome, grade) in outcomes.iter_mut().zip(&grades) {
        outcome.graded(set.config.measure, grade);
    }
    Ok(())
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
    progress: &mut Progress<'_, Answered>,
) -> Result<CitingReport> {
    let start = Instant::now();
    let name = &set.config.name;
    let unanswerable: Vec<Question> = set.unanswerable_of(options.split).cloned().collect();
    if !service.knowledge().store.has_documents()? {
        return Err(Error::NoDocuments);
    }
    check_calibration(set, options, &unanswerable)?;
    let mut questions = sample(set.of(options.split), options.limit);
    let answerable = questions.len();
    questions.extend(sample(&unanswerable, options.limit));
    let gold = locate(&service.knowledge(), &questions)?;
    if options.split == Split::Test {
        service.knowledge().store.log_test_opening(name, "eval citations")?;
    }
    let mut outcomes: Vec<QuestionOutcome<'_>> = Vec::with_capacity(questions.len());
    for (question, gold) in questions.iter().zip(&gold) {
        outcomes.push(QuestionOutcome::ask(service, set, (question, gold), progress.stop())?);
        progress.report(Answered { questions: outcomes.len(), of: questions.len() });
    }
    grade(service, set, &mut outcomes, progress.stop())?;
    let attempts: Vec<Attempt> = outcomes.iter().map(QuestionOutcome::attempt).collect();
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

/// Refuses to choose a threshold where that would mean nothing or change nothing.
fn check_calibration(
    set: &QuestionSet,
    options: &CitingOptions,
    unanswerable: &[Question],
) -> Result<()> {
    let name = || set.config.name.clone();
    match options.calibrate {
        Some(_) if options.split == Split::Test => Err(Error::CalibratedOnTest),
        Some(_) if set.config.abstain_below.is_some() => {
            Err(Error::ThresholdConfigured { set: name() })
        }
        Some(Objective::Balance) if unanswerable.is_empty() => {
            Err(Error::NoUnanswerable { set: name(), split: options.split.as_str() })
        }
        _ => Ok(()),
    }
}
