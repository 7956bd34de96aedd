//! The figures that are measured, as they are printed.

use eval::Interval;
use eval::abstention::{CoveragePoint, Objective};
use serde::Serialize;

use crate::questions::Split;

/// What was measured on a set. Intervals are at 95 %, resampled by source document or group.
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
    /// What the threshold was chosen by, if it was chosen now. The figures in `refusal` then come
    /// from the questions it was chosen on, and are too good.
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
    /// The share with its interval.
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
