//! What holds RAG back: each of its errors gets one class and so one remedy.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::evidence::Table;
use crate::stats::PairedTest;
use crate::{Arm, Error, Interval, Name, System, Trial};

/// Why RAG got a question wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The gold evidence was not retrieved, and with it the base model is right.
    Retrieval,
    /// The gold evidence was retrieved, but the base model is right only without the other
    /// passages.
    Distraction,
    /// No arm is right, but the answer of RAG or of the oracle arm contains the gold answer.
    Format,
    /// Wrong even with the gold passage, right for an arm that learnt from pairs.
    Learnable,
    /// No arm is right: beyond this model as it is asked here. Whether a label is wrong, a document is
    /// missing, or a larger model would do, only looking or running one tells.
    Defect,
    /// Can't be told: the oracle arm is missing, or it is right and nobody knows whether evidence
    /// was retrieved.
    Unknown,
}

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Retrieval,
        Self::Distraction,
        Self::Format,
        Self::Learnable,
        Self::Defect,
        Self::Unknown,
    ];

    /// The class as a phrase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrieval => "retrieval-bound",
            Self::Distraction => "distraction-bound",
            Self::Format => "correct, ignoring format",
            Self::Learnable => "reasoning-bound, learnable",
            Self::Defect => "beyond this model",
            Self::Unknown => "unknown",
        }
    }

    /// What helps.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Retrieval => "chunking, keyword weight, reranker, tuned embedder",
            Self::Distraction => "fewer passages, reranking, RAFT",
            Self::Format => "few-shot, constrained output, fine-tuning",
            Self::Learnable => "fine-tuning",
            Self::Defect => "look at labels and documents, then a larger model",
            Self::Unknown => "name the evidence of the questions and run oracle",
        }
    }
}

/// RAG's errors by class, and how much each remedy could gain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attribution {
    /// Questions graded under `rag`.
    pub questions: usize,
    /// Of these, right.
    pub right: usize,
    /// Errors per class, in table order; classes without errors are present with 0.
    pub counts: Vec<(Class, usize)>,
    /// oracle - rag: what perfect retrieval would gain.
    pub retrieval: Option<Interval>,
    /// raft+oracle - oracle: what learning from pairs gains when retrieval is perfect.
    pub learnable: Option<Interval>,
    /// raft - rag: what fine-tuning on passages has gained.
    pub realised: Option<Interval>,
    /// Share of `rag` questions with known evidence for which it was retrieved.
    pub evidence_retrieved: Option<f64>,
}

impl Attribution {
    /// Errors of one class.
    pub fn count(&self, class: Class) -> usize {
        self.counts.iter().find(|(other, _)| *other == class).map_or(0, |(_, count)| *count)
    }

    /// RAG's errors.
    pub fn errors(&self) -> usize {
        self.questions - self.right
    }

    /// What held retrieval back was measured: some question names its evidence, or the oracle arm ran.
    pub fn is_attributed(&self) -> bool {
        self.evidence_retrieved.is_some() || self.retrieval.is_some()
    }

    /// Share of errors in one class; 0 without errors.
    pub fn share(&self, class: Class) -> f64 {
        if self.errors() == 0 { 0.0 } else { self.count(class) as f64 / self.errors() as f64 }
    }
}

/// Classifies every question that `rag` got wrong, and measures the three headrooms, for a project
/// with one model. `None` when `rag` was not run.
///
/// Three refinements of the table:
/// - "Learnable" asks whether any arm that saw the pairs is right where the oracle arm is wrong.
///   The table names `raft+oracle`; the other fine-tuned arms and `few-shot` count as well, since
///   they prove the same.
/// - A question that the oracle arm gets right is "unknown" where it is not recorded what
///   was retrieved.
/// - Without a graded oracle trial, an error is "unknown" too, unless an arm that saw the
///   pairs is right or the lenient score finds the gold answer.
pub fn attribute(trials: &[Trial], test: &PairedTest) -> Result<Option<Attribution>, Error> {
    Ok(of_table(&Table::new(trials)?, None, test))
}

/// Arms that have seen the training pairs, as context or in training.
const LEARNT: [Arm; 5] = [Arm::RaftOracle, Arm::Raft, Arm::Tuned, Arm::TunedRag, Arm::FewShot];

