//! The contrastive loss: a question's vector should lie nearer to its own passage's vector than to
//! any other passage's.

use crate::kernels::{MatRef, dot, exp_shifted, max, weighted_sum};

/// Which of a step's passages belong to which of its questions. Numbers are places in the step's
/// lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// The passage of each question.
    pub(super) positives: Vec<usize>,
    /// Further passages of the step that answer each question: they are no negatives of it.
    pub(super) also: Vec<Vec<usize>>,
}

/// Loss and gradients of one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contrast {
    /// Mean over the questions.
    pub(super) loss: f64,
    /// With respect to the questions' vectors, `[questions, width]`.
    pub(super) d_questions: Vec<f32>,
    /// With respect to the passages' vectors, `[passages, width]`.
    pub(super) d_passages: Vec<f32>,
}

/// InfoNCE (van den Oord et al. 2018) as multiple negatives ranking (Henderson et al. 2017): the
/// mean over the questions of `-ln softmax(scale * cosine)` at the question's passage, among all
/// passages of the step except others that answer it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InfoNce {
    /// What cosines are multiplied with before the softmax: the inverse of its temperature.
    pub(super) scale: f32,
    /// The mean of that loss and the same from each passage to all questions of the step.
    pub(super) symmetric: bool,
}

impl InfoNce {
    /// Loss and gradients for vectors of length 1: `questions` is `[questions, width]`, `passages`
    /// is `[passages, width]`.
    pub(super) fn contrast(
        self,
        questions: &[f32],
        passages: &[f32],
        width: usize,
        matches: &Matches,
    ) -> Contrast {
        let Self { scale, symmetric } = self;
        let (rows, columns) = (questions.len() / width, passages.len() / width);
        let mut scores = vec![0.0; rows * columns];
        for (line, question) in scores.chunks_exact_mut(columns).zip(questions.chunks_exact(width))
        {
            let each = line.iter_mut().zip(passages.chunks_exact(width));
            each.for_each(|(score, passage)| *score = scale * dot(question, passage));
        }
        for (line, also) in scores.chunks_exact_mut(columns).zip(&matches.also) {
            also.iter().for_each(|passage| line[*passage] = f32::NEG_INFINITY);
        }
        let sides = if symmetric { 2.0 } else { 1.0 };
        let share = 1.0 / (sides * rows as f32);
        let mut loss = 0.0;
        // Gradients of the scores.
        let mut d_scores = vec![0.0; scores.len()];
        let lines = scores.chunks_exact(columns).zip(d_scores.chunks_exact_mut(columns));
        for ((line, d), positive) in lines.zip(&matches.positives) {
            loss += f64::from(share) * softmax_loss(line, *positive, share, d);
        }
        if symmetric {
            for (row, positive) in matches.positives.iter().enumerate() {
                // Other questions that this passage answers are no negatives of it.
                let column: Vec<f32> = (0..rows)
                    .map(|other| match matches.positives[other] == *positive && other != row {
                        true => f32::NEG_INFINITY,
                        false => scores[other * columns + positive],
                    })
                    .collect();
                let mut d = vec![0.0; rows];
                loss += f64::from(share) * softmax_loss(&column, row, share, &mut d);
                d.iter()
                    .enumerate()
                    .for_each(|(other, d)| d_scores[other * columns + positive] += d);
            }
        }
        let (mut d_questions, mut d_passages) =
            (vec![0.0; questions.len()], vec![0.0; passages.len()]);
        d_scores.iter_mut().for_each(|d| *d *= scale);
        for (d, line) in d_questions.chunks_exact_mut(width).zip(d_scores.chunks_exact(columns)) {
            weighted_sum(MatRef::new(passages, columns, width), line, d);
        }
        for (column, d) in d_passages.chunks_exact_mut(width).enumerate() {
            let weights: Vec<f32> =
                d_scores.iter().skip(column).step_by(columns).copied().collect();
            weighted_sum(MatRef::new(questions, rows, width), &weights, d);
        }
        Contrast { loss, d_questions, d_passages }
    }
}

