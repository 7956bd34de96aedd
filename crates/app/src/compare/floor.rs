//! What the training answers alone would score: the floor that no arm may miss.

use std::collections::HashMap;

use eval::{Arm, Trial, grade, lenient};

use super::trials::GroundedSplit;
use crate::ask::shots::Shots;
use crate::questions::{Question, QuestionSet};

/// Trials of the two baselines, which need no model, no tokens and no time; none where there are no
/// training questions.
pub(super) fn floor_trials(
    set: &QuestionSet,
    asked: &GroundedSplit<'_>,
    shots: &Shots,
) -> Vec<Trial> {
    let answers = set.train.iter().map(|question| question.completion.as_str());
    let Some(frequent) = most_frequent(answers) else { return Vec::new() };
    let mut trials = Vec::new();
    for (question, grounded) in asked.questions.iter().zip(&asked.grounded) {
        trials.push(trial(set, question, Arm::MostFrequent, frequent));
        if let Some(nearest) = shots.nearest(&grounded.vector, 1).first() {
            trials.push(trial(set, question, Arm::NearestAnswer, &nearest.answer));
        }
    }
    trials
}

fn trial(set: &QuestionSet, question: &Question, arm: Arm, answer: &str) -> Trial {
    let score = grade(set.config.measure, answer, &question.answers);
    Trial {
        qid: question.id.clone(),
        cluster: question.cluster().to_owned(),
        score: score.is_finite().then_some(score),
        lenient: lenient(answer, &question.answers),
        answer: answer.to_owned(),
        ..Trial::new(arm)
    }
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
