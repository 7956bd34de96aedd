//! What goes into a decision and what comes out: plain data, all of it storable.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::contrast::Contrast;
use crate::stats::Bootstrap;
use crate::{
    Arm, Attribution, Costs, CurvePoint, Gate, Interval, LearningCurve, Measure, Pruned, System,
    Trial,
};

/// The user's side of the rule, fixed before the test split is opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Differences below this (0..1) don't matter.
    pub margin: f64,
    /// Score (0..1) the user needs, if any.
    pub target: Option<f64>,
    /// Two-sided level of every test and interval.
    pub alpha: f64,
    /// Power at which the detectable difference and the questions needed are stated.
    pub power: f64,
    /// Seed of the simulations and resamples, reported.
    pub seed: u64,
    /// Resamples of the learning curve.
    pub resamples: usize,
    /// Below this many questions everything is exploratory.
    pub min_questions: usize,
    /// Queries over which training and index are paid off.
    pub expected_queries: u64,
    /// Largest share of missing trials a system may have.
    pub max_missing: f64,
    /// Hard gates.
    pub limits: Limits,
}

impl Default for Rule {
    fn default() -> Self {
        let Bootstrap { alpha, resamples, seed, .. } = Bootstrap::default();
        Self {
            // Five points: a few hundred questions can tell as much.
            margin: 0.05,
            target: None,
            alpha,
            power: 0.8,
            seed,
            resamples,
            min_questions: 50,
            expected_queries: 10_000,
            max_missing: 0.05,
            limits: Limits::default(),
        }
    }
}

/// Hard gates: a system that breaks one, or for which it was not measured, can't be recommended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest p95 latency in seconds.
    pub p95_latency_seconds: Option<f64>,
    /// Largest peak memory.
    pub memory_bytes: Option<u64>,
    /// Longest time from an edited document to a correct answer.
    pub freshness_seconds: Option<f64>,
    /// Largest loss (0..1) on a general set.
    pub forgetting: Option<f64>,
    /// Answers must carry citations.
    pub citations: bool,
    /// Answers must not need a network.
    pub offline: bool,
}

/// Everything the decision reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionInput {
    /// Question set.
    pub set: String,
    /// Primary measure, chosen before the test split was opened.
    pub measure: Measure,
    /// All trials on the test split; a system with several adapters has one trial per seed.
    pub trials: Vec<Trial>,
    /// Costs by system; a system without an entry is taken to need neither training nor index.
    pub costs: Vec<Costs>,
    /// The rule.
    pub rule: Rule,
    /// The ceiling gate, read on dev.
    pub gate: Option<Gate>,
    /// Scores (dev or test) of the fine-tuned system on growing shares of the pairs; may be empty.
    pub curve: Vec<CurvePoint>,
    /// Measures of retrieval alone, such as ("recall@3", 0.91).
    pub retrieval: Vec<(String, f64)>,
    /// Every time the test split was opened.
    pub openings: Vec<Opening>,
    /// Test questions left out because they (nearly) stand in train.
    pub left_out: usize,
    /// Looks at these questions, this one included, and what was changed between them.
    #[serde(default)]
    pub looks: Looks,
    /// What it would take to measure fine-tuned setups where none was.
    #[serde(default)]
    pub untried: Untried,
    /// Systems that were dropped on dev, before the test split was opened.
    #[serde(default)]
    pub pruned: Vec<Pruned>,
    /// Question -> slice of the test questions, where the user named a field to look at them by.
    #[serde(default)]
    pub slices: BTreeMap<String, String>,
    /// What is wrong with the training pairs, each fault as the end of a sentence ("12 questions stand
    /// there with different answers").
    #[serde(default)]
    pub pair_faults: Vec<String>,
}

/// What it would take to measure fine-tuned setups where none was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Untried {
    /// There are pairs to train on.
    pub possible: bool,
    /// Seconds to train them and to ask them the test questions, where that was estimated.
    pub seconds: Option<f64>,
}

impl Default for Untried {
    fn default() -> Self {
        Self { possible: true, seconds: None }
    }
}

/// How often the same test questions were looked at. The first look decides; the more often one
/// looks and changes something, the likelier is a difference that is only luck.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Looks {
    /// Comparisons that opened these questions, this one included; 0 where nobody counted. An
    /// interrupted comparison that goes on is one, and so is one that was repeated with nothing
    /// changed, since its trials are the same.
    pub openings: usize,
    /// What of margin, target, measure, expected queries and questions differs from the first.
    pub changed: Vec<String>,
    /// Later comparisons of fewer questions, in words. They are not read.
    pub passed_over: Vec<String>,
}

/// One opening of the test split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// When (RFC 3339, or as the store keeps it).
    pub when: String,
    /// Why.
    pub why: String,
}

