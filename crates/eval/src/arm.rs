//! The arms that are compared: what stands in the prompt, and which weights answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// One way of answering a question. All arms share base model, quantisation, decoding and
/// retriever.
///
/// The order of the variants is the order of display and the last tie-break in the cost order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The question alone, base weights.
    Base,
    /// The nearest training examples in the prompt, base weights.
    FewShot,
    /// Retrieved passages in the prompt, base weights.
    Rag,
    /// The gold passages in the prompt, base weights. Diagnostic.
    Oracle,
    /// The gold passages among retrieved others, base weights. Diagnostic.
    OracleDistractors,
    /// The question alone, weights fine-tuned on plain pairs.
    Tuned,
    /// Retrieved passages, weights fine-tuned on plain pairs: shows the harm of joining both
    /// naively.
    #[serde(rename = "tuned+rag")]
    TunedRag,
    /// Retrieved passages, weights fine-tuned on prompts with gold and distractor passages.
    Raft,
    /// The gold passages, weights as in [`Arm::Raft`]. Diagnostic.
    #[serde(rename = "raft+oracle")]
    RaftOracle,
    /// The most frequent answer of the training pairs, whatever is asked. A floor.
    MostFrequent,
    /// The answer of the training pair whose question is nearest. A floor.
    NearestAnswer,
    /// Weights fine-tuned as those of the setup that would be recommended, on the same questions with
    /// the answers dealt out at random. A floor: it shows what the score owes to the right pairing.
    Shuffled,
}

impl Arm {
    /// Every arm, in order of display.
    pub const ALL: [Self; 12] = [
        Self::Base,
        Self::FewShot,
        Self::Rag,
        Self::Oracle,
        Self::OracleDistractors,
        Self::Tuned,
        Self::TunedRag,
        Self::Raft,
        Self::RaftOracle,
        Self::MostFrequent,
        Self::NearestAnswer,
        Self::Shuffled,
    ];

    /// The arm's name on the command line, in JSON and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::FewShot => "few-shot",
            Self::Rag => "rag",
            Self::Oracle => "oracle",
            Self::OracleDistractors => "oracle-distractors",
            Self::Tuned => "tuned",
            Self::TunedRag => "tuned+rag",
            Self::Raft => "raft",
            Self::RaftOracle => "raft+oracle",
            Self::MostFrequent => "most-frequent",
            Self::NearestAnswer => "nearest-answer",
            Self::Shuffled => "shuffled",
        }
    }

    /// The arm's name in tables for people: a baseline is called by what it answers.
    pub const fn title(self) -> &'static str {
        match self {
            Self::MostFrequent => "most frequent answer",
            Self::NearestAnswer => "nearest pair's answer",
            Self::Shuffled => "trained on shuffled",
            other => other.as_str(),
        }
    }

    /// Diagnostic arms are shown the gold passages, which nobody has when serving, or are baselines:
    /// never a recommendation.
    pub const fn is_diagnostic(self) -> bool {
        self.uses_gold() || self.is_floor()
    }

    /// A baseline: what the training pairs give without a model, or without the right pairing. What
    /// is not shown above it has learnt nothing worth having.
    pub const fn is_floor(self) -> bool {
        matches!(self, Self::MostFrequent | Self::NearestAnswer | Self::Shuffled)
    }

    /// The prompt holds passages, retrieved or gold.
    pub const fn uses_passages(self) -> bool {
        self.uses_retrieval() || self.uses_gold()
    }

    /// The prompt holds retrieved passages, so an index is needed.
    pub const fn uses_retrieval(self) -> bool {
        matches!(self, Self::Rag | Self::OracleDistractors | Self::TunedRag | Self::Raft)
    }

    /// The prompt holds gold passages.
    pub const fn uses_gold(self) -> bool {
        matches!(self, Self::Oracle | Self::OracleDistractors | Self::RaftOracle)
    }

    /// The prompt holds training examples.
    pub const fn uses_examples(self) -> bool {
        matches!(self, Self::FewShot)
    }

    /// Fine-tuned weights answer.
    pub const fn needs_adapter(self) -> bool {
        matches!(self, Self::Tuned | Self::TunedRag | Self::Raft | Self::RaftOracle)
    }

    /// Weights trained for this comparison answer, so that the luck of training is in its score.
    pub const fn is_trained(self) -> bool {
        self.needs_adapter() || matches!(self, Self::Shuffled)
    }

    /// The adapter was trained on prompts with passages.
    pub const fn needs_raft_adapter(self) -> bool {
        matches!(self, Self::Raft | Self::RaftOracle)
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Arm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|arm| arm.as_str() == name).ok_or_else(|| Error::Name {
            kind: "setup",
            found: name.to_owned(),
            known: "base, few-shot, rag, oracle, oracle-distractors, tuned, tuned+rag, raft, raft+oracle, most-frequent, nearest-answer, shuffled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for arm in Arm::ALL {
            assert_eq!(arm.as_str().parse::<Arm>().unwrap(), arm);
        }
        assert!("both".parse::<Arm>().is_err());
    }
}
