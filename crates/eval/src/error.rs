//! What can be wrong with the material handed to the judge.

use std::fmt;

use crate::System;

/// What can be wrong with the material handed to the judge.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// No trial at all, so there is nothing to judge.
    NoTrials {
        /// Question set.
        set: String,
    },
    /// A score outside 0..=1, or not a number.
    Score {
        /// System of the trial.
        system: System,
        /// Question of the trial.
        qid: String,
        /// The offending score.
        score: f64,
    },
    /// The same system answered the same question twice with the same seed.
    DuplicateTrial {
        /// System of the trial.
        system: System,
        /// Question of the trial.
        qid: String,
        /// Training seed of the trial.
        seed: u64,
    },
    /// One question carries two different clusters.
    Cluster {
        /// The question.
        qid: String,
    },
    /// A setting of the rule out of its range.
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What was found.
        found: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// A name that is not a system, a measure or an outcome.
    Name {
        /// Kind of name: "system", "measure", "outcome".
        kind: &'static str,
        /// What was found.
        found: String,
        /// The names known.
        known: &'static str,
    },
    /// A line of a qrels or run file that can't be read.
    Line {
        /// 1-based line number.
        line: usize,
        /// What was expected there.
        expected: &'static str,
        /// What was found.
        found: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrials { set } => write!(f, "no graded trial for question set `{set}`"),
            Self::Score { system, qid, score } => {
                write!(
                    f,
                    "system `{system}`, question `{qid}`: a score must lie in 0..=1, found {score}"
                )
            }
            Self::DuplicateTrial { system, qid, seed } => {
                write!(f, "system `{system}` answered question `{qid}` twice with seed {seed}")
            }
            Self::Cluster { qid } => write!(f, "question `{qid}` belongs to two clusters"),
            Self::Setting { name, found, expected } => {
                write!(f, "`{name}` must be {expected}, found {found}")
            }
            Self::Name { kind, found, known } => {
                write!(f, "unknown {kind} `{found}`; known: {known}")
            }
            Self::Line { line, expected, found } => {
                write!(f, "line {line}: expected {expected}, found `{found}`")
            }
        }
    }
}

impl std::error::Error for Error {}
