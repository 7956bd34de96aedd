//! The measures an answer can be graded by, and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The primary measure of a question set. Text form: `exact`, `f1`, `contains`, `label`, `numeric`,
/// `numeric:TOLERANCE`, `rouge-l`, `json`, `command`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Measure {
    /// Normalised answer equals a normalised gold answer (SQuAD).
    ExactMatch,
    /// Overlap of normalised tokens (SQuAD).
    TokenF1,
    /// The normalised tokens of a gold answer stand, in a row, in the normalised answer.
    Contains,
    /// First line of the answer equals a gold label, but for case and punctuation around it.
    Label,
    /// The number that the answer gives is within a tolerance of that of a gold answer.
    Numeric {
        /// How far off it may be.
        tolerance: Tolerance,
    },
    /// Longest common subsequence of tokens, F-measure with beta 1 (Lin 2004).
    RougeL,
    /// JSON that keeps to the set's schema, then F1 over its fields. Graded by whoever has the
    /// schema, not by [`grade`](crate::grade()).
    Json,
    /// What a program of the user's own says. Graded by whoever runs it, not by
    /// [`grade`](crate::grade()).
    Command,
}

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// By this much, in the unit of the number. Text form: `0.01`.
    Absolute(f64),
    /// By this share of the gold number. Text form: `1%` for 0.01.
    Relative(f64),
}

impl Tolerance {
    /// No difference but that of rounding.
    pub const NONE: Self = Self::Absolute(0.0);

    /// The largest difference from `gold` that is accepted.
    pub fn allowed(self, gold: f64) -> f64 {
        match self {
            Self::Absolute(difference) => difference,
            Self::Relative(share) => share * gold.abs(),
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(difference) => write!(f, "{difference}"),
            // Rounded, so that 0.07 is written 7% and not 7.000000000000001%.
            Self::Relative(share) => write!(f, "{}%", (share * 1e14).round() / 1e12),
        }
    }
}

impl FromStr for Tolerance {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (number, percent) = match text.trim().strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (text.trim(), false),
        };
        let read = number.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        match (read, percent) {
            (Some(number), true) => Ok(Self::Relative(number / 100.0)),
            (Some(number), false) => Ok(Self::Absolute(number)),
            (None, _) => Err(Error::Name {
                kind: "tolerance",
                found: text.to_owned(),
                known: "a number from 0 on such as 0.01, a percentage such as 1%",
            }),
        }
    }
}

impl Measure {
    /// Gives 0 or 1 only, so that McNemar's test applies.
    pub const fn is_right_wrong(self) -> bool {
        !matches!(self, Self::TokenF1 | Self::RougeL | Self::Json | Self::Command)
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
            Self::Json => "field F1 of valid JSON",
            Self::Command => "score of your command",
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
            Self::Json => f.write_str("json"),
            Self::Command => f.write_str("command"),
        }
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::Name {
            kind: "measure",
            found: name.to_owned(),
            known: "exact, f1, contains, label, numeric, numeric:TOLERANCE, rouge-l, json, command",
        };
        if let Some(tolerance) = name.strip_prefix("numeric:") {
            let tolerance = tolerance.parse().map_err(|_| unknown())?;
            return Ok(Self::Numeric { tolerance });
        }
        match name {
            "exact" => Ok(Self::ExactMatch),
            "f1" => Ok(Self::TokenF1),
            "contains" => Ok(Self::Contains),
            "label" => Ok(Self::Label),
            "numeric" => Ok(Self::Numeric { tolerance: Tolerance::NONE }),
            "rouge-l" => Ok(Self::RougeL),
            "json" => Ok(Self::Json),
            "command" => Ok(Self::Command),
            _ => Err(unknown()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let names = [
            "exact",
            "f1",
            "contains",
            "label",
            "numeric:0.5",
            "numeric:7%",
            "rouge-l",
            "json",
            "command",
        ];
        for name in names {
            assert_eq!(name.parse::<Measure>().unwrap().to_string(), name);
        }
        let exact = Measure::Numeric { tolerance: Tolerance::NONE };
        assert_eq!("numeric".parse::<Measure>().unwrap(), exact);
        for name in ["numeric:-1", "numeric:", "numeric:x%", "numeric:inf", "bleu", "exact:1"] {
            assert!(name.parse::<Measure>().is_err(), "{name}");
        }
    }
}
