//! Accepted answers that are patterns.

use regex::Regex;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A regular expression that accepts an answer, in the syntax of the `regex` crate (no look-around,
/// no back-references, so that matching takes linear time).
///
/// It must match the whole answer, white space around it left out: `\d+ days?` accepts "30 days"
/// and not "It is 30 days". It sees the answer as it was written, so `(?i)` is needed where case
/// doesn't matter, and `(?s).*` to let a dot match the end of a line.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    whole: Regex,
    inside: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(source: &str) -> Result<Self, String> {
        let compile = |source: &str| Regex::new(source).map_err(|error| first_cause(&error));
        let inside = compile(source)?;
        let whole = compile(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: source.to_owned(), whole, inside })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it accepts an answer.
    pub fn accepts(&self, answer: &str) -> bool {
        self.whole.is_match(answer.trim())
    }

    /// Whether some part of an answer matches.
    pub fn occurs_in(&self, answer: &str) -> bool {
        self.inside.find_iter(answer).any(|found| !found.is_empty())
    }
}

/// The message of an error without the drawing of the pattern.
fn first_cause(error: &regex::Error) -> String {
    let text = error.to_string();
    let cause = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    cause.unwrap_or(&text).to_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("pattern", &self.source)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_answer_must_match() {
        let days = Pattern::new(r"\d+ days?|a month").unwrap();
        assert!(days.accepts(" 30 days\n") && days.accepts("a month"));
        assert!(!days.accepts("It is 30 days") && !days.accepts("30 days or a month"));
        assert!(days.occurs_in("It is 30 days") && !days.occurs_in("thirty"));
        // The longer alternative is found although the shorter comes first.
        assert!(Pattern::new("a|ab").unwrap().accepts("ab"));
        assert!(!Pattern::new("paris").unwrap().accepts("Paris"));
        assert!(!Pattern::new("x*").unwrap().occurs_in("yes"), "nothing is no part");
        assert_eq!(Pattern::new("(a").unwrap_err(), "unclosed group");
        assert!(Pattern::new(r"(?=a)").unwrap_err().contains("look-around"));
    }
}
