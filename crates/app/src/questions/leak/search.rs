//! Finding the questions that are the same without comparing all with all.

use std::collections::HashMap;

use super::likeness::{Likeness, Weights, likeness};
use super::sketch::Sketch;
use crate::questions::Question;

/// Terms by which the candidates of a question are looked up, the rarest ones.
const TERMS: usize = 8;
/// Questions that hold a term, at most: more share it because it says little.
const HOLDERS: usize = 64;

/// The questions of a set taken apart, and found by what they hold.
///
/// A question is compared with those that share one of its eight rarest terms (words, pairs of
/// neighbouring words, all its figures) with at most 63 others: `n` questions take at most `512 n`
/// comparisons. What has the same words, or the same words in another order, is always compared.
pub(crate) struct Sketches<'a> {
    questions: Vec<&'a Question>,
    pub(super) sketches: Vec<Sketch>,
    pub(super) weights: Weights,
    answers: Vec<Vec<String>>,
    holders: HashMap<String, Vec<usize>>,
    /// Questions by all their words, sorted: what is said more often than a term may be.
    bags: HashMap<String, Vec<usize>>,
}

/// Two questions that are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    /// Their places, the earlier one first.
    pub(crate) places: [usize; 2],
    pub(crate) likeness: Likeness,
}

/// The pairs of a set, and how much work they were.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) found: Vec<Pair>,
    /// Comparisons that were made.
    pub(crate) compared: usize,
}

impl<'a> Sketches<'a> {
    /// Takes questions apart.
    pub(crate) fn of(questions: Vec<&'a Question>) -> Self {
        let sketches: Vec<Sketch> =
            questions.iter().map(|question| Sketch::of(&question.text)).collect();
        let weights = Weights::of(sketches.iter());
        let answers = questions.iter().map(|question| answer_keys(question)).collect();
        let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
        let mut bags: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, sketch) in sketches.iter().enumerate() {
            for term in terms(sketch) {
                holders.entry(term).or_default().push(place);
            }
            bags.entry(bag(sketch)).or_default().push(place);
        }
        Self { questions, sketches, weights, answers, holders, bags }
    }

    /// The pairs that are the same by their words. `wanted` says for which pairs to look, as one is
    /// of train and one of test.
    pub(crate) fn pairs(&self, wanted: impl Fn(&Question, &Question) -> bool) -> Pairs {
        let mut pairs = Pairs::default();
        for later in 0..self.sketches.len() {
            let candidates = self.candidates(later).into_iter().filter(|earlier| *earlier < later);
            for earlier in candidates {
                if !wanted(self.questions[earlier], self.questions[later]) {
                    continue;
                }
                pairs.compared += 1;
                let same_answer = || self.share_answer(earlier, later);
                let (a, b) = (&self.sketches[earlier], &self.sketches[later]);
                if let Some(likeness) = likeness(a, b, &self.weights, same_answer) {
                    pairs.found.push(Pair { places: [earlier, later], likeness });
                }
            }
        }
        pairs
    }

    /// Whether two questions have an answer in common.
    pub(super) fn share_answer(&self, a: usize, b: usize) -> bool {
        self.answers[a].iter().any(|answer| self.answers[b].contains(answer))
    }

    /// The questions, in order.
    pub(super) fn questions(&self) -> &[&'a Question] {
        &self.questions
    }

    /// The answers of a question in the form in which they are compared.
    pub(super) fn answers_of(&self, place: usize) -> &[String] {
        &self.answers[place]
    }

    /// The questions that may be the same as the one at a place, in order.
    pub(super) fn candidates(&self, place: usize) -> Vec<usize> {
        let sketch = &self.sketches[place];
        let mut held: Vec<&Vec<usize>> = terms(sketch)
            .iter()
            .filter_map(|term| self.holders.get(term))
            .filter(|holders| (2..=HOLDERS).contains(&holders.len()))
            .collect();
        held.sort_by_key(|holders| holders.len());
        held.truncate(TERMS);
        let mut found: Vec<usize> = held.into_iter().flatten().copied().collect();
        if let Some(same) = self.bags.get(&bag(sketch)) {
            // One that says the same is enough where many do.
            let here = same.partition_point(|other| *other < place);
            found.extend(&same[..here.min(HOLDERS)]);
            found.extend(&same[here.saturating_sub(HOLDERS).min(here)..here]);
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What a question can be found by.
fn terms(sketch: &Sketch) -> Vec<String> {
    let words: Vec<&str> = sketch.content().map(|token| token.text.as_str()).collect();
    let mut terms: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    terms.extend(words.windows(2).map(|pair| pair.join(" ")));
    if !sketch.figures.is_empty() {
        terms.push(format!("figures {}", sketch.figures.join(" ")));
    }
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// All that a question says, whatever the order.
fn bag(sketch: &Sketch) -> String {
    let mut words: Vec<&str> = sketch.content().map(|token| token.text.as_str()).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The answers of a question in the form in which they are compared.
fn answer_keys(question: &Question) -> Vec<String> {
    let key =
        |answer: &String| answer.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    question.answers.iter().map(key).collect()
}
