//! Whether two questions are the same.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::sketch::{Sketch, Token};
use super::words::is_variant;

/// Questions that share this much of what they say are the same. What a word says is weighed by how
/// few questions of the set hold it, so that a template which all of them share weighs nothing.
const NEAR: f64 = 0.9;

/// In what way two questions are the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likeness {
    /// The same words in the same order.
    Same,
    /// The same but for words that say little, spelling or order.
    Near,
    /// Other words that mean the same, with the same answer.
    Paraphrase {
        /// Cosine similarity of their vectors.
        cosine: f32,
    },
}

/// What the words of a set say: the fewer questions hold one, the more.
#[derive(Debug, Default)]
pub(super) struct Weights {
    questions: f64,
    holders: HashMap<String, usize>,
}

impl Weights {
    pub(super) fn of<'a>(sketches: impl Iterator<Item = &'a Sketch>) -> Self {
        let mut weights = Self::default();
        for sketch in sketches {
            weights.questions += 1.0;
            let mut words: Vec<&str> = sketch.content().map(|token| token.text.as_str()).collect();
            words.sort_unstable();
            words.dedup();
            for word in words {
                *weights.holders.entry(word.to_owned()).or_insert(0) += 1;
            }
        }
        weights
    }

    /// The weight of a word, as BM25 weighs its terms.
    pub(super) fn weight(&self, word: &str) -> f64 {
        let holders = self.holders.get(word).copied().unwrap_or(0) as f64;
        (1.0 + (self.questions - holders + 0.5).max(0.0) / (holders + 0.5)).ln()
    }

    fn is_rare(&self, word: &str) -> bool {
        self.holders.get(word).is_none_or(|holders| *holders <= 1)
    }
}

/// Whether two questions are the same by their words. `same_answer` says whether they share an
/// answer, which is asked only where each has a word that the other lacks.
pub(super) fn likeness(
    a: &Sketch,
    b: &Sketch,
    weights: &Weights,
    same_answer: impl FnOnce() -> bool,
) -> Option<Likeness> {
    if a.figures != b.figures || a.negations != b.negations {
        return None;
    }
    let texts = |sketch: &Sketch| -> Vec<String> {
        sketch.tokens.iter().map(|token| token.text.clone()).collect()
    };
    if texts(a) == texts(b) {
        return (!a.tokens.is_empty()).then_some(Likeness::Same);
    }
    // Without content there is nothing to be nearly the same in.
    if a.content.is_empty() || b.content.is_empty() {
        return None;
    }
    let difference = Difference::of(a, b, weights);
    let [left, right] = &difference.unmatched;
    let weigh =
        |tokens: &[&Token]| -> f64 { tokens.iter().map(|token| weights.weight(&token.text)).sum() };
    let (lacking, shared) = (weigh(left) + weigh(right), difference.shared);
    if shared < NEAR * (shared + lacking) {
        return None;
    }
    let replaced = !left.is_empty() && !right.is_empty();
    if replaced && (named(left) || named(right) || !same_answer()) {
        return None;
    }
    keeps_order(a, b).then_some(Likeness::Near)
}

/// Whether other words may mean the same: figures, operators and negations agree, no name is
/// replaced by another, and where the words are the same, so is their order.
pub(super) fn may_paraphrase(a: &Sketch, b: &Sketch, weights: &Weights) -> bool {
    if a.figures != b.figures || a.negations != b.negations {
        return false;
    }
    let [left, right] = Difference::of(a, b, weights).unmatched;
    if left.is_empty() && right.is_empty() {
        return keeps_order(a, b);
    }
    !(named(&left) && named(&right)) && names_keep_order(a, b)
}

fn named(tokens: &[&Token]) -> bool {
    tokens.iter().any(|token| token.name)
}

/// What two questions share, and what each has that the other lacks.
struct Difference<'a> {
    /// The weight of what they share.
    shared: f64,
    unmatched: [Vec<&'a Token>; 2],
}

