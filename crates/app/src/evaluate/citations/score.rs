//! From answers to shares with their intervals.

use eval::abstention::auc;
use eval::stats::{Bootstrap, Row, wilson};
use store::Hit;

use super::outcome::QuestionOutcome;
use super::report::{Citing, Refusal, Share, Signal};

/// A share of rows (cluster, whether it is as it should be). Where nearly all rows agree, the
/// bootstrap's interval is too narrow, so it is widened to cover Wilson's.
fn share<'a>(rows: impl Iterator<Item = (&'a str, bool)>) -> Share {
    let rows: Vec<Row> = rows
        .map(|(cluster, good)| Row { cluster, a: vec![f64::from(u8::from(good))], b: Vec::new() })
        .collect();
    let count = rows.iter().filter(|row| row.a == [1.0]).count();
    let bootstrap = Bootstrap::default();
    let found = bootstrap.run(&rows).interval;
    let share = found.covering(wilson(found.estimate, rows.len() as f64, bootstrap.alpha));
    Share { count, of: rows.len(), share }
}

/// A row of [`share`].
fn row<'a>(outcome: &QuestionOutcome<'a>, good: bool) -> (&'a str, bool) {
    (outcome.question.cluster(), good)
}

/// Rows for `of` things that belong to one question; `good` of them are as they should be.
fn several<'a>(
    outcome: &QuestionOutcome<'a>,
    good: usize,
    of: usize,
) -> impl Iterator<Item = (&'a str, bool)> + use<'a> {
    let cluster = outcome.question.cluster();
    (0..of).map(move |index| (cluster, index < good))
}

/// What answers cite.
pub(super) fn citing(outcomes: &[QuestionOutcome]) -> Citing {
    let answerable = || outcomes.iter().filter(|outcome| outcome.question.is_answerable());
    let evident = || answerable().filter(|outcome| !outcome.question.evidence.is_empty());
    let cites = |outcome: &QuestionOutcome| outcome.cited.evident > 0;
    let supported = |wanted: &dyn Fn(&QuestionOutcome) -> bool| {
        let chosen = outcomes.iter().filter(|outcome| wanted(outcome));
        share(chosen.flat_map(|outcome| {
            let claims = &outcome.answer.support.claims;
            several(
                outcome,
                claims.iter().filter(|claim| claim.is_supported()).count(),
                claims.len(),
            )
        }))
    };
    Citing {
        right: share(answerable().map(|outcome| row(outcome, outcome.right))),
        precision: share(
            evident()
                .flat_map(|outcome| several(outcome, outcome.cited.evident, outcome.cited.all)),
        ),
        holds_answer: share(
            evident()
                .flat_map(|outcome| several(outcome, outcome.cited.holding, outcome.cited.all)),
        ),
        recall: share(
            evident().filter(|outcome| outcome.right).map(|outcome| row(outcome, cites(outcome))),
        ),
        right_and_cited: share(
            evident().map(|outcome| row(outcome, outcome.right && cites(outcome))),
        ),
        supported_right: supported(&|outcome| outcome.right),
        supported_wrong: supported(&|outcome| outcome.question.is_answerable() && !outcome.right),
        supported_unanswerable: supported(&|outcome| !outcome.question.is_answerable()),
    }
}

/// How well each signal separates the questions.
pub(super) fn signals(outcomes: &[QuestionOutcome]) -> Vec<Signal> {
    let best = |outcome: &QuestionOutcome, part: &dyn Fn(&Hit) -> Option<f32>| {
        let parts = outcome.answer.hits.iter().filter_map(part);
        parts.max_by(f32::total_cmp).map_or(f64::NEG_INFINITY, f64::from)
    };
    let signal = |name, value: &dyn Fn(&QuestionOutcome) -> f64| {
        let separated = |wanted: &dyn Fn(&QuestionOutcome) -> bool| {
            let (yes, no): (Vec<&QuestionOutcome>, Vec<&QuestionOutcome>) =
                outcomes.iter().partition(|outcome| wanted(outcome));
            let values =
                |side: Vec<&QuestionOutcome>| side.into_iter().map(value).collect::<Vec<f64>>();
            auc(&values(yes), &values(no))
        };
        let auc_answerable = separated(&|outcome| outcome.question.is_answerable());
        Signal { name, auc_answerable, auc_right: separated(&|outcome| outcome.right) }
    };
    vec![
        signal("cosine", &|outcome| f64::from(outcome.relevance())),
        signal("bm25", &|outcome| best(outcome, &|hit| hit.explain.bm25)),
        signal("support", &|outcome| outcome.answer.support.weakest()),
        signal("likelihood", &|outcome| outcome.answer.likelihood.unwrap_or(f64::NEG_INFINITY)),
    ]
}

/// What a threshold refuses.
pub(super) fn refusal(outcomes: &[QuestionOutcome], threshold: f32) -> Refusal {
    let (refused, answered): (Vec<&QuestionOutcome>, Vec<&QuestionOutcome>) =
        outcomes.iter().partition(|outcome| outcome.relevance() < threshold);
    let is_refused = |outcome: &QuestionOutcome| outcome.relevance() < threshold;
    let answerable = |outcome: &QuestionOutcome| outcome.question.is_answerable();
    Refusal {
        threshold,
        precision: share(refused.iter().map(|outcome| row(outcome, !answerable(outcome)))),
        recall: share(
            outcomes
                .iter()
                .filter(|outcome| !answerable(outcome))
                .map(|outcome| row(outcome, is_refused(outcome))),
        ),
        answered: share(
            outcomes
                .iter()
                .filter(|outcome| answerable(outcome))
                .map(|outcome| row(outcome, !is_refused(outcome))),
        ),
        right: share(answered.iter().map(|outcome| row(outcome, outcome.right))),
        right_without: share(outcomes.iter().map(|outcome| row(outcome, outcome.right))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_an_interval_even_when_all_agree() {
        let all = share((0..20).map(|_| ("one cluster", true)));
        assert_eq!((all.count, all.of, all.share.estimate), (20, 20, 1.0));
        assert!(all.share.lower < 0.9, "{all:?}");
        assert_eq!(share(std::iter::empty()).of, 0);
    }
}