/// `-ln softmax(scores)[target]`; `d` becomes `share` times its gradient.
fn softmax_loss(scores: &[f32], target: usize, share: f32, d: &mut [f32]) -> f64 {
    let highest = max(scores);
    d.copy_from_slice(scores);
    let total = exp_shifted(d, highest);
    let loss = f64::from(highest) + f64::from(total).ln() - f64::from(scores[target]);
    for (p, score) in d.iter_mut().zip(scores) {
        // The exponential of what is left out is tiny, not 0.
        *p = if *score > f32::NEG_INFINITY { *p * share / total } else { 0.0 };
    }
    d[target] -= share;
    loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{noise, slope};

    fn unit(mut vectors: Vec<f32>, width: usize) -> Vec<f32> {
        for vector in vectors.chunks_exact_mut(width) {
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|x| *x /= length);
        }
        vectors
    }

    /// Three questions, five passages: the first answers the first two questions, the last two are
    /// mined, and the third question has a second answer.
    fn matches() -> Matches {
        Matches { positives: vec![0, 0, 2], also: vec![vec![], vec![], vec![4]] }
    }

    #[test]
    fn the_loss_is_that_of_the_formula() {
        let (questions, passages) = (unit(noise(1, 3 * 6), 6), unit(noise(2, 5 * 6), 6));
        let cosine = |question: usize, passage: usize| -> f64 {
            let pairs = questions[question * 6..][..6].iter().zip(&passages[passage * 6..][..6]);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let nll = |scores: Vec<f64>, target: f64| {
            scores.iter().map(|score| (20.0 * score).exp()).sum::<f64>().ln() - 20.0 * target
        };
        let rows = [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3]];
        let forward: f64 = rows
            .iter()
            .enumerate()
            .map(|(q, among)| {
                nll(
                    among.iter().map(|p| cosine(q, *p)).collect(),
                    cosine(q, matches().positives[q]),
                )
            })
            .sum();
        let found = InfoNce { scale: 20.0, symmetric: false }.contrast(
            &questions,
            &passages,
            6,
            &matches(),
        );
        assert!((found.loss - forward / 3.0).abs() < 1e-5, "{} {}", found.loss, forward / 3.0);
        let columns = [(0, vec![0, 2]), (1, vec![1, 2]), (2, vec![0, 1, 2])];
        let backward: f64 = columns
            .iter()
            .map(|(q, among)| {
                let passage = matches().positives[*q];
                nll(
                    among.iter().map(|other| cosine(*other, passage)).collect(),
                    cosine(*q, passage),
                )
            })
            .sum();
        let found =
            InfoNce { scale: 20.0, symmetric: true }.contrast(&questions, &passages, 6, &matches());
        assert!((found.loss - (forward + backward) / 6.0).abs() < 1e-5);
    }

    #[test]
    fn gradients_match_differences() {
        let (mut questions, mut passages) = (unit(noise(3, 3 * 6), 6), unit(noise(4, 5 * 6), 6));
        for symmetric in [false, true] {
            let loss = InfoNce { scale: 5.0, symmetric };
            let found = loss.contrast(&questions, &passages, 6, &matches());
            let fixed = passages.clone();
            for at in 0..questions.len() {
                let expected = slope(&mut questions, at, 1e-2, |questions| {
                    loss.contrast(questions, &fixed, 6, &matches()).loss
                });
                assert!(
                    (f64::from(found.d_questions[at]) - expected).abs() < 2e-3,
                    "question {at}"
                );
            }
            let fixed = questions.clone();
            for at in 0..passages.len() {
                let expected = slope(&mut passages, at, 1e-2, |passages| {
                    loss.contrast(&fixed, passages, 6, &matches()).loss
                });
                assert!((f64::from(found.d_passages[at]) - expected).abs() < 2e-3, "passage {at}");
            }
        }
    }

    #[test]
    fn a_passage_that_answers_too_is_not_pushed_away() {
        let (questions, passages) = (unit(noise(5, 3 * 6), 6), unit(noise(6, 5 * 6), 6));
        let mut alone = matches();
        // Passage 4 answers all three: nothing is left that would move it.
        alone.also = vec![vec![4]; 3];
        let found =
            InfoNce { scale: 20.0, symmetric: false }.contrast(&questions, &passages, 6, &alone);
        assert!(found.d_passages[4 * 6..].iter().all(|d| *d == 0.0));
        assert!(found.d_passages[..6].iter().any(|d| *d != 0.0));
    }
}
