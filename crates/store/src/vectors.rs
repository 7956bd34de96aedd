//! The vector table: every chunk's vector in one stretch of memory, compared one by one.
//!
//! Exact, and fast enough for some hundred thousand chunks: it reads memory once, in order.

use crate::ChunkId;

/// Lanes that are added up apart, so that the compiler can use vector registers of any width.
const LANES: usize = 16;

/// All vectors, by rising chunk number.
#[derive(Debug)]
pub(crate) struct Vectors {
    dimension: usize,
    chunks: Vec<ChunkId>,
    /// `chunks.len() * dimension` numbers; every vector has unit length.
    numbers: Vec<f32>,
}

impl Vectors {
    pub(crate) fn new(dimension: usize) -> Self {
        Vectors { dimension, chunks: Vec::new(), numbers: Vec::new() }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of the last chunk, as chunks are added by rising number.
    pub(crate) fn last(&self) -> ChunkId {
        self.chunks.last().copied().unwrap_or(ChunkId(0))
    }

    /// Adds a chunk's vector from its little-endian bytes; false when they are not `dimension` numbers.
    pub(crate) fn push(&mut self, chunk: ChunkId, bytes: &[u8]) -> bool {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if numbers.len() != self.dimension || !rest.is_empty() {
            return false;
        }
        self.chunks.push(chunk);
        self.numbers.extend(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        true
    }

    /// Keeps only the chunks for which `keep` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(ChunkId) -> bool) {
        let dimension = self.dimension;
        let mut kept = 0;
        for at in 0..self.chunks.len() {
            if keep(self.chunks[at]) {
                self.chunks[kept] = self.chunks[at];
                self.numbers.copy_within(at * dimension..(at + 1) * dimension, kept * dimension);
                kept += 1;
            }
        }
        self.chunks.truncate(kept);
        self.numbers.truncate(kept * dimension);
    }

    /// The `count` chunks that `keep` holds for whose vectors have the largest cosine with `query` (of unit length), best first.
    pub(crate) fn nearest_where(
        &self,
        query: &[f32],
        count: usize,
        keep: impl Fn(ChunkId) -> bool,
    ) -> Vec<(ChunkId, f32)> {
        if self.dimension == 0 {
            return Vec::new();
        }
        let rows = self.numbers.chunks_exact(self.dimension);
        let kept = self.chunks.iter().zip(rows).filter(|(chunk, _)| keep(**chunk));
        let scored = kept.map(|(&chunk, row)| (chunk, dot(query, row))).collect();
        best(scored, count)
    }

    /// The cosine of one chunk's vector with `query`.
    pub(crate) fn cosine(&self, query: &[f32], chunk: ChunkId) -> Option<f32> {
        let at = self.chunks.binary_search(&chunk).ok()?;
        Some(dot(query, &self.numbers[at * self.dimension..(at + 1) * self.dimension]))
    }
}

/// The `count` best of a list, best first; equal scores by rising chunk number.
pub(crate) fn best(mut scored: Vec<(ChunkId, f32)>, count: usize) -> Vec<(ChunkId, f32)> {
    let order = |a: &(ChunkId, f32), b: &(ChunkId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count == 0 {
        return Vec::new();
    }
    if scored.len() > count {
        scored.select_nth_unstable_by(count - 1, order);
        scored.truncate(count);
    }
    scored.sort_unstable_by(order);
    scored
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `vector` scaled to unit length; unchanged when it already has it, or has none.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = dot(&vector, &vector).sqrt();
    if norm > 0.0 && (norm - 1.0).abs() > 1e-4 {
        vector.iter_mut().for_each(|number| *number /= norm);
    }
    vector
}

/// Little-endian bytes of a vector.
pub(crate) fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_equals_a_sort_of_all() {
        let mut vectors = Vectors::new(19);
        let mut rows = Vec::new();
        for chunk in 1..200i64 {
            let row: Vec<f32> = (0..19).map(|i| ((chunk * 37 + i * 11) % 23) as f32 - 11.0).collect();
            assert!(vectors.push(ChunkId(chunk), &bytes(&row)));
            rows.push((ChunkId(chunk), row));
        }
        let query: Vec<f32> = (0..19).map(|i| (i as f32).sin()).collect();
        let mut expected: Vec<(ChunkId, f32)> = rows
            .iter()
            .map(|(chunk, row)| (*chunk, row.iter().zip(&query).map(|(a, b)| a * b).sum()))
            .collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let found = vectors.nearest_where(&query, 10, |_| true);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found.1 - expected.1).abs() < 1e-3);
        }
        assert_eq!(found.len(), 10);
        vectors.retain(|chunk| chunk.0 % 2 == 0);
        assert_eq!(vectors.nearest_where(&query, 1000, |_| true).len(), 99);
        assert!(vectors.cosine(&query, ChunkId(3)).is_none());
        assert!((vectors.cosine(&query, ChunkId(4)).unwrap() - dot(&rows[3].1, &query)).abs() < 1e-6);
    }

    #[test]
    fn equal_scores_are_ordered_by_chunk() {
        let scored = (1..=9).rev().map(|chunk| (ChunkId(chunk), 0.5)).collect();
        assert_eq!(best(scored, 3), [(ChunkId(1), 0.5), (ChunkId(2), 0.5), (ChunkId(3), 0.5)]);
    }
}
