//! Test questions that training examples already hold.

use std::collections::HashMap;

use serde::Serialize;

use super::question::Question;

/// Token sets that share this much (Jaccard) are near-duplicates.
const NEAR: f64 = 0.9;

/// A test question found in train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// Id of the test question.
    pub test: String,
    /// Id of the training example.
    pub train: String,
    /// Whether the normalised texts are the same, not only alike.
    pub exact: bool,
}

/// Finds the test questions whose normalised text stands in train, exactly or nearly (token-set
/// Jaccard >= 0.9).
pub fn leaks(train: &[Question], test: &[Question]) -> Vec<Leak> {
    let known: Vec<Vec<String>> =
        train.iter().map(|question| normalised_tokens(&question.text)).collect();
    // A near-duplicate lacks at most a tenth of a question's tokens. Of any choice with one token
    // more than that it holds at least one, so it is enough to compare the examples that hold one
    // of the rarest.
    let mut holders: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, tokens) in known.iter().enumerate() {
        for token in tokens {
            holders.entry(token).or_default().push(index);
        }
    }
    test.iter()
        .filter_map(|question| {
            let tokens = normalised_tokens(&question.text);
            let mut rarest: Vec<&[usize]> = tokens
                .iter()
                .map(|token| holders.get(token.as_str()).map_or(&[][..], Vec::as_slice))
                .collect();
            rarest.sort_by_key(|examples| examples.len());
            let needed = tokens.len() - (NEAR * tokens.len() as f64).ceil() as usize + 1;
            let mut candidates: Vec<usize> =
                rarest.iter().take(needed).copied().flatten().copied().collect();
            candidates.sort_unstable();
            candidates.dedup();
            candidates.into_iter().find(|index| similar(&tokens, &known[*index])).map(|index| {
                Leak {
                    test: question.id.clone(),
                    train: train[index].id.clone(),
                    exact: known[index] == tokens,
                }
            })
        })
        .collect()
}

/// The distinct words of a text, lower case, without punctuation, sorted.
pub fn normalised_tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// Whether two sorted token sets have a Jaccard similarity of at least [`NEAR`].
pub(crate) fn similar(a: &[String], b: &[String]) -> bool {
    let (small, large) = (a.len().min(b.len()), a.len().max(b.len()));
    if large == 0 || (small as f64) < NEAR * large as f64 {
        return false;
    }
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    shared as f64 >= NEAR * (a.len() + b.len() - shared) as f64
}
