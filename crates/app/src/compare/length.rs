//! How long an answer may be: as configured, else as the training answers are.

use std::fmt;

use eval::Measure;
use lm::Tokenizer;
use serde::Serialize;

use crate::ask::SET_MAX_TOKENS;
use crate::error::Result;
use crate::project::config::SetConfig;
use crate::questions::Question;

/// What is taken from the training answers lies within these.
const LEAST: usize = 16;
const MOST: usize = 1024;
/// And is a multiple of this.
const STEP: usize = 8;
/// Tokens of a sentence.
const SENTENCE: usize = 32;

/// The tokens of the longest answer, and where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerLength {
    /// An answer is cut after so many tokens.
    pub tokens: usize,
    /// Why.
    pub source: LengthSource,
}

/// Where the length of the longest answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthSource {
    /// The configuration.
    Configured,
    /// The training answers.
    Training {
        /// Tokens of the longest.
        longest: usize,
        /// How many there are.
        answers: usize,
    },
    /// Nothing: there are no training answers.
    Default,
}

impl AnswerLength {
    /// The length for a set with these training questions: as configured, else that of the longest
    /// training answer with some room, from 16 to 1,024 tokens, else the default.
    pub(super) fn of(set: &SetConfig, train: &[Question], tokenizer: &Tokenizer) -> Result<Self> {
        if let Some(tokens) = set.max_tokens {
            return Ok(Self { tokens, source: LengthSource::Configured });
        }
        let mut longest = 0;
        for question in train {
            longest = longest.max(tokenizer.encode_plain(&question.completion)?.len());
        }
        if train.is_empty() {
            return Ok(Self { tokens: SET_MAX_TOKENS, source: LengthSource::Default });
        }
        let source = LengthSource::Training { longest, answers: train.len() };
        Ok(Self { tokens: with_headroom(longest, set.measure), source })
    }
}

/// A quarter more, and one for the token that ends an answer, rounded up. Where a sentence around
/// the expected answer is as good, there is room for one: a model that saw no pairs writes it.
fn with_headroom(longest: usize, measure: Measure) -> usize {
    let strict = matches!(measure, Measure::ExactMatch | Measure::Label | Measure::Json);
    let room = longest.div_ceil(4).max(if strict { 0 } else { SENTENCE });
    (longest + room + 1).next_multiple_of(STEP).clamp(LEAST, MOST)
}

impl fmt::Display for AnswerLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.tokens;
        match self.source {
            LengthSource::Configured => {
                write!(f, "answers are cut at {tokens} tokens, as configured")
            }
            LengthSource::Training { longest, answers } => {
                write!(
                    f,
                    "answers are cut at {tokens} tokens; the longest of {answers} training answers has {longest}"
                )?;
                if longest > tokens { f.write_str(": set `max_tokens` for more") } else { Ok(()) }
            }
            LengthSource::Default => {
                write!(
                    f,
                    "answers are cut at {tokens} tokens; there are no training answers to tell"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_above_the_longest_and_a_limit() {
        let lengths = |measure| {
            [1, 11, 12, 29, 100, 818, 5000].map(|longest| with_headroom(longest, measure))
        };
        assert_eq!(lengths(Measure::Label), [16, 16, 16, 40, 128, 1024, 1024]);
        assert_eq!(lengths(Measure::Contains), [40, 48, 48, 64, 136, 1024, 1024]);
        let said = |source, tokens| AnswerLength { tokens, source }.to_string();
        let long = said(LengthSource::Training { longest: 5000, answers: 7 }, 1024);
        assert!(
            long.ends_with("the longest of 7 training answers has 5000: set `max_tokens` for more")
        );
        assert!(said(LengthSource::Configured, 8).contains("8 tokens, as configured"));
    }
}
