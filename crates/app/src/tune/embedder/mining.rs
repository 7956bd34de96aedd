//! Hard negatives: passages that look as if they answered a question and do not.
//!
//! They are taken from the top of two lists, the untuned embedder's and BM25's. A passage that is
//! almost as near to the question as one known to answer it probably answers it too, even if nobody
//! has marked it; such passages are skipped (positive-aware mining, de Souza Pereira Moreira et al.
//! 2024, "NV-Retriever").
//!
//! Passages that answer dev or test questions may become negatives like all others: leaving them
//! out would leak which ones they are.

use lm::{Encoder, TrainingQuestion};

use super::lessons::{DEPTH, EmbedderLessons, JudgedQuestion};
use super::vectors::{PassageVectors, embed_questions};
use crate::error::Result;

/// A negative's cosine is at most this share of the lowest cosine among the passages that answer.
const MOST_OF_POSITIVE: f32 = 0.95;

/// Negatives taken from each list, at most. Every epoch draws anew which of them a step uses.
const FROM_EACH_LIST: usize = 10;

/// The training questions with their negatives.
pub(super) fn with_negatives(
    encoder: &Encoder,
    lessons: &EmbedderLessons,
    table: &PassageVectors,
) -> Result<Vec<TrainingQuestion>> {
    let vectors = embed_questions(encoder, &lessons.train)?;
    let mined = lessons.train.iter().zip(vectors).map(|(asked, vector)| TrainingQuestion {
        text: asked.text.clone(),
        positives: asked.gold.clone(),
        negatives: negatives(asked, &vector, table),
    });
    Ok(mined.collect())
}

/// The negatives of a question whose vector is known.
fn negatives(asked: &JudgedQuestion, vector: &[f32], table: &PassageVectors) -> Vec<usize> {
    let answers = asked.gold.iter().filter_map(|gold| table.cosine(vector, *gold));
    let lowest = answers.fold(f32::INFINITY, f32::min);
    let is_negative = |place: &usize| {
        !asked.gold.contains(place)
            && !asked.beside.contains(place)
            && table
                .cosine(vector, *place)
                .is_some_and(|cosine| cosine <= MOST_OF_POSITIVE * lowest)
    };
    let by_meaning = table.nearest(vector, DEPTH);
    let mut negatives: Vec<usize> = Vec::new();
    for list in [&by_meaning, &asked.by_words] {
        let found = list.iter().map(|(place, _)| *place).filter(|place| is_negative(place));
        let fresh: Vec<usize> =
            found.take(FROM_EACH_LIST).filter(|place| !negatives.contains(place)).collect();
        negatives.extend(fresh);
    }
    negatives
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn negatives_look_right_but_not_as_right_as_what_answers() {
        // Passage `at` lies `at` degrees from the question.
        let at = |degrees: usize| (degrees as f32).to_radians();
        let vectors = (0..60).map(|place| vec![at(place).cos(), at(place).sin()]).collect();
        let lessons = EmbedderLessons { vectors, ..EmbedderLessons::default() };
        let table = PassageVectors::stored(&lessons, &(0..59).collect::<Vec<_>>()).unwrap();
        let asked = JudgedQuestion {
            gold: vec![3, 20],
            beside: vec![30],
            by_words: vec![(3, 9.0), (30, 8.0), (50, 7.0), (10, 6.0), (29, 5.0), (59, 4.0)],
            ..JudgedQuestion::default()
        };
        // Passages nearer than 95 % of the farther answer are skipped: cos 27° is less than
        // .95 cos 20°, cos 26° is not.
        let by_meaning = [27, 28, 29, 31, 32, 33, 34, 35, 36, 37];
        // By words one more, of those whose vectors are known.
        let expected: Vec<usize> = by_meaning.into_iter().chain([50]).collect();
        assert_eq!(negatives(&asked, &[1.0, 0.0], &table), expected);
    }
}
