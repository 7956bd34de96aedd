//! Which pairs of question and passage each step holds, and the negatives beside them.

use std::collections::HashMap;

use super::options::EmbedderOptions;
use super::question::TrainingQuestion;
use crate::encoder::contrast::Matches;
use crate::training::packing::shuffled;

/// Questions and passages of one step, by their places in the lists of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) questions: Vec<usize>,
    /// Each once.
    pub(super) passages: Vec<usize>,
    pub(super) matches: Matches,
}

/// The steps of an epoch: every pair once, in an order drawn from (seed, epoch).
pub(super) fn batches(
    questions: &[TrainingQuestion],
    options: &EmbedderOptions,
    epoch: usize,
) -> Vec<Batch> {
    let pairs: Vec<(usize, usize)> = questions
        .iter()
        .enumerate()
        .flat_map(|(at, question)| question.positives.iter().map(move |passage| (at, *passage)))
        .collect();
    let order = shuffled(pairs.len(), options.seed, epoch);
    let steps = order.chunks(options.batch);
    steps
        .map(|step| batch(questions, step.iter().map(|pair| pairs[*pair]), options, epoch))
        .collect()
}

fn batch(
    all: &[TrainingQuestion],
    pairs: impl Iterator<Item = (usize, usize)>,
    options: &EmbedderOptions,
    epoch: usize,
) -> Batch {
    let mut batch = Batch::default();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for (at, passage) in pairs {
        let question = &all[at];
        batch.questions.push(at);
        batch.matches.positives.push(place(&mut places, &mut batch.passages, passage));
        // Drawn for the question alone, so that it does not matter who comes along.
        let seed = options.seed ^ (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for drawn in
            shuffled(question.negatives.len(), seed, epoch).into_iter().take(options.negatives)
        {
            place(&mut places, &mut batch.passages, question.negatives[drawn]);
        }
    }
    for (at, positive) in batch.questions.iter().zip(&batch.matches.positives) {
        let answers = all[*at].positives.iter().filter_map(|passage| places.get(passage).copied());
        let mut also: Vec<usize> = answers.filter(|place| place != positive).collect();
        also.sort_unstable();
        batch.matches.also.push(also);
    }
    batch
}

/// Where a passage stands in the step; it is added when it is new.
fn place(places: &mut HashMap<usize, usize>, passages: &mut Vec<usize>, passage: usize) -> usize {
    *places.entry(passage).or_insert_with(|| {
        passages.push(passage);
        passages.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Vec<TrainingQuestion> {
        let question = |positives: &[usize], negatives: &[usize]| TrainingQuestion {
            text: String::new(),
            positives: positives.to_vec(),
            negatives: negatives.to_vec(),
        };
        vec![
            question(&[0, 1], &[4, 5, 6]),
            question(&[2], &[1, 4]),
            question(&[0], &[]),
            question(&[3], &[2]),
        ]
    }

    #[test]
    fn an_epoch_holds_every_pair_once_and_a_passage_of_a_step_once() {
        let options = EmbedderOptions { batch: 3, negatives: 2, ..EmbedderOptions::default() };
        let questions = questions();
        for epoch in 0..5 {
            let steps = batches(&questions, &options, epoch);
            assert_eq!(steps.iter().map(|step| step.questions.len()).collect::<Vec<_>>(), [3, 2]);
            let mut pairs: Vec<(usize, usize)> = Vec::new();
            for step in &steps {
                let positives = step.matches.positives.iter().map(|place| step.passages[*place]);
                pairs.extend(step.questions.iter().copied().zip(positives));
                let mut passages = step.passages.clone();
                passages.sort_unstable();
                passages.dedup();
                assert_eq!(passages.len(), step.passages.len());
            }
            pairs.sort_unstable();
            assert_eq!(pairs, [(0, 0), (0, 1), (1, 2), (2, 0), (3, 3)]);
        }
    }

    #[test]
    fn no_passage_that_answers_a_question_is_its_negative() {
        let questions = questions();
        let options = EmbedderOptions { batch: 5, negatives: 3, ..EmbedderOptions::default() };
        let [step] = &batches(&questions, &options, 0)[..] else { panic!("one step") };
        for ((at, positive), also) in
            step.questions.iter().zip(&step.matches.positives).zip(&step.matches.also)
        {
            for (place, passage) in step.passages.iter().enumerate() {
                let answers = questions[*at].positives.contains(passage);
                assert_eq!(answers, place == *positive || also.contains(&place), "{at} {passage}");
            }
        }
    }

    #[test]
    fn order_and_negatives_follow_from_the_seed_and_change_from_epoch_to_epoch() {
        let questions: Vec<TrainingQuestion> = (0..40)
            .map(|at| TrainingQuestion {
                positives: vec![at],
                negatives: (40..90).collect(),
                ..TrainingQuestion::default()
            })
            .collect();
        let options = EmbedderOptions { batch: 8, ..EmbedderOptions::default() };
        let steps =
            |seed, epoch| batches(&questions, &EmbedderOptions { seed, ..options.clone() }, epoch);
        assert_eq!(steps(1, 0), steps(1, 0));
        assert_ne!(steps(1, 0), steps(1, 1));
        assert_ne!(steps(1, 0), steps(2, 0));
    }
}