/// What the user should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Retrieve passages; train nothing.
    Rag,
    /// Fine-tune; retrieve nothing.
    Tuned,
    /// Both: fine-tuned weights reading retrieved passages (`raft`, or `tuned+rag` when that is the
    /// system recommended).
    Raft,
    /// Nothing is needed.
    Base,
    /// Examples in the prompt are enough.
    FewShot,
    /// The passages would help if they were found.
    ImproveRetrieval,
    /// Nothing is good enough, and data (or a larger model) is what is missing.
    CollectData,
    /// The measurements don't decide.
    Undetermined,
    /// Keep a foreign system: one that is there already.
    Existing,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 9] = [
        Self::Rag,
        Self::Tuned,
        Self::Raft,
        Self::Base,
        Self::FewShot,
        Self::ImproveRetrieval,
        Self::CollectData,
        Self::Undetermined,
        Self::Existing,
    ];

    /// The outcome's name in output and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rag => "rag",
            Self::Tuned => "tuned",
            Self::Raft => "raft",
            Self::Base => "base",
            Self::FewShot => "few-shot",
            Self::ImproveRetrieval => "improve-retrieval",
            Self::CollectData => "collect-data",
            Self::Undetermined => "undetermined",
            Self::Existing => "existing",
        }
    }

    /// The outcome that recommends `system`; `None` for diagnostic systems.
    pub const fn of(system: System) -> Option<Self> {
        let System::Setup { arm, .. } = system else { return Some(Self::Existing) };
        match arm {
            Arm::Base => Some(Self::Base),
            Arm::FewShot => Some(Self::FewShot),
            Arm::Rag => Some(Self::Rag),
            Arm::Tuned => Some(Self::Tuned),
            Arm::Raft | Arm::TunedRag => Some(Self::Raft),
            Arm::Oracle
            | Arm::OracleDistractors
            | Arm::RaftOracle
            | Arm::MostFrequent
            | Arm::NearestAnswer
            | Arm::Shuffled => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A decision with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Question set.
    pub set: String,
    /// Primary measure.
    pub measure: Measure,
    /// What to do.
    pub outcome: Outcome,
    /// The system to serve, when the outcome names one.
    pub recommended: Option<System>,
    /// The eligible system with the highest score, recommended or not.
    pub best: Option<System>,
    /// For somebody who knows no statistics: what to do, how good it is, and how sure that is.
    #[serde(default)]
    pub advice: String,
    /// For somebody who will build it: the same with figures and intervals.
    pub sentence: String,
    /// The systems, in order of display.
    #[serde(alias = "arms")]
    pub systems: Vec<SystemSummary>,
    /// The pre-registered contrasts, Holm-adjusted as one family.
    pub contrasts: Vec<Contrast>,
    /// What holds RAG back; `None` when `rag` was not run.
    pub attribution: Option<Attribution>,
    /// The ceiling gate, read on dev.
    pub gate: Option<Gate>,
    /// The learning curve, with three points or more.
    pub curve: Option<LearningCurve>,
    /// The nodes of the tree in order, those not reached included.
    pub tree: Vec<Node>,
    /// Systems that were dropped on dev, before the test split was opened.
    #[serde(default)]
    pub pruned: Vec<Pruned>,
    /// What the system recommended, or else the best, scores on each slice of the questions, the worst
    /// first; empty where no slices were named.
    #[serde(default)]
    pub slices: Vec<SliceScore>,
    /// The criteria of the method, each with what was measured for it.
    pub criteria: Vec<Criterion>,
    /// What would change the decision.
    pub flips: Vec<String>,
    /// What the reader should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Smallest difference these questions can detect at the rule's power.
    pub detectable_difference: f64,
    /// Questions beyond those measured that would settle the open comparison; `None` when nothing
    /// is open.
    pub more_questions_needed: Option<usize>,
    /// Training seeds of each fine-tuned system that would settle it on these questions; `None`
    /// when nothing is open or ten would not do.
    #[serde(default)]
    pub seeds_needed: Option<usize>,
    /// Chance that the rule would name the dearest system on these questions if it led all others
    /// by one and a half margins.
    #[serde(default)]
    pub power: Option<f64>,
    /// What the choice of each system might cost, the one leant to first.
    #[serde(default)]
    pub regrets: Vec<Regret>,
    /// The recommended system was trained once: its interval rests on what is known of the luck of
    /// training.
    #[serde(default)]
    pub provisional: bool,
    /// Questions that some system answered and not every one, which are left out of all
    /// comparisons.
    #[serde(default)]
    pub unshared: usize,
    /// Fewer questions than the rule asks for, or not the first look at them.
    pub exploratory: bool,
    /// Questions with at least one graded trial.
    pub questions: usize,
    /// Clusters those questions fall into.
    pub clusters: usize,
    /// Test questions left out because they (nearly) stand in train.
    pub left_out: usize,
    /// Queries from which `tuned` is cheaper than `rag`; `None` = never, or not both measured.
    pub break_even_queries: Option<f64>,
    /// Every time the test split was opened.
    pub openings: Vec<Opening>,
    /// Looks at these questions, this one included, and what was changed between them.
    #[serde(default)]
    pub looks: Looks,
    /// The rule as applied.
    pub rule: Rule,
}

impl Decision {
    /// A system is named, and it is shown to meet the target if there is one.
    pub fn is_settled(&self) -> bool {
        let named = self.recommended.and_then(|system| self.system(system));
        let met = |lower: f64| self.rule.target.is_none_or(|target| lower >= target);
        named.is_some_and(|summary| met(summary.score.lower))
    }

    /// The summary of one system.
    pub fn system(&self, system: impl Into<System>) -> Option<&SystemSummary> {
        let system = system.into();
        self.systems.iter().find(|summary| summary.system == system)
    }

    /// The contrast `a - b`, turned round if it is kept as `b - a`.
    pub fn contrast(&self, a: impl Into<System>, b: impl Into<System>) -> Option<Contrast> {
        let (a, b) = (a.into(), b.into());
        self.contrasts.iter().find_map(|contrast| match (contrast.a, contrast.b) {
            (x, y) if (x, y) == (a, b) => Some(*contrast),
            (x, y) if (x, y) == (b, a) => Some(contrast.reversed()),
            _ => None,
        })
    }
}

/// The most that choosing a system might cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regret {
    /// The system.
    #[serde(alias = "arm")]
    pub system: System,
    /// Upper bound of the points (0..1) lost against the best rival.
    pub points: f64,
    /// Seconds more than the cheapest system takes over the expected queries.
    pub seconds: f64,
}

