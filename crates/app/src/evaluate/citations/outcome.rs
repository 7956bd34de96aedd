//! One question: its answer, whether that is right, and whether what it cites is the evidence.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use eval::abstention::Attempt;
use eval::{Arm, Measure};
use lm::GenerateOptions;

use crate::ask::citation::Citation;
use crate::ask::service::Service;
use crate::ask::{Answer, AskRequest, NEVER_ABSTAIN};
use crate::error::{Error, Result};
use crate::grading::Grade;
use crate::questions::{Question, QuestionSet};
use crate::search::grounding::GoldChunk;

/// A question and what came of it.
pub(super) struct QuestionOutcome<'a> {
    pub(super) question: &'a Question,
    pub(super) answer: Answer,
    pub(super) right: bool,
    pub(super) cited: Cited,
}

impl<'a> QuestionOutcome<'a> {
    /// Asks a question of a set, as if nothing were ever refused. It counts as wrong until it is
    /// graded.
    pub(super) fn ask(
        service: &Service,
        set: &QuestionSet,
        (question, gold): (&'a Question, &[GoldChunk]),
        stop: &AtomicBool,
    ) -> Result<Self> {
        let request = AskRequest {
            question: &question.text,
            set: Some(&set.config),
            arm: Some(Arm::Rag),
            instruction: Some(&question.instruction),
            abstain_below: Some(NEVER_ABSTAIN),
            sampling: GenerateOptions { likelihood: true, ..GenerateOptions::default() },
            ..AskRequest::default()
        };
        let answer = service.ask(&request, &mut |_| {
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let cited = Cited::count(&answer.support.citations, gold, question);
        Ok(Self { question, answer, right: false, cited })
    }

    /// Takes over what the grader says. Where it gives no score, or one between right and wrong, an
    /// answer that holds an accepted one is right.
    pub(super) fn graded(&mut self, measure: Measure, grade: &Grade) {
        self.right = match grade.score {
            Some(score) if measure.is_right_wrong() => score == 1.0,
            Some(score) => score >= 0.5 || grade.lenient,
            None => grade.lenient,
        };
    }

    /// How sure the system was before it answered.
    pub(super) fn relevance(&self) -> f32 {
        self.answer.relevance.unwrap_or(NEVER_ABSTAIN)
    }

    /// What a threshold for abstaining is chosen by.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt {
            confidence: f64::from(self.relevance()),
            answerable: self.question.is_answerable(),
            right: self.right,
        }
    }
}

/// The citations of an answer, compared with the evidence of its question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cited {
    /// All of them; none is counted for a question that names no evidence.
    pub(super) all: usize,
    /// Citations that overlap the evidence.
    pub(super) evident: usize,
    /// Citations that overlap the evidence and hold a gold answer.
    pub(super) holding: usize,
}

impl Cited {
    /// Counts the citations that are where the evidence is.
    fn count(citations: &[Citation], gold: &[GoldChunk], question: &Question) -> Self {
        if gold.is_empty() {
            return Self::default();
        }
        let is_evident = |citation: &&Citation| {
            gold.iter().any(|gold| {
                let (a, b) = (&gold.quote, &citation.span);
                gold.path == citation.document && a.start < b.end && b.start < a.end
            })
        };
        let evident: Vec<&Citation> = citations.iter().filter(is_evident).collect();
        let holding =
            evident.iter().filter(|citation| question.is_answered_in(&citation.quote)).count();
        Self { all: citations.len(), evident: evident.len(), holding }
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
            patterns: Vec::new(),
            evidence: Vec::new(),
            paraphrases: Vec::new(),
            slice: None,
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
        assert_eq!(
            Cited::count(&citations, &gold, &question()),
            Cited { all: 4, evident: 2, holding: 1 }
        );
        assert_eq!(
            Cited::count(&citations, &[], &question()),
            Cited::default(),
            "nothing to hold it against"
        );
    }
}