impl<'a> Difference<'a> {
    fn of(a: &'a Sketch, b: &'a Sketch, weights: &Weights) -> Self {
        let mut open: HashMap<&str, Vec<&Token>> = HashMap::new();
        for token in b.content() {
            open.entry(&token.text).or_default().push(token);
        }
        let (mut shared, mut left) = (0.0, Vec::new());
        for token in a.content() {
            match open.get_mut(token.text.as_str()).and_then(Vec::pop) {
                Some(_) => shared += weights.weight(&token.text),
                None => left.push(token),
            }
        }
        let mut right: Vec<&Token> = open.into_values().flatten().collect();
        right.sort_by(|x, y| x.text.cmp(&y.text));
        left.retain(|token| {
            let variant = right.iter().position(|other| is_same_word(token, other, weights));
            if let Some(at) = variant {
                let other = right.swap_remove(at);
                shared += weights.weight(&token.text).min(weights.weight(&other.text));
            }
            variant.is_none()
        });
        Self { shared, unmatched: [left, right] }
    }
}

/// Whether two words are one, inflected or mistyped. Names and figures are as they are written, and
/// a word that several questions hold is no slip of one.
fn is_same_word(a: &Token, b: &Token, weights: &Weights) -> bool {
    let plain = |token: &Token| !token.exact && !token.name;
    let slip = weights.is_rare(&a.text) || weights.is_rare(&b.text);
    plain(a) && plain(b) && slip && is_variant(&a.text, &b.text)
}

/// Whether what two questions share stands in the same order, or in one that says the same: with
/// one phrase that a word such as `in` leads moved elsewhere.
fn keeps_order(a: &Sketch, b: &Sketch) -> bool {
    moves_a_phrase(a, b, |_| true)
}

/// As [`keeps_order`] for the names alone, where there are some.
fn names_keep_order(a: &Sketch, b: &Sketch) -> bool {
    moves_a_phrase(a, b, |token| token.name || token.exact)
}

fn moves_a_phrase(a: &Sketch, b: &Sketch, counts: impl Fn(&Token) -> bool) -> bool {
    let (a_shared, b_shared) = (shared(a, b), shared(b, a));
    let kept = |sketch: &Sketch, places: Vec<usize>| -> Vec<usize> {
        places.into_iter().filter(|at| counts(&sketch.tokens[*at])).collect()
    };
    let (a_places, b_places) = (kept(a, a_shared), kept(b, b_shared));
    let text = |sketch: &Sketch, at: usize| sketch.tokens[at].text.clone();
    let mut a_words: Vec<(String, usize)> =
        a_places.into_iter().map(|at| (text(a, at), at)).collect();
    let mut b_words: Vec<(String, usize)> =
        b_places.into_iter().map(|at| (text(b, at), at)).collect();
    let same_start = a_words.iter().zip(&b_words).take_while(|(x, y)| x.0 == y.0).count();
    a_words.drain(..same_start);
    b_words.drain(..same_start);
    while let (Some(x), Some(y)) = (a_words.last(), b_words.last())
        && x.0 == y.0
    {
        a_words.pop();
        b_words.pop();
    }
    if a_words.is_empty() && b_words.is_empty() {
        return true;
    }
    if a_words.len() != b_words.len() {
        return false;
    }
    let len = a_words.len();
    (1..len).any(|cut| {
        let rotated = (0..len).all(|at| a_words[(at + cut) % len].0 == b_words[at].0);
        // The two phrases begin at 0 and at `cut` in one text, at `len - cut` and at 0 in the
        // other.
        let led = |in_a: usize, in_b: usize| {
            let leading = a.leading(a_words[in_a].1);
            leading.is_some() && leading == b.leading(b_words[in_b].1)
        };
        rotated && (led(0, len - cut) || led(cut, 0))
    })
}

/// Places of the content tokens of `of` that `other` holds too, each as often as both do.
fn shared(of: &Sketch, other: &Sketch) -> Vec<usize> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for token in other.content() {
        *counts.entry(&token.text).or_insert(0) += 1;
    }
    let mut places = Vec::new();
    for at in &of.content {
        if let Some(count) = counts.get_mut(of.tokens[*at].text.as_str())
            && *count > 0
        {
            *count -= 1;
            places.push(*at);
        }
    }
    places
}
