//! The best few of many chunks.

use crate::ChunkId;

/// Keeps the `count` chunks with the highest scores of those it is offered; of equal ones those
/// with the lower numbers.
pub(crate) struct TopChunks {
    count: usize,
    /// Twice as many as are wanted before the worse half goes: a list of any length costs little
    /// more than a look at each.
    kept: Vec<(ChunkId, f32)>,
    threshold: f32,
}

impl TopChunks {
    pub(crate) fn new(count: usize) -> Self {
        let threshold = if count > 0 { f32::NEG_INFINITY } else { f32::INFINITY };
        TopChunks { count, kept: Vec::new(), threshold }
    }

    /// What has a lower score is not kept.
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    #[inline]
    pub(crate) fn offer(&mut self, chunk: ChunkId, score: f32) {
        if score < self.threshold {
            return;
        }
        self.kept.push((chunk, score));
        if self.kept.len() >= self.count.saturating_mul(2) {
            self.prune();
        }
    }

    /// Drops all but the best, and raises the threshold to the last of them.
    pub(crate) fn prune(&mut self) {
        if (1..=self.kept.len()).contains(&self.count) {
            let (_, last, _) = self.kept.select_nth_unstable_by(self.count - 1, order);
            self.threshold = last.1;
            self.kept.truncate(self.count);
        }
    }

    /// Best first.
    pub(crate) fn sorted(mut self) -> Vec<(ChunkId, f32)> {
        self.kept.sort_unstable_by(order);
        self.kept.truncate(self.count);
        self.kept
    }
}

fn order(a: &(ChunkId, f32), b: &(ChunkId, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The `count` best of a list, best first; equal scores by rising chunk number.
pub(crate) fn top_chunks(
    scored: impl IntoIterator<Item = (ChunkId, f32)>,
    count: usize,
) -> Vec<(ChunkId, f32)> {
    let mut best = TopChunks::new(count);
    scored.into_iter().for_each(|(chunk, score)| best.offer(chunk, score));
    best.sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_ordered_by_chunk() {
        let scored = (1..=9).rev().map(|chunk| (ChunkId(chunk), 0.5));
        assert_eq!(
            top_chunks(scored, 3),
            [(ChunkId(1), 0.5), (ChunkId(2), 0.5), (ChunkId(3), 0.5)]
        );
        assert_eq!(top_chunks([(ChunkId(1), 0.5)], 0), []);
    }

    #[test]
    fn the_threshold_is_what_the_last_has() {
        let mut best = TopChunks::new(2);
        best.offer(ChunkId(1), 3.0);
        best.prune();
        assert_eq!(best.threshold(), f32::NEG_INFINITY);
        best.offer(ChunkId(2), 1.0);
        best.offer(ChunkId(3), 2.0);
        best.prune();
        assert_eq!(best.threshold(), 2.0);
        best.offer(ChunkId(4), 1.5);
        assert_eq!(best.sorted(), [(ChunkId(1), 3.0), (ChunkId(3), 2.0)]);
    }
}
