//! Vectors of passages by an embedder that is not the one in the index.

use lm::Encoder;

use super::event::EmbedderEvent;
use super::lessons::{EmbedderLessons, JudgedQuestion};
use crate::error::Result;
use crate::progress::Progress;

/// Passages embedded at a time.
const BATCH: usize = 128;

/// Vectors of the passages of a pool.
pub(super) struct PassageVectors {
    /// Places of the passages in [`EmbedderLessons::passages`], ascending.
    pool: Vec<usize>,
    /// `[pool, dim]`.
    vectors: Vec<f32>,
    dim: usize,
}

impl PassageVectors {
    /// Embeds the passages at the places of `pool`.
    ///
    /// # Errors
    /// The encoder's own; [`crate::Error::Interrupted`].
    pub(super) fn embed(
        encoder: &Encoder,
        lessons: &EmbedderLessons,
        pool: &[usize],
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<Self> {
        let dim = encoder.dim();
        let mut vectors = Vec::with_capacity(pool.len() * dim);
        for batch in pool.chunks(BATCH) {
            progress.check()?;
            let texts: Vec<&str> =
                batch.iter().map(|place| lessons.passages[*place].as_str()).collect();
            vectors.extend(encoder.embed(&texts)?.into_iter().flatten());
            let done = vectors.len() / dim;
            progress.report(EmbedderEvent::Embedding { done, passages: pool.len() });
        }
        Ok(Self { pool: pool.to_vec(), vectors, dim })
    }

    /// The vectors of the untuned embedder, where all are known.
    pub(super) fn stored(lessons: &EmbedderLessons, pool: &[usize]) -> Option<Self> {
        let dim = lessons.vectors.first().map(Vec::len).filter(|dim| *dim > 0)?;
        let vectors =
            pool.iter().map(|place| lessons.vectors.get(*place).filter(|row| row.len() == dim));
        let vectors: Vec<&Vec<f32>> = vectors.collect::<Option<_>>()?;
        Some(Self {
            pool: pool.to_vec(),
            vectors: vectors.into_iter().flatten().copied().collect(),
            dim,
        })
    }

    /// The same for some of its passages, in ascending order.
    pub(super) fn part(&self, pool: &[usize]) -> Self {
        let rows = self.pool.iter().zip(self.vectors.chunks_exact(self.dim));
        let some = rows.filter(|(place, _)| pool.binary_search(place).is_ok());
        let vectors = some.flat_map(|(_, row)| row).copied().collect();
        Self { pool: pool.to_vec(), vectors, dim: self.dim }
    }

    /// The passages nearest to a vector, best first, with their cosines.
    pub(super) fn nearest(&self, vector: &[f32], most: usize) -> Vec<(usize, f32)> {
        let rows = self.vectors.chunks_exact(self.dim);
        let mut scored: Vec<(usize, f32)> =
            self.pool.iter().zip(rows).map(|(place, row)| (*place, dot(vector, row))).collect();
        let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if scored.len() > most {
            scored.select_nth_unstable_by(most, order);
            scored.truncate(most);
        }
        scored.sort_unstable_by(order);
        scored
    }

    /// The cosine of a vector and the passage at `place`; `None` when it is not in the pool.
    pub(super) fn cosine(&self, vector: &[f32], place: usize) -> Option<f32> {
        let at = self.pool.binary_search(&place).ok()?;
        Some(dot(vector, &self.vectors[at * self.dim..][..self.dim]))
    }
}

/// Vectors of questions, in their order.
pub(super) fn embed_questions(
    encoder: &Encoder,
    questions: &[JudgedQuestion],
) -> Result<Vec<Vec<f32>>> {
    let texts: Vec<&str> = questions.iter().map(|question| question.text.as_str()).collect();
    Ok(encoder.embed(&texts)?)
}

/// Inner product in eight partial sums, which the compiler keeps in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
