//! Negative log-likelihood of targets under logits, and its gradient in place.

use rayon::prelude::*;

use crate::kernels;

/// Sum over the rows of `-ln softmax(row)[target]`, in nats.
///
/// `logits` is `[targets.len(), vocabulary]`; each row becomes `scale` times the gradient of its
/// own term: `scale * (softmax(row) - onehot(target))`. Each row's term is f32, their sum f64 in
/// the order of the rows.
pub(crate) fn cross_entropy(logits: &mut [f32], targets: &[u32], scale: f32) -> f64 {
    let vocabulary = logits.len() / targets.len().max(1);
    let terms: Vec<f32> = logits
        .par_chunks_mut(vocabulary.max(1))
        .zip(targets)
        .map(|(row, &target)| {
            let largest = kernels::max(row);
            // The difference first: both may be large, the term is often small.
            let below = largest - row[target as usize];
            let total = kernels::exp_shifted(row, largest);
            kernels::scale(row, scale / total);
            row[target as usize] -= scale;
            below + total.ln()
        })
        .collect();
    terms.into_iter().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{noise, slope};

    #[test]
    fn it_is_the_negative_log_likelihood_and_its_gradient_matches_differences() {
        let (rows, vocabulary) = (4, 37);
        let mut logits = noise(1, rows * vocabulary);
        let targets = [0, 36, 5, 5];
        let expected: f64 = logits
            .chunks(vocabulary)
            .zip(targets)
            .map(|(row, target)| {
                let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                total.ln() - f64::from(row[target as usize])
            })
            .sum();
        let mut gradient = logits.clone();
        assert!((cross_entropy(&mut gradient, &targets, 0.5) - expected).abs() < 1e-5);
        for (at, &slope_here) in gradient.iter().enumerate() {
            let differences =
                slope(&mut logits, at, 1e-2, |x| cross_entropy(&mut x.to_vec(), &targets, 0.0));
            assert!((f64::from(slope_here) - 0.5 * differences).abs() < 1e-4);
        }
        assert_eq!(cross_entropy(&mut [], &[], 1.0), 0.0);
    }

    #[test]
    fn huge_logits_stay_finite() {
        let mut logits = vec![-1e4, 0.0, 1e4];
        assert_eq!(cross_entropy(&mut logits, &[0], 1.0), 2e4);
        assert!(logits[1] < 1e-30);
        assert_eq!([logits[0], logits[2]], [-1.0, 1.0]);
    }
}
