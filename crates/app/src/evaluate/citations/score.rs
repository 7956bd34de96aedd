//! From answers to shares with their intervals.

use eval::abstention::auc;
use eval::lenient;
use eval::stats::{Bootstrap, Row, wilson};
use store::Hit;

use super::{Citing, Outcome, Refusal, Share, Signal};
use crate::ask::citation::Citation;
use crate::questions::Question;
use crate::search::grounding::GoldChunk;

/// The citations of an answer, held against the evidence of its question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cited {
    /// All of them; none is counted for a question that names no evidence.
    pub(super) all: usize,
    /// Those that overlap the evidence.
    pub(super) evident: usize,
    /// Those of these that hold a gold answer.
    pub(super) holding: usize,
}

/// Counts the citations that are where the evidence is.
pub(super) fn cited(citations: &[Citation], gold: &[GoldChunk], question: &Question) -> Cited {
    if gold.is_empty() {
        return Cited::default();
    }
    let is_evident = |citation: &&Citation| {
        gold.iter().any(|gold| {
            let (a, b) = (&gold.quote, &citation.span);
            gold.path == citation.document && a.start < b.end && b.start < a.end
        })
    };
    let evident: Vec<&Citation> = citations.iter().filter(is_evident).collect();
    let holding =
        evident.iter().filter(|citation| lenient(&citation.quote, &question.answers)).count();
    Cited { all: citations.len(), evident: evident.len(), holding }
}

/// A share of rows (cluster, whether it is as it should be). The bootstrap is too sure when nearly
/// all agree, so its interval is widened to cover Wilson's.
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
fn row<'a>(outcome: &Outcome<'a>, good: bool) -> (&'a str, bool) {
    (outcome.question.cluster(), good)
}

/// A row for each of `of` things of a question, of which `good` are as they should be.
fn several<'a>(
    outcome: &Outcome<'a>,
    good: usize,
    of: usize,
) -> impl Iterator<Item = (&'a str, bool)> + use<'a> {
    let cluster = outcome.question.cluster();
    (0..of).map(move |index| (cluster, index < good))
}

/// What answers cite.
pub(super) fn citing(outcomes: &[Outcome]) -> Citing {
    let answerable = || outcomes.iter().filter(|outcome| outcome.question.is_answerable());
    let evident = || answerable().filter(|outcome| !outcome.question.evidence.is_empty());
    let cites = |outcome: &Outcome| outcome.cited.evident > 0;
    let supported = |wanted: &dyn Fn(&Outcome) -> bool| {
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

/// How well each signal parts the questions.
pub(super) fn signals(outcomes: &[Outcome]) -> Vec<Signal> {
    let best = |outcome: &Outcome, part: &dyn Fn(&Hit) -> Option<f32>| {
        let parts = outcome.answer.hits.iter().filter_map(part);
        parts.max_by(f32::total_cmp).map_or(f64::NEG_INFINITY, f64::from)
    };
    let signal = |name, value: &dyn Fn(&Outcome) -> f64| {
        let parted = |wanted: &dyn Fn(&Outcome) -> bool| {
            let (yes, no): (Vec<&Outcome>, Vec<&Outcome>) =
                outcomes.iter().partition(|outcome| wanted(outcome));
            let values = |side: Vec<&Outcome>| side.into_iter().map(value).collect::<Vec<f64>>();
            auc(&values(yes), &values(no))
        };
        let auc_answerable = parted(&|outcome| outcome.question.is_answerable());
        Signal { name, auc_answerable, auc_right: parted(&|outcome| outcome.right) }
    };
    vec![
        signal("cosine", &|outcome| f64::from(outcome.relevance())),
        signal("bm25", &|outcome| best(outcome, &|hit| hit.explain.bm25)),
        signal("support", &|outcome| outcome.answer.support.weakest()),
        signal("likelihood", &|outcome| outcome.answer.likelihood.unwrap_or(f64::NEG_INFINITY)),
    ]
}

/// What a threshold refuses.
pub(super) fn refusal(outcomes: &[Outcome], threshold: f32) -> Refusal {
    let (refused, answered): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().partition(|outcome| outcome.relevance() < threshold);
    let is_refused = |outcome: &Outcome| outcome.relevance() < threshold;
    let answerable = |outcome: &Outcome| outcome.question.is_answerable();
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
    use crate::prompt::Passage;

    fn citation(document: &str, span: std::ops::Range<usize>, quote: &str) -> Citation {
        Citation {
            document: document.to_owned(),
            version: 1,
            heading_path: Vec::new(),
            span,
            quote: quote.to_owned(),
            overlap: 1.0,
            cosine: 1.0,
        }
    }

    fn question() -> Question {
        Question {
            id: "q".to_owned(),
            instruction: String::new(),
            text: "When?".to_owned(),
            answers: vec!["1969".to_owned()],
            evidence: Vec::new(),
            completion: String::new(),
            group: None,
            split: crate::Split::Dev,
            place: crate::questions::Place::default(),
        }
    }

    #[test]
    fn a_citation_counts_where_the_evidence_is() {
        let gold = [GoldChunk {
            chunk: store::ChunkId(1),
            document: store::DocumentId(1),
            path: "a.md".to_owned(),
            passage: Passage::new(None, &[], ""),
            evidence: 0,
            quote: 10..40,
            sufficient: true,
        }];
        let citations = [
            citation("a.md", 35..60, "It opened in 1969."),
            citation("a.md", 12..30, "It is in Marrow."),
            citation("a.md", 40..60, "1969 was wet."),
            citation("b.md", 12..30, "In 1969."),
        ];
        assert_eq!(cited(&citations, &gold, &question()), Cited { all: 4, evident: 2, holding: 1 });
        assert_eq!(
            cited(&citations, &[], &question()),
            Cited::default(),
            "nothing to hold it against"
        );
    }

    #[test]
    fn a_share_has_an_interval_even_when_all_agree() {
        let all = share((0..20).map(|_| ("one cluster", true)));
        assert_eq!((all.count, all.of, all.share.estimate), (20, 20, 1.0));
        assert!(all.share.lower < 0.9, "{all:?}");
        assert_eq!(share(std::iter::empty()).of, 0);
    }
}
