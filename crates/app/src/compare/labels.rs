//! A label task by label, arm by arm.

use std::collections::HashMap;

use eval::{Arm, LabelAnswer, LabelFigures, Measure, Trial, label_figures};
use serde::{Deserialize, Serialize};

use crate::questions::{Question, QuestionSet};

/// How an arm did on a label task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmLabels {
    /// The arm.
    pub arm: Arm,
    /// By label.
    pub figures: LabelFigures,
}

/// The figures of each of these arms; none for a set with another measure.
pub(super) fn label_tables(set: &QuestionSet, arms: &[Arm], trials: &[Trial]) -> Vec<ArmLabels> {
    if set.config.measure != Measure::Label {
        return Vec::new();
    }
    let known: Vec<String> =
        set.all().flat_map(|question| question.answers.iter().cloned()).collect();
    let questions: HashMap<&str, &Question> =
        set.test.iter().map(|question| (question.id.as_str(), question)).collect();
    let of_arm = |arm: &Arm| {
        let own = trials.iter().filter(|trial| trial.system.is(*arm) && trial.score.is_some());
        let answers: Vec<LabelAnswer<'_>> = own
            .filter_map(|trial| label_answer(trial, questions.get(trial.qid.as_str())?))
            .collect();
        let figures = label_figures(&answers, &known, arm.needs_adapter(), 0.05)?;
        Some(ArmLabels { arm: *arm, figures })
    };
    arms.iter().filter_map(of_arm).collect()
}

fn label_answer<'a>(trial: &'a Trial, question: &'a Question) -> Option<LabelAnswer<'a>> {
    let accepted = question.patterns.iter().any(|pattern| pattern.accepts(&trial.answer));
    let answer = match (trial.cut, accepted) {
        // What is cut is wrong, whatever label it begins with.
        (true, _) => "",
        (false, true) => question.answers.first()?,
        (false, false) => &trial.answer,
    };
    let (cluster, seed, gold) = (&trial.cluster, trial.seed, &question.answers);
    Some(LabelAnswer { cluster, seed, answer, gold })
}
