//! What a report tells.

use eval::{Arm, Decision, System};

use crate::compare::ArmLabels;

use crate::questions::{Contradiction, Leak, SharedDocument};

/// What the whole page is about.
#[derive(Debug, Clone, Default)]
pub struct ReportContext {
    /// Project name.
    pub project: String,
    /// Model, quantisation, embedder, program version and the like: (name, value).
    pub versions: Vec<(String, String)>,
    /// When the report was written, as text.
    pub generated: String,
    /// Receipts of the documents.
    pub documents: Vec<DocumentReceipt>,
    /// Seconds each stage of the run took: (stage, seconds).
    pub stages: Vec<(String, f64)>,
}

/// One ingested document.
#[derive(Debug, Clone, Default)]
pub struct DocumentReceipt {
    /// Path within the project.
    pub path: String,
    /// Format name.
    pub format: String,
    /// Pages, where the format has pages.
    pub pages: usize,
    /// Characters of text.
    pub characters: usize,
    /// Chunks indexed.
    pub chunks: usize,
    /// Why it was not ingested, if it was not.
    pub problem: Option<String>,
}

/// One question set with its decision.
#[derive(Debug, Clone)]
pub struct SetReport {
    /// The decision.
    pub decision: Decision,
    /// A label task by label, for each arm; empty for any other.
    pub labels: Vec<ArmLabels>,
    /// The test questions with the answers of the arms; the page shows a dozen, chosen to tell the
    /// arms apart.
    pub examples: Vec<ExampleQuestion>,
    /// Training runs behind the fine-tuned arms.
    pub training: Vec<TrainingCourse>,
    /// Further facts on the set: (name, value), such as the instruction or the sizes of the splits.
    pub facts: Vec<(String, String)>,
    /// What was found wrong with its questions.
    pub found: QuestionFindings,
}

/// What was found when the questions of a set were held against each other.
#[derive(Debug, Clone, Default)]
pub struct QuestionFindings {
    /// Dev and test questions that are left out, as another split holds them.
    pub leaks: Vec<Leak>,
    /// Documents with evidence for questions of more than one split.
    pub shared_documents: Vec<SharedDocument>,
    /// Training questions that stand there with different answers.
    pub contradictions: Vec<Contradiction>,
}

/// One test question with what the arms answered.
#[derive(Debug, Clone, Default)]
pub struct ExampleQuestion {
    /// Question id.
    pub qid: String,
    /// The question.
    pub question: String,
    /// Gold answers.
    pub gold: Vec<String>,
    /// Answers by arm.
    pub answers: Vec<ExampleAnswer>,
}

/// One arm's answer.
#[derive(Debug, Clone)]
pub struct ExampleAnswer {
    /// Who answered.
    pub system: System,
    /// The answer.
    pub answer: String,
    /// Its score; `None` when the grader failed.
    pub score: Option<f64>,
    /// Whether the gold evidence was retrieved.
    pub evidence_retrieved: Option<bool>,
}

/// The course of one training run.
#[derive(Debug, Clone)]
pub struct TrainingCourse {
    /// The arm trained for.
    pub arm: Arm,
    /// Seed.
    pub seed: u64,
    /// (step, loss per trained token) on train.
    pub train_loss: Vec<(usize, f64)>,
    /// (step, loss per trained token) on dev.
    pub dev_loss: Vec<(usize, f64)>,
    /// Step whose weights were kept.
    pub best_step: Option<usize>,
    /// Seconds it took.
    pub seconds: f64,
    /// Further facts: (name, value), such as pairs, epochs, rank.
    pub facts: Vec<(String, String)>,
}