/// One system, summed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemSummary {
    /// Which system.
    #[serde(alias = "arm")]
    pub system: System,
    /// Questions with a graded trial.
    pub questions: usize,
    /// Trials, over all seeds.
    pub trials: usize,
    /// Of these, trials whose grader failed.
    pub missing: usize,
    /// Training seeds.
    pub seeds: usize,
    /// Mean score with its interval.
    pub score: Interval,
    /// Mean of the lenient score.
    pub lenient: f64,
    /// Standard deviation of the score over seeds; `None` with one seed.
    pub seed_deviation: Option<f64>,
    /// Share of answers that declined.
    pub abstained: f64,
    /// Answers that were cut at their greatest length, over all seeds.
    #[serde(default)]
    pub cut: usize,
    /// Mean tokens of the prompt.
    pub prompt_tokens: f64,
    /// Mean tokens generated.
    pub completion_tokens: f64,
    /// Median latency in seconds.
    pub latency_p50: f64,
    /// 95th percentile of latency in seconds.
    pub latency_p95: f64,
    /// Median seconds to the first token.
    pub first_token_p50: f64,
    /// Measured costs.
    pub costs: Costs,
    /// Mean seconds per query used for the cost order.
    pub seconds_per_query: f64,
    /// Whether that is known; a foreign system whose answers name no time is taken to be the
    /// dearest.
    #[serde(default = "yes")]
    pub cost_known: bool,
    /// `training + index + expected queries x seconds per query`: the cost order.
    pub total_seconds: f64,
    /// Seconds per correct answer over the expected queries; `None` when nothing is right.
    pub seconds_per_correct: Option<f64>,
    /// Hard gates the system fails, in words; empty = eligible unless diagnostic.
    pub fails: Vec<String>,
    /// May be recommended: not diagnostic and no hard gate failed.
    pub eligible: bool,
}

/// What holds for decisions of versions that knew no other.
const fn yes() -> bool {
    true
}

/// What a system scores on a slice of the questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceScore {
    /// The slice.
    pub name: String,
    /// Its questions.
    pub questions: usize,
    /// The mean score on them with its interval.
    pub score: Interval,
}

/// One question of the decision tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Short stable name.
    pub id: String,
    /// The question asked.
    pub question: String,
    /// The figures that answered it.
    pub measurement: String,
    /// The answer.
    pub answer: Answer,
    /// Where "yes" leads.
    pub yes: Lead,
    /// Where "no" and "unknown" lead.
    pub no: Lead,
    /// The decision passed through this node.
    pub reached: bool,
}

impl Node {
    /// Where the answer leads: "unknown" goes where "no" goes.
    pub fn leads_to(&self) -> &Lead {
        match self.answer {
            Answer::Yes => &self.yes,
            Answer::No | Answer::Unknown => &self.no,
        }
    }
}

/// The answer at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Shown.
    Yes,
    /// The opposite is shown, or it is a plain fact.
    No,
    /// The data cannot tell: what it takes was not measured, or an interval holds both answers. It
    /// leads where "no" leads, since the rule acts on what is shown alone.
    Unknown,
}

impl Answer {
    /// The answer as a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a branch leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lead {
    /// On to the node with this id.
    Node(String),
    /// To one of these outcomes (several where the recommended system names it).
    Outcome(Vec<Outcome>),
}

/// One criterion of the method and what the data say about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// The criterion.
    pub name: String,
    /// The figures, or "not measured".
    pub measurement: String,
    /// Which way they point, in a few words.
    pub reading: String,
}
