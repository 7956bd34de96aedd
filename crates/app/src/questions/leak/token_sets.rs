//! Texts as sets of words, for telling whether two of them are much the same.

/// Token sets that share this much (Jaccard) are near-duplicates.
const NEAR: f64 = 0.9;

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
