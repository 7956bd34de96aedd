//! The training examples nearest to a question, for the few-shot arm.

use lm::Encoder;

use crate::Result;
use crate::prompt::Shot;
use crate::questions::Question;

/// Questions embedded at a time.
const BATCH: usize = 256;

/// Training examples with the vectors of their questions.
#[derive(Default)]
pub struct Shots {
    shots: Vec<Shot>,
    vectors: Vec<Vec<f32>>,
}

impl Shots {
    /// Embeds the questions of `train`.
    pub fn new(encoder: &Encoder, train: &[Question]) -> Result<Self> {
        let mut vectors = Vec::with_capacity(train.len());
        for batch in train.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|question| question.text.as_str()).collect();
            vectors.extend(encoder.embed(&texts)?);
        }
        Ok(Self::with_vectors(train, vectors))
    }

    /// The questions of `train` with their vectors, in the same order.
    pub(crate) fn with_vectors(train: &[Question], vectors: Vec<Vec<f32>>) -> Self {
        let shots = train
            .iter()
            .map(|question| Shot {
                question: question.text.clone(),
                answer: question.completion.clone(),
            })
            .collect();
        Self { shots, vectors }
    }

    /// The `k` examples whose questions are nearest to `vector`, nearest first.
    pub fn nearest(&self, vector: &[f32], k: usize) -> Vec<Shot> {
        let cosine = |other: &[f32]| -> f32 { vector.iter().zip(other).map(|(a, b)| a * b).sum() };
        let mut ranked: Vec<(f32, usize)> =
            self.vectors.iter().enumerate().map(|(index, other)| (cosine(other), index)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.into_iter().take(k).map(|(_, index)| self.shots[index].clone()).collect()
    }
}
