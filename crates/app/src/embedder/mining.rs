//! Hard negatives: passages that look as if they answered a question and do not.
//!
//! They are taken from the top of two lists, the untuned embedder's and BM25's. A passage that is nearly as near to
//! the question as one known to answer it is likely to answer it too, only nobody has said so; such are passed over (positive-aware
//! mining, de Souza Pereira Moreira et al. 2024, "NV-Retriever").
//!
//! Passages that answer dev or test questions are candidates like any others: leaving them out would tell which they are.

use lm::{Encoder, TrainingQuestion};

use super::Lessons;
use super::measure::{DEPTH, Table, embed_questions};
use crate::error::Result;

/// A negative's cosine is at most this share of the lowest one of the passages that answer.
const MOST: f32 = 0.95;

/// Negatives taken from each list, at most. Which of them come into a step is drawn anew in each epoch.
const EACH: usize = 10;

/// The training questions with their negatives.
pub(super) fn with_negatives(
    encoder: &Encoder,
    lessons: &Lessons,
    table: &Table,
) -> Result<Vec<TrainingQuestion>> {
    let vectors = embed_questions(encoder, &lessons.train)?;
    let mine = |(asked, vector): (&super::Asked, Vec<f32>)| {
        let answers = asked.gold.iter().filter_map(|gold| table.cosine(&vector, *gold));
        let lowest = answers.fold(f32::INFINITY, f32::min);
        let tells = |place: &usize| {
            !asked.gold.contains(place)
                && !asked.beside.contains(place)
                && table.cosine(&vector, *place).is_some_and(|cosine| cosine <= MOST * lowest)
        };
        let by_meaning = table.nearest(&vector, DEPTH);
        let mut negatives: Vec<usize> = Vec::new();
        for list in [&by_meaning, &asked.by_words] {
            let found = list.iter().map(|(place, _)| *place).filter(|place| tells(place));
            let fresh: Vec<usize> = found.take(EACH).filter(|place| !negatives.contains(place)).collect();
            negatives.extend(fresh);
        }
        TrainingQuestion { text: asked.text.clone(), positives: asked.gold.clone(), negatives }
    };
    Ok(lessons.train.iter().zip(vectors).map(mine).collect())
}
