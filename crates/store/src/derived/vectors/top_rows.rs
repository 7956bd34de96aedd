//! The best few of many rows.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A row and its cosine. The larger is the better one; of equal ones that with the lower number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub(super) cosine: f32,
    pub(super) row: u32,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cosine.total_cmp(&other.cosine).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored {}

/// Keeps the `count` best of what it is offered.
pub(super) struct TopRows {
    count: usize,
    heap: BinaryHeap<Reverse<Scored>>,
}

impl TopRows {
    pub(super) fn new(count: usize) -> Self {
        TopRows { count, heap: BinaryHeap::new() }
    }

    /// Whether one with this cosine would be kept.
    #[inline]
    pub(super) fn takes(&self, cosine: f32) -> bool {
        self.heap.len() < self.count
            || self.heap.peek().is_some_and(|worst| cosine > worst.0.cosine)
    }

    /// Keeps one that [`TopRows::takes`].
    pub(super) fn put(&mut self, scored: Scored) {
        self.heap.push(Reverse(scored));
        if self.heap.len() > self.count {
            self.heap.pop();
        }
    }

    /// Best first.
    pub(super) fn sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(scored)| scored).collect()
    }
}
