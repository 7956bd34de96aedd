//! Questions that say the same in other words, by their vectors and their answers.

use std::collections::HashMap;

use super::likeness::{Likeness, may_paraphrase};
use super::search::{Pair, Pairs, Sketches};
use crate::questions::Split;

/// Questions with the same answer that one is compared with, at most.
const CANDIDATES: usize = 256;
/// Training questions that the threshold is read from, at most: those compared, and those that each
/// is compared with.
const SAMPLE: [usize; 2] = [500, 4000];
/// False paraphrases for each question, at most.
const CHANCE: f64 = 0.01;
/// Where more than this share of all pairs of questions have an answer in common, answers are
/// labels: that questions alike have the same one is what is to be learnt, and no leak.
const LABELS: f64 = 0.01;
/// Questions that are close share an answer this much more often than any two do.
const CLOSE: f64 = 10.0;
/// The least threshold: below it not even the same answer makes two questions one.
const LEAST: f32 = 0.75;
/// Steps from the least threshold to 1.
const STEPS: usize = 50;

impl Sketches<'_> {
    /// The pairs of a dev or test question with one of train (or of dev with one of test) that have
    /// an answer in common, agree in figures, operators, negations and names, and whose vectors are
    /// closer than a threshold that is read from train. `vectors` are of length 1, in the order of
    /// the questions. None are looked for where answers are labels.
    pub(crate) fn paraphrases(&self, vectors: &[Vec<f32>]) -> Pairs {
        let mut pairs = Pairs::default();
        if self.share_of_same_answers() > LABELS {
            return pairs;
        }
        let thresholds =
            [false, true].map(|unspaced| self.threshold(vectors, unspaced, &mut pairs.compared));
        let by_answer = self.by_answer();
        for (place, question) in self.questions().iter().enumerate() {
            if question.split == Split::Train {
                continue;
            }
            for other in self.with_same_answer(place, &by_answer) {
                let split = self.questions()[other].split;
                if split >= question.split {
                    continue;
                }
                pairs.compared += 1;
                let cosine = cosine(&vectors[place], &vectors[other]);
                let (a, b) = (&self.sketches[place], &self.sketches[other]);
                let threshold = thresholds[usize::from(a.unspaced)];
                if a.unspaced == b.unspaced
                    && cosine >= threshold
                    && may_paraphrase(a, b, &self.weights)
                {
                    let places = [place.min(other), place.max(other)];
                    pairs.found.push(Pair { places, likeness: Likeness::Paraphrase { cosine } });
                }
            }
        }
        pairs
    }

    /// The least similarity at which a question has at most [`CHANCE`] others that are another
    /// question and have the same answer by accident: as many as have another answer there, times
    /// the share of all pairs that have an answer in common. Read apart for texts
    /// with and without spaces.
    fn threshold(&self, vectors: &[Vec<f32>], unspaced: bool, compared: &mut usize) -> f32 {
        let train: Vec<usize> = (0..self.questions().len())
            .filter(|place| self.questions()[*place].split == Split::Train)
            .filter(|place| self.sketches[*place].unspaced == unspaced)
            .collect();
        let [lefts, rights] = SAMPLE.map(|most| {
            let every = train.len().div_ceil(most).max(1);
            train.iter().copied().step_by(every).collect::<Vec<_>>()
        });
        let mut above = [0usize; STEPS];
        for left in &lefts {
            for right in rights.iter().filter(|right| *right != left) {
                if self.share_answer(*left, *right) {
                    continue;
                }
                *compared += 1;
                let cosine = cosine(&vectors[*left], &vectors[*right]);
                let (a, b) = (&self.sketches[*left], &self.sketches[*right]);
                if cosine >= LEAST && may_paraphrase(a, b, &self.weights) {
                    let step = (cosine - LEAST) / (1.0 - LEAST) * STEPS as f32;
                    above[(step as usize).min(STEPS - 1)] += 1;
                }
            }
        }
        let share = (CLOSE * self.share_of_same_answers()).min(1.0);
        // Of a sample of the training questions each stands for several.
        let each = train.len() as f64 / (rights.len().max(1) * lefts.len().max(1)) as f64;
        let mut others = 0;
        let step = (0..STEPS).rev().find(|step| {
            others += above[*step];
            others as f64 * each * share > CHANCE
        });
        let step = step.map_or(0, |step| step + 1);
        LEAST + (1.0 - LEAST) * step as f32 / STEPS as f32
    }

    /// The share of all pairs of training questions that have an answer in common.
    fn share_of_same_answers(&self) -> f64 {
        let mut counts: HashMap<&str, f64> = HashMap::new();
        let mut questions = 0.0f64;
        for (place, question) in self.questions().iter().enumerate() {
            if question.split == Split::Train {
                questions += 1.0;
                for answer in self.answers_of(place) {
                    *counts.entry(answer).or_insert(0.0) += 1.0;
                }
            }
        }
        let same: f64 = counts.values().map(|count| count * (count - 1.0)).sum();
        same / (questions * (questions - 1.0)).max(1.0)
    }

    /// Training and dev questions by answer and by what must agree exactly.
    fn by_answer(&self) -> HashMap<(String, Vec<String>, usize), Vec<usize>> {
        let mut found: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, sketch) in self.sketches.iter().enumerate() {
            for answer in self.answers_of(place) {
                let key = (answer.clone(), sketch.figures.clone(), sketch.negations);
                found.entry(key).or_default().push(place);
            }
        }
        found
    }

    /// At most [`CANDIDATES`] questions with the same answer: where there are more, those that
    /// share rare words go first.
    fn with_same_answer(
        &self,
        place: usize,
        by_answer: &HashMap<(String, Vec<String>, usize), Vec<usize>>,
    ) -> Vec<usize> {
        let sketch = &self.sketches[place];
        let mut found: Vec<usize> = Vec::new();
        for answer in self.answers_of(place) {
            let key = (answer.clone(), sketch.figures.clone(), sketch.negations);
            let all = by_answer.get(&key).map_or(&[][..], Vec::as_slice);
            if all.len() <= CANDIDATES {
                found.extend(all);
            } else {
                let near = self.candidates(place).into_iter();
                found.extend(near.filter(|other| self.share_answer(place, *other)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(CANDIDATES);
        found
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
