use std::collections::BTreeMap;

/// Human labels a judge model must have been compared with before it may score.
pub const MIN_JUDGE_LABELS: usize = 100;
/// Agreement with them (Cohen's kappa) from which it may score.
pub const MIN_JUDGE_KAPPA: f64 = 0.6;

/// Cohen's kappa (1960) between two raters over the same items; `None` without items or when chance
/// alone explains full agreement (both always say the same one label).
pub fn cohens_kappa<T: Ord>(ratings: &[(T, T)]) -> Option<f64> {
    if ratings.is_empty() {
        return None;
    }
    let n = ratings.len() as f64;
    let mut marginals: BTreeMap<&T, (f64, f64)> = BTreeMap::new();
    for (a, b) in ratings {
        marginals.entry(a).or_default().0 += 1.0;
        marginals.entry(b).or_default().1 += 1.0;
    }
    let observed = ratings.iter().filter(|(a, b)| a == b).count() as f64 / n;
    let expected: f64 = marginals.values().map(|(a, b)| a * b / (n * n)).sum();
    (expected < 1.0).then(|| (observed - expected) / (1.0 - expected))
}

/// Whether a judge model may score, or only triage: enough human labels and enough agreement with
/// them.
pub fn judge_is_trustworthy<T: Ord>(human_and_judge: &[(T, T)]) -> bool {
    human_and_judge.len() >= MIN_JUDGE_LABELS
        && cohens_kappa(human_and_judge).is_some_and(|kappa| kappa >= MIN_JUDGE_KAPPA)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(yes_yes: usize, yes_no: usize, no_yes: usize, no_no: usize) -> Vec<(bool, bool)> {
        [
            ((true, true), yes_yes),
            ((true, false), yes_no),
            ((false, true), no_yes),
            ((false, false), no_no),
        ]
        .into_iter()
        .flat_map(|(pair, count)| std::iter::repeat_n(pair, count))
        .collect()
    }

    #[test]
    fn by_hand() {
        // Observed 0.7, expected 0.5 x 0.6 + 0.5 x 0.4 = 0.5.
        assert!((cohens_kappa(&table(20, 5, 10, 15)).unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(cohens_kappa(&table(10, 0, 0, 0)), None);
        assert_eq!(cohens_kappa::<bool>(&[]), None);
        assert!(judge_is_trustworthy(&table(45, 5, 5, 45)));
        assert!(!judge_is_trustworthy(&table(9, 1, 1, 9)));
        assert!(!judge_is_trustworthy(&table(40, 20, 20, 40)));
    }
}
