//! What is asked of a comparison, and what it reports on its way.

use eval::{Arm, Gate, Pruned, System};

use super::halves::DevUse;
use super::length::AnswerLength;
use super::plan::{ArmChoice, ComparisonEstimate};
use super::problems::AnswerProblem;
use super::record::RerankFinding;
use crate::questions::{Contradiction, Split};
use crate::tune::adapters::Recipe;
use crate::tune::{Pairs, TuneEvent};

/// What to compare.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Which arms.
    pub arms: ArmChoice,
    /// Adapters trained for each recipe, with seeds 1, 2, …; `None` for as many as the
    /// configuration says.
    pub seeds: Option<u64>,
    /// Questions of each split at most; a sample that only grows with the number.
    pub limit: Option<usize>,
    /// Why the test split is opened, for the log.
    pub reason: String,
}

/// What happens during a comparison.
#[derive(Debug)]
pub enum CompareEvent {
    /// The questions were checked against each other.
    Checked {
        /// Dev and test questions left out, as another split holds them.
        left_out: [usize; 2],
        /// Documents with evidence for questions of more than one split.
        shared_documents: usize,
        /// Training questions that stand there with different answers, one by one.
        contradictions: Vec<Contradiction>,
    },
    /// What will be done and how long it should take, before anything long starts.
    Planned(Box<ComparisonEstimate>),
    /// A system that is there already takes part by its answers.
    Foreign {
        /// Which.
        system: System,
        /// Test questions it has no answer to.
        missing: usize,
        /// Test questions.
        of: usize,
        /// Its answers to questions that are not compared on.
        unused: usize,
    },
    /// How long an answer may be.
    Length(AnswerLength),
    /// What the dev questions are used for.
    Halved(DevUse),
    /// The BM25 weight that finds most dev evidence.
    Tuned {
        /// The weight, from 0 to 1.
        lexical_weight: f32,
        /// Share of dev questions whose evidence is in the prompt with it.
        recall: f64,
    },
    /// The configured reranker was measured on dev.
    Reranked(RerankFinding),
    /// The number of passages that answers best on dev.
    Swept {
        /// The number.
        passages: usize,
        /// What was tried, in this order: passages in a prompt, mean score of `rag`.
        sweep: Vec<(usize, f64)>,
    },
    /// A split is about to be run.
    Running {
        /// Which.
        split: Split,
        /// Trials to run.
        trials: usize,
        /// Trials that are there already.
        reused: usize,
    },
    /// A trial is done.
    Trial(TrialDone),
    /// Answers of a split were cut, malformed or not graded.
    Problems {
        /// The split.
        split: Split,
        /// What was wrong, by arm.
        problems: Vec<AnswerProblem>,
    },
    /// The ceiling gate was read.
    Gate(Box<Gate>),
    /// An adapter is being trained.
    Training {
        /// The recipe.
        recipe: Recipe,
        /// What of the training pairs.
        pairs: Pairs,
        /// The seed.
        seed: u64,
        /// What happened.
        event: TuneEvent,
    },
    /// The first adapters were measured on dev, to see which recipes are worth further ones.
    FirstSeeds {
        /// Mean scores on dev.
        scores: Vec<(Arm, f64)>,
        /// The recipes that are not: too far below the best.
        dropped: Vec<Recipe>,
        /// What dev shows to be hopeless, which is not asked the test questions.
        pruned: Vec<Pruned>,
    },
    /// The test split was opened and logged.
    Opened,
}

/// How far the trials of a split are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialDone {
    /// The arm of the trial that was done last.
    pub arm: Arm,
    /// Trials done of those to run.
    pub done: usize,
    /// Trials to run.
    pub total: usize,
    /// Seconds left, from the tokens read so far.
    pub seconds_left: f64,
}
