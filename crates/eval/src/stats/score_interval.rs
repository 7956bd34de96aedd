//! Score intervals for right/wrong data. Unlike the bootstrap they keep their width when all
//! questions agree: no disagreement among 20 questions does not prove that there is none among
//! 2000.

use super::interval::{BISECTIONS, Interval};
use super::normal::normal_quantile;

/// Wilson's (1927) interval for a share.
pub fn wilson(share: f64, n: f64, alpha: f64) -> Interval {
    if n <= 0.0 {
        return Interval { estimate: share, lower: 0.0, upper: 1.0 };
    }
    let z2 = normal_quantile(1.0 - alpha / 2.0).powi(2);
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
    Interval { estimate: share, lower: (centre - half).max(0.0), upper: (centre + half).min(1.0) }
}

/// Tango's (1998) interval for a paired difference of shares: of `n` pairs, `b` favour the first
/// side and `c` the second (whole or, averaged over seeds, fractional).
///
/// Each bound is the difference at which the score statistic reaches the normal quantile, where the
/// discordance is estimated under that difference. It is found by bisection.
pub fn tango(b: f64, c: f64, n: f64, alpha: f64) -> Interval {
    if n <= 0.0 {
        return Interval { estimate: 0.0, lower: -1.0, upper: 1.0 };
    }
    let estimate = (b - c) / n;
    let z = normal_quantile(1.0 - alpha / 2.0);
    let statistic = |delta: f64| {
        // Restricted estimate of the share that favours the second side.
        let p = -b - c + (2.0 * n - b + c) * delta;
        let q = -c * delta * (1.0 - delta);
        let second = ((p * p - 8.0 * n * q).max(0.0).sqrt() - p) / (4.0 * n);
        let variance = (n * (2.0 * second + delta * (1.0 - delta))).max(0.0);
        let distance = b - c - n * delta;
        if variance > 0.0 { distance / variance.sqrt() } else { distance * f64::INFINITY }
    };
    // The statistic falls as the supposed difference rises.
    let solve = |goal: f64, mut low: f64, mut high: f64| {
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            if statistic(middle) > goal { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    };
    Interval { estimate, lower: solve(z, -1.0, estimate), upper: solve(-z, estimate, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_by_hand() {
        // 8 of 10: (0.8 + 0.19207) / 1.38415 = 0.71674; half 0.22659.
        let interval = wilson(0.8, 10.0, 0.05);
        assert!(
            (interval.lower - 0.4902).abs() < 1e-4 && (interval.upper - 0.9433).abs() < 1e-4,
            "{interval:?}"
        );
        assert_eq!(wilson(0.0, 10.0, 0.05).lower, 0.0);
        assert_eq!(wilson(1.0, 10.0, 0.05).upper, 1.0);
    }

    #[test]
    fn tango_without_discordance_is_closed_form() {
        // z^2 / (n + z^2).
        let interval = tango(0.0, 0.0, 30.0, 0.05);
        let expected = 3.841_458_8 / 33.841_458_8;
        assert!(
            (interval.upper - expected).abs() < 1e-6 && (interval.lower + expected).abs() < 1e-6
        );
    }

    #[test]
    fn tango_against_the_likelihood() {
        // Bounds found apart from this code, by maximising the restricted likelihood numerically;
        // the first row is the trial of two lens treatments in Tango (1998).
        let rows = [
            ((0.0, 1.0, 44.0, 0.10), (-0.095_662, 0.036_517)),
            ((15.0, 5.0, 60.0, 0.05), (0.022_143, 0.309_521)),
            ((30.0, 10.0, 200.0, 0.05), (0.039_896, 0.163_642)),
        ];
        for ((b, c, n, alpha), (lower, upper)) in rows {
            let interval = tango(b, c, n, alpha);
            assert!((interval.lower - lower).abs() < 1e-5, "{interval:?}");
            assert!((interval.upper - upper).abs() < 1e-5, "{interval:?}");
        }
    }
}
