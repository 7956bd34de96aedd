//! The exact test for paired right/wrong data.

/// Two-sided p-value of McNemar's exact test (McNemar 1947): with `b` pairs in favour of one side
/// and `c` of the other, twice the smaller binomial(b + c, 1/2) tail, at most 1.
pub fn mcnemar_exact(b: usize, c: usize) -> f64 {
    let n = b + c;
    // ln of C(n, k) / 2^n, by recurrence from k = 0; summing from logs keeps large n within range.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log.exp();
    for k in 1..=b.min(c) {
        log += ((n - k + 1) as f64).ln() - (k as f64).ln();
        tail += log.exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::mcnemar_exact;

    #[test]
    fn by_hand() {
        assert_eq!(mcnemar_exact(0, 0), 1.0);
        assert_eq!(mcnemar_exact(3, 3), 1.0);
        // 2 (1 + 10) / 2^10
        assert!((mcnemar_exact(1, 9) - 22.0 / 1024.0).abs() < 1e-12);
        // 2 / 2^6
        assert!((mcnemar_exact(6, 0) - 0.03125).abs() < 1e-12);
        // 2 (1 + 20 + 190 + 1140 + 4845 + 15504) / 2^20
        assert!((mcnemar_exact(15, 5) - 2.0 * 21_700.0 / 1_048_576.0).abs() < 1e-12);
        assert_eq!(mcnemar_exact(15, 5), mcnemar_exact(5, 15));
    }

    #[test]
    fn large_counts_stay_in_range() {
        let p = mcnemar_exact(4800, 5200);
        // Normal approximation with continuity correction: z = 399 / 100.
        assert!((p / 6.6e-5 - 1.0).abs() < 0.02, "{p}");
        assert!(mcnemar_exact(0, 100_000) >= 0.0);
    }
}
