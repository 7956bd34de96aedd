//! What the training answers alone would score: the floor that no arm may miss.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use eval::{Arm, Trial};

use super::trials::{GroundedSplit, TrialRunner};
use crate::ask::shots::Shots;
use crate::error::Result;
use crate::grading::Answered;
use crate::questions::{Question, QuestionSet};

/// Trials of the two baselines, which need no model, no tokens and no time; none where there are no
/// training questions.
pub(super) fn floor_trials(
    set: &QuestionSet,
    asked: &GroundedSplit<'_>,
    shots: &Shots,
    runner: &mut TrialRunner<'_>,
    stop: &AtomicBool,
) -> Result<Vec<Trial>> {
    let answers = set.train.iter().map(|question| question.completion.as_str());
    let Some(frequent) = most_frequent(answers) else { return Ok(Vec::new()) };
    let mut given: Vec<(Arm, &Question, String)> = Vec::new();
    for (question, grounded) in asked.questions.iter().zip(&asked.grounded) {
        given.push((Arm::MostFrequent, question, frequent.to_owned()));
        if let Some(nearest) = shots.nearest(&grounded.vector, 1).pop() {
            given.push((Arm::NearestAnswer, question, nearest.answer));
        }
    }
    let answered: Vec<Answered<'_>> = given
        .iter()
        .map(|(_, question, answer)| Answered { question, answer, documents: &[] })
        .collect();
    let grades = runner.grade(&answered, stop)?;
    let trials = given.into_iter().zip(grades).map(|((arm, question, answer), grade)| Trial {
        qid: question.id.clone(),
        cluster: question.cluster().to_owned(),
        score: grade.score,
        lenient: grade.lenient,
        problem: grade.problem,
        answer,
        ..Trial::new(arm)
    });
    Ok(trials.collect())
}

/// The answer that occurs most often, white space around it left out; of several, the first.
fn most_frequent<'a>(answers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (place, answer) in answers.enumerate() {
        counts.entry(answer.trim()).or_insert((0, place)).0 += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, (count, place))| (*count, usize::MAX - place));
    most.map(|(answer, _)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_answer_and_of_equals_the_first() {
        assert_eq!(most_frequent(["b", "a", "a ", "c"].into_iter()), Some("a"));
        assert_eq!(most_frequent(["b", "a", "c"].into_iter()), Some("b"));
        assert_eq!(most_frequent([].into_iter()), None);
    }
}