pub(crate) fn of_table(
    table: &Table<'_>,
    model: Option<Name>,
    test: &PairedTest,
) -> Option<Attribution> {
    let at = |arm: Arm| System::Setup { model, arm };
    let rag = table.column(at(Arm::Rag))?;
    let evidence: BTreeMap<&str, bool> = rag
        .trials
        .iter()
        .filter_map(|trial| Some((trial.qid.as_str(), trial.evidence_retrieved?)))
        .collect();
    let near_miss: BTreeSet<&str> = [Arm::Rag, Arm::Oracle]
        .into_iter()
        .filter_map(|arm| table.column(at(arm)))
        .flat_map(|column| {
            column.trials.iter().filter(|trial| trial.lenient).map(|trial| trial.qid.as_str())
        })
        .collect();

    let classify = |qid: &str| {
        let learnt = LEARNT.iter().any(|arm| table.right(at(*arm), qid) == Some(true));
        match (table.right(at(Arm::Oracle), qid), evidence.get(qid)) {
            (Some(true), Some(false)) => Class::Retrieval,
            (Some(true), Some(true)) => Class::Distraction,
            (Some(true), None) => Class::Unknown,
            (_, _) if learnt => Class::Learnable,
            (_, _) if near_miss.contains(qid) => Class::Format,
            (Some(false), _) => Class::Defect,
            (None, _) => Class::Unknown,
        }
    };
    let questions: Vec<&str> = table.questions(at(Arm::Rag)).collect();
    let errors: Vec<Class> = (questions.iter())
        .filter(|qid| table.right(at(Arm::Rag), qid) == Some(false))
        .map(|qid| classify(qid))
        .collect();
    let known: Vec<bool> = questions.iter().filter_map(|qid| evidence.get(qid).copied()).collect();
    Some(Attribution {
        questions: questions.len(),
        right: questions.len() - errors.len(),
        counts: Class::ALL
            .map(|class| (class, errors.iter().filter(|c| **c == class).count()))
            .to_vec(),
        retrieval: table.difference(at(Arm::Oracle), at(Arm::Rag), test),
        learnable: table.difference(at(Arm::RaftOracle), at(Arm::Oracle), test),
        realised: table.difference(at(Arm::Raft), at(Arm::Rag), test),
        evidence_retrieved: (!known.is_empty())
            .then(|| known.iter().filter(|found| **found).count() as f64 / known.len() as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One question under several arms; evidence and lenient flag belong to `rag`.
    fn question(
        qid: &str,
        evidence: Option<bool>,
        lenient: bool,
        right: &[(Arm, bool)],
    ) -> Vec<Trial> {
        let of = |(arm, right): &(Arm, bool)| Trial {
            qid: qid.into(),
            cluster: qid.into(),
            score: Some(f64::from(u8::from(*right))),
            lenient: lenient && *arm == Arm::Rag,
            evidence_retrieved: evidence.filter(|_| *arm == Arm::Rag),
            ..Trial::new(*arm)
        };
        right.iter().map(of).collect()
    }

    #[test]
    fn the_table_row_by_row() {
        use Arm::{FewShot, Oracle, RaftOracle, Rag};
        let (yes, no) = (Some(true), Some(false));
        let rows: [(Class, Vec<Trial>); 9] = [
            (Class::Retrieval, question("1", no, false, &[(Rag, false), (Oracle, true)])),
            (Class::Distraction, question("2", yes, false, &[(Rag, false), (Oracle, true)])),
            (Class::Format, question("3", yes, true, &[(Rag, false), (Oracle, false)])),
            (
                Class::Learnable,
                question("4", no, false, &[(Rag, false), (Oracle, false), (RaftOracle, true)]),
            ),
            // Right after learning outweighs a near miss: the table calls format-bound what no arm
            // gets right.
            (
                Class::Learnable,
                question("5", yes, true, &[(Rag, false), (Oracle, false), (RaftOracle, true)]),
            ),
            (
                Class::Learnable,
                question("6", yes, false, &[(Rag, false), (Oracle, false), (FewShot, true)]),
            ),
            (
                Class::Defect,
                question("7", yes, false, &[(Rag, false), (Oracle, false), (RaftOracle, false)]),
            ),
            (Class::Unknown, question("8", None, false, &[(Rag, false), (Oracle, true)])),
            (Class::Unknown, question("9", yes, false, &[(Rag, false)])),
        ];
        for (class, trials) in &rows {
            let found = attribute(trials, &PairedTest::default()).unwrap().unwrap();
            assert_eq!(found.count(*class), 1, "{class:?}: {found:?}");
            assert_eq!((found.errors(), found.share(*class)), (1, 1.0));
        }
        let all: Vec<Trial> = rows.into_iter().flat_map(|(_, trials)| trials).collect();
        let all: Vec<Trial> =
            all.into_iter().chain(question("0", yes, true, &[(Rag, true)])).collect();
        let found = attribute(&all, &PairedTest::default()).unwrap().unwrap();
        assert_eq!((found.questions, found.right, found.errors()), (10, 1, 9));
        assert_eq!(found.counts.iter().map(|(_, count)| count).sum::<usize>(), 9);
        assert_eq!(found.evidence_retrieved, Some(7.0 / 9.0));
    }

    #[test]
    fn without_rag_there_is_nothing_to_attribute() {
        let trials = question("1", None, false, &[(Arm::Base, false)]);
        assert_eq!(attribute(&trials, &PairedTest::default()).unwrap(), None);
    }
}
