//! The measures an answer can be graded by, and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The primary measure of a question set. Text form: `exact`, `f1`, `contains`, `label`,
/// `numeric:TOLERANCE`, `rouge-l`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Measure {
    /// Normalised answer equals a normalised gold answer (SQuAD).
    ExactMatch,
    /// Overlap of normalised tokens (SQuAD).
    TokenF1,
    /// The normalised tokens of a gold answer stand, in a row, in the normalised answer.
    Contains,
    /// First line of the answer, normalised, equals a gold label.
    Label,
    /// A number in the answer is within `tolerance` of a gold number, relative above 1 and absolute
    /// below.
    Numeric {
        /// 0.01 accepts 1 % off.
        tolerance: f64,
    },
    /// Longest common subsequence of tokens, F-measure with beta 1 (Lin 2004).
    RougeL,
}

impl Measure {
    /// Gives 0 or 1 only, so that McNemar's test applies.
    pub const fn is_right_wrong(self) -> bool {
        !matches!(self, Self::TokenF1 | Self::RougeL)
    }

    /// What the measure is called in a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact match",
            Self::TokenF1 => "token F1",
            Self::Contains => "answer contains the expected text",
            Self::Label => "label accuracy",
            Self::Numeric { .. } => "numeric match",
            Self::RougeL => "ROUGE-L",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExactMatch => f.write_str("exact"),
            Self::TokenF1 => f.write_str("f1"),
            Self::Contains => f.write_str("contains"),
            Self::Label => f.write_str("label"),
            Self::Numeric { tolerance } => write!(f, "numeric:{tolerance}"),
            Self::RougeL => f.write_str("rouge-l"),
        }
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let (kind, tolerance) = name.split_once(':').unwrap_or((name, "0"));
        let tolerance = tolerance.parse::<f64>().ok().filter(|t| t.is_finite() && *t >= 0.0);
        match (kind, tolerance) {
            ("exact", _) => Ok(Self::ExactMatch),
            ("f1", _) => Ok(Self::TokenF1),
            ("contains", _) => Ok(Self::Contains),
            ("label", _) => Ok(Self::Label),
            ("numeric", Some(tolerance)) => Ok(Self::Numeric { tolerance }),
            ("rouge-l", _) => Ok(Self::RougeL),
            _ => Err(Error::Name {
                kind: "measure",
                found: name.to_owned(),
                known: "exact, f1, contains, label, numeric, numeric:TOLERANCE, rouge-l",
            }),
        }
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.to_string()
    }
}

impl TryFrom<String> for Measure {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}
