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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use lm::Precision;

    use super::*;
    use crate::embedder::Asked;

    #[test]
    fn negatives_look_right_but_not_as_right_as_what_answers() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let encoder = Encoder::open_with(&model, Precision::F32).unwrap();
        let words = ["alpha", "beta", "gamma", "delta", "word", "words"];
        let passages: Vec<String> =
            (0..60).map(|at| format!("{} {} text {at}", words[at % 6], words[at % 5])).collect();
        let asked = Asked {
            text: "alpha beta text 7".to_owned(),
            gold: vec![7, 31],
            beside: vec![8],
            by_words: vec![(7, 9.0), (8, 8.0), (40, 7.0), (41, 6.0)],
            ..Asked::default()
        };
        let lessons = Lessons { passages, train: vec![asked.clone()], ..Lessons::default() };
        let pool: Vec<usize> = (0..60).collect();
        let table = Table::new(&encoder, &lessons, &pool, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let found = with_negatives(&encoder, &lessons, &table).unwrap().remove(0);
        assert_eq!(found.positives, asked.gold);
        assert!(!found.negatives.is_empty() && found.negatives.len() <= 2 * EACH);
        let vector = encoder.embed(&[&asked.text]).unwrap().remove(0);
        let cosine = |place: usize| table.cosine(&vector, place).unwrap();
        let lowest = cosine(7).min(cosine(31));
        for negative in &found.negatives {
            assert!(![7, 8, 31].contains(negative));
            assert!(cosine(*negative) <= MOST * lowest, "{negative}: {} {lowest}", cosine(*negative));
        }
        let mut once = found.negatives.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), found.negatives.len());
    }
}
