//! When to answer and when to abstain: a threshold on how sure the system is, chosen on questions
//! with known outcomes.

use serde::{Deserialize, Serialize};

/// A question that was answered whatever the confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// How sure the system was; it abstains where this is below its threshold.
    pub confidence: f64,
    /// Whether the documents answer the question.
    pub answerable: bool,
    /// Whether the answer was right; never for an unanswerable question.
    pub right: bool,
}

/// What a threshold is to achieve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The largest sum of two shares: of answerable questions that are answered, and of
    /// unanswerable ones that are refused (Youden 1950). It depends neither on how many questions
    /// of each kind there are nor on how good the answers are.
    Balance,
    /// As many answers as possible, of which at most this share may be wrong.
    MostWrong(f64),
}

/// What happens when the system answers from a threshold on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// The threshold.
    pub threshold: f64,
    /// Questions answered.
    pub answered: usize,
    /// Of all questions, the share answered.
    pub coverage: f64,
    /// Of the answered, the share answered rightly; `None` when none is.
    pub right: Option<f64>,
    /// Of the answerable questions, the share answered.
    pub answerable_answered: Option<f64>,
    /// Of the unanswerable questions, the share refused.
    pub unanswerable_refused: Option<f64>,
}

/// The probability that a confidence of `positive` is above one of `negative`, ties counting half:
/// the area under the ROC curve (Hanley and McNeil 1982). `None` when one side is empty.
pub fn auc(positive: &[f64], negative: &[f64]) -> Option<f64> {
    if positive.is_empty() || negative.is_empty() {
        return None;
    }
    let mut sorted = negative.to_vec();
    sorted.sort_by(f64::total_cmp);
    let wins = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let upto = sorted.partition_point(|other| other <= value);
        below as f64 + 0.5 * (upto - below) as f64
    };
    let sum: f64 = positive.iter().map(wins).sum();
    Some(sum / (positive.len() * negative.len()) as f64)
}

/// What happens with one threshold.
pub fn at(attempts: &[Attempt], threshold: f64) -> CoveragePoint {
    let count = |wanted: &dyn Fn(&Attempt) -> bool| {
        attempts.iter().filter(|attempt| wanted(attempt)).count()
    };
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let answers = |attempt: &Attempt| attempt.confidence >= threshold;
    let answered = count(&answers);
    let answerable = count(&|attempt| attempt.answerable);
    let taken = count(&|attempt| attempt.answerable && answers(attempt));
    let refused = count(&|attempt| !attempt.answerable && !answers(attempt));
    CoveragePoint {
        threshold,
        answered,
        coverage: share(answered, attempts.len()).unwrap_or(0.0),
        right: share(count(&|attempt| attempt.right && answers(attempt)), answered),
        answerable_answered: share(taken, answerable),
        unanswerable_refused: share(refused, attempts.len() - answerable),
    }
}

/// What happens when the surest tenth of the questions is answered, two tenths, and so on up to all
/// of them.
pub fn coverage(attempts: &[Attempt]) -> Vec<CoveragePoint> {
    let mut confidences: Vec<f64> = attempts.iter().map(|attempt| attempt.confidence).collect();
    confidences.sort_by(|a, b| b.total_cmp(a));
    let threshold = |tenth: usize| {
        confidences.get((confidences.len() * tenth).div_ceil(10).max(1) - 1).copied()
    };
    (1..=10).filter_map(threshold).map(|threshold| at(attempts, threshold)).collect()
}

/// The threshold that serves an objective best; of several, the lowest. `None` when no threshold
/// can be chosen: there is no question of one of the two kinds, or every threshold exceeds the
/// share that may be wrong.
pub fn threshold(attempts: &[Attempt], objective: Objective) -> Option<f64> {
    let mut candidates: Vec<f64> = attempts.iter().map(|attempt| attempt.confidence).collect();
    candidates.sort_by(f64::total_cmp);
    candidates.dedup();
    let mut points = candidates.into_iter().map(|threshold| at(attempts, threshold));
    match objective {
        Objective::Balance => {
            let mut best: Option<(f64, f64)> = None;
            for point in points {
                let sum = point.answerable_answered? + point.unanswerable_refused?;
                if best.is_none_or(|(most, _)| sum > most) {
                    best = Some((sum, point.threshold));
                }
            }
            best.map(|(_, threshold)| threshold)
        }
        Objective::MostWrong(share) => points
            .find(|point| point.right.is_some_and(|right| 1.0 - right <= share))
            .map(|point| point.threshold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(rows: &[(f64, bool, bool)]) -> Vec<Attempt> {
        let attempt = |&(confidence, answerable, right): &(f64, bool, bool)| Attempt {
            confidence,
            answerable,
            right,
        };
        rows.iter().map(attempt).collect()
    }

    const ROWS: [(f64, bool, bool); 6] = [
        (0.9, true, true),
        (0.8, true, false),
        (0.7, true, true),
        (0.6, false, false),
        (0.5, true, false),
        (0.4, false, false),
    ];

    #[test]
    fn auc_by_hand() {
        assert_eq!(auc(&[2.0, 3.0], &[1.0, 2.0]), Some(0.875));
        assert_eq!(auc(&[1.0], &[1.0]), Some(0.5));
        assert_eq!(auc(&[], &[1.0]), None);
    }

    #[test]
    fn the_balanced_threshold_parts_the_two_kinds() {
        // Answering from .7 on answers 3 of 4 and refuses 2 of 2; from .5 on 4 of 4 and 1 of 2.
        assert_eq!(threshold(&attempts(&ROWS), Objective::Balance), Some(0.7));
        assert_eq!(
            threshold(&attempts(&ROWS[..3]), Objective::Balance),
            None,
            "nothing is unanswerable"
        );
    }

    #[test]
    fn a_bound_on_wrong_answers_leaves_as_many_answers_as_it_can() {
        let chosen = |share| threshold(&attempts(&ROWS), Objective::MostWrong(share));
        assert_eq!(
            (chosen(0.4), chosen(0.5), chosen(0.0), chosen(1.0)),
            (Some(0.7), Some(0.6), Some(0.9), Some(0.4))
        );
        assert_eq!(
            threshold(&attempts(&ROWS[3..]), Objective::MostWrong(0.5)),
            None,
            "none is ever right"
        );
    }

    #[test]
    fn coverage_goes_from_the_surest_to_all() {
        let points = coverage(&attempts(&ROWS));
        assert_eq!((points.len(), points[0].answered, points[9].answered), (10, 1, 6));
        assert_eq!((points[0].right, points[9].right), (Some(1.0), Some(1.0 / 3.0)));
        assert_eq!(points[9].unanswerable_refused, Some(0.0));
        assert!(coverage(&[]).is_empty());
    }
}
