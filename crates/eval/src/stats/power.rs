//! Sample sizes for paired differences (Connor 1987).
//!
//! They are meant for right/wrong data. For graded data the mean squared difference takes the place
//! of the discordance: both are the variance of a pair's difference when the mean is 0.

use super::interval::BISECTIONS;
use super::normal::normal_quantile;

/// Taken off before rounding up, so that a whole number that arithmetic pushed up by an ulp does
/// not cost one question more.
const SLACK: f64 = 1e-9;

fn quantiles(power: f64, alpha: f64) -> (f64, f64) {
    (normal_quantile(1.0 - alpha / 2.0), normal_quantile(power))
}

/// Questions needed to see a paired `difference` (0..1) at the two-sided level `alpha` with the
/// given `power`, when a share `discordance` of the questions is answered differently: `n = (z_a
/// sqrt(w) + z_b sqrt(w - d^2))^2 / d^2`. `None` for a difference of 0.
pub fn required_questions(
    difference: f64,
    discordance: f64,
    power: f64,
    alpha: f64,
) -> Option<usize> {
    let (z_a, z_b) = quantiles(power, alpha);
    let d2 = difference * difference;
    let discordance = discordance.max(d2);
    let n = (z_a * discordance.sqrt() + z_b * (discordance - d2).sqrt()).powi(2) / d2;
    n.is_finite().then(|| (n - SLACK).ceil() as usize)
}

/// Smallest paired difference (0..1) that `questions` can show at the two-sided level `alpha` with
/// the given `power`; 1 when they can show none. Inverse of [`required_questions`].
pub fn detectable_difference(questions: f64, discordance: f64, power: f64, alpha: f64) -> f64 {
    let (z_a, z_b) = quantiles(power, alpha);
    let largest = discordance.clamp(0.0, 1.0).sqrt();
    let excess = |d: f64| {
        d * questions.sqrt() - z_a * largest - z_b * (largest * largest - d * d).max(0.0).sqrt()
    };
    if questions <= 0.0 || excess(largest) < 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, largest);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        if excess(middle) < 0.0 { low = middle } else { high = middle }
    }
    high
}

/// Questions needed to show that a paired difference is above `-margin`, at the two-sided level
/// `alpha` with the given `power`, when the true difference is `difference`. `None` when that is
/// not above `-margin`.
///
/// The result is at least `z^2 (1 - margin) / margin`: so many are needed to bound a difference of
/// 0 by the margin when no pair is discordant.
pub fn questions_for_non_inferiority(
    difference: f64,
    margin: f64,
    discordance: f64,
    power: f64,
    alpha: f64,
) -> Option<usize> {
    let (z_a, z_b) = quantiles(power, alpha);
    let distance = difference + margin;
    if distance <= 0.0 {
        return None;
    }
    let variance = (discordance - difference * difference).max(0.0);
    let n = ((z_a + z_b).powi(2) * variance / distance.powi(2))
        .max(z_a * z_a * (1.0 - margin) / margin);
    n.is_finite().then(|| (n - SLACK).ceil().max(1.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [(f64, [usize; 3]); 4] = [
        (0.03, [1742, 2614, 3487]),
        (0.05, [626, 940, 1254]),
        (0.10, [155, 234, 312]),
        (0.15, [68, 103, 138]),
    ];

    #[test]
    fn the_table_of_the_method() {
        for (difference, row) in TABLE {
            for (discordance, questions) in [0.2, 0.3, 0.4].into_iter().zip(row) {
                let found = required_questions(difference, discordance, 0.8, 0.05).unwrap();
                assert_eq!(found, questions, "{difference} at {discordance}");
                // And back: these many questions detect it, one fewer does not.
                assert!(
                    detectable_difference(questions as f64, discordance, 0.8, 0.05) <= difference
                );
                assert!(
                    detectable_difference((questions - 1) as f64, discordance, 0.8, 0.05)
                        > difference
                );
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(required_questions(0.0, 0.3, 0.8, 0.05), None);
        assert_eq!(detectable_difference(0.0, 0.3, 0.8, 0.05), 1.0);
        assert_eq!(detectable_difference(2.0, 0.3, 0.8, 0.05), 1.0);
        // No discordant pair in 73 questions bounds the difference by 5 points; in 72 it doesn't.
        assert_eq!(questions_for_non_inferiority(0.0, 0.05, 0.0, 0.8, 0.05), Some(73));
        assert_eq!(questions_for_non_inferiority(-0.05, 0.05, 0.2, 0.8, 0.05), None);
        assert_eq!(questions_for_non_inferiority(0.0, 0.05, 0.2, 0.8, 0.05), Some(628));
    }
}
