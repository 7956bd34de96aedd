//! Answers that were cut, malformed or not graded: counted, and said.

use std::collections::BTreeMap;
use std::fmt;

use eval::{Measure, System, Trial};

/// What was wrong with answers of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerProblem {
    /// The system.
    pub system: System,
    /// What was wrong.
    pub problem: String,
    /// Answers it was wrong with.
    pub answers: usize,
    /// Answers of the system.
    pub of: usize,
}

impl fmt::Display for AnswerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, problem, answers, of } = self;
        write!(f, "{system}: {answers} of {of} answers: {problem}")
    }
}

/// The problems of trials, by system.
pub(super) fn problems(trials: &[Trial]) -> Vec<AnswerProblem> {
    let mut answers: BTreeMap<System, usize> = BTreeMap::new();
    let mut counts: BTreeMap<(System, &str), usize> = BTreeMap::new();
    for trial in trials {
        *answers.entry(trial.system).or_default() += 1;
        let cut = trial.cut.then_some("cut at the greatest length, which counts as wrong");
        for problem in trial.problem.as_deref().into_iter().chain(cut) {
            *counts.entry((trial.system, problem)).or_default() += 1;
        }
    }
    let named = |((system, problem), count): ((System, &str), usize)| AnswerProblem {
        system,
        problem: problem.to_owned(),
        answers: count,
        of: answers[&system],
    };
    counts.into_iter().map(named).collect()
}

/// Whether an answer that ended at its greatest length is incomplete where it is graded. Of a label
/// only the first line is read, and one with a line behind it is complete; and an answer that holds
/// what `contains` looks for would hold it however it went on.
pub(super) fn is_cut(measure: Measure, answer: &str, score: Option<f64>) -> bool {
    match measure {
        Measure::Label => !answer.trim_start().contains('\n'),
        Measure::Contains => score != Some(1.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use eval::Arm;

    use super::*;

    #[test]
    fn problems_are_counted_by_arm() {
        let trial = |arm, cut, problem: Option<&str>| Trial {
            cut,
            problem: problem.map(str::to_owned),
            ..Trial::new(arm)
        };
        let trials = [
            trial(Arm::Rag, true, None),
            trial(Arm::Rag, true, Some("not JSON")),
            trial(Arm::Rag, false, None),
            trial(Arm::Base, false, Some("not JSON")),
            trial(Arm::FewShot, false, None),
        ];
        let said: Vec<String> = problems(&trials).iter().map(ToString::to_string).collect();
        let cut = "cut at the greatest length, which counts as wrong";
        assert_eq!(
            said,
            [
                "base: 1 of 1 answers: not JSON".to_owned(),
                format!("rag: 2 of 3 answers: {cut}"),
                "rag: 1 of 3 answers: not JSON".to_owned(),
            ]
        );
    }

    #[test]
    fn what_is_graded_may_be_complete_before_the_cut() {
        assert!(is_cut(Measure::Label, "\ncard_arr", Some(0.0)));
        assert!(!is_cut(Measure::Label, "card_arrival\nBecause the", Some(1.0)));
        assert!(!is_cut(Measure::Contains, "on the pier, which", Some(1.0)));
        assert!(is_cut(Measure::Contains, "it stands where the", Some(0.0)));
        assert!(is_cut(Measure::ExactMatch, "a\nb", Some(1.0)));
    }
}
