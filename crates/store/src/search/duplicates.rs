//! Texts that say the same: a passage that stands in several documents need not be read twice.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Words of a shingle.
const WORDS: usize = 3;
/// Share of common shingles from which two texts are taken for the same.
const SAME: f64 = 0.9;

/// A text as the set of its runs of three words, so that most of it can be compared with most of
/// another (Broder, "On the resemblance and containment of documents", 1997).
#[derive(Debug)]
pub(crate) struct Shingles(HashSet<u64>);

impl Shingles {
    pub(crate) fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let hash = |words: &[&str]| {
            let mut hasher = DefaultHasher::new();
            words.hash(&mut hasher);
            hasher.finish()
        };
        Shingles(match words.len() {
            0..=WORDS => HashSet::from([hash(&words)]),
            _ => words.windows(WORDS).map(hash).collect(),
        })
    }

    /// Whether the texts say the same but for a tenth.
    pub(crate) fn resembles(&self, other: &Self) -> bool {
        let common = self.0.intersection(&other.0).count();
        let all = self.0.len() + other.0.len() - common;
        common as f64 >= SAME * all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_from_texts_that_are_alike() {
        let long = "The harbour office opens at eight on weekdays and at nine on Saturdays. It is closed on Sundays, on \
                    public holidays and in the last week of the year. Keys are handed out against a deposit of fifty.";
        let same = |a: &str, b: &str| Shingles::new(a).resembles(&Shingles::new(b));
        assert!(same(long, &long.to_uppercase()) && same(long, &format!("{long} Thanks.")));
        assert!(!same(
            long,
            &long.replace("eight", "ten").replace("nine", "noon").replace("fifty", "sixty")
        ));
        assert!(same("", " ") && same("Yes!", "yes") && !same("yes", "no") && !same("", "no"));
        assert!(!same("opens at eight", "opens at nine"));
    }
}
