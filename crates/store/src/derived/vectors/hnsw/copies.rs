//! Rows with the same vector.

use std::collections::BTreeMap;

/// For each row that has copies, these by rising number. A row comes before its copies, and no copy
/// is a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Copies(BTreeMap<u32, Vec<u32>>);

impl Copies {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A row and its copies.
    pub(super) fn with(&self, row: u32) -> impl Iterator<Item = u32> {
        std::iter::once(row).chain(self.0.get(&row).into_iter().flatten().copied())
    }

    /// Adds a copy; copies come by rising number.
    pub(super) fn add(&mut self, row: u32, copy: u32) {
        self.0.entry(row).or_default().push(copy);
    }

    /// Every copy after the row it is one of.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().flat_map(|(&row, copies)| copies.iter().map(move |&copy| (row, copy)))
    }

    pub(super) fn from_pairs(pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut copies = Copies::default();
        pairs.for_each(|(row, copy)| copies.add(row, copy));
        copies
    }

    /// Takes out dead rows. Where one has a living copy, the first of these takes its place: the
    /// pairs that come back.
    pub(super) fn remove(&mut self, dead: &[bool]) -> Vec<(u32, u32)> {
        let mut heirs = Vec::new();
        let mut left = Copies::default();
        for row in self.0.keys().copied() {
            let mut alive = self.with(row).filter(|&row| !dead[row as usize]);
            let Some(first) = alive.next() else { continue };
            if first != row {
                heirs.push((row, first));
            }
            alive.for_each(|copy| left.add(first, copy));
        }
        *self = left;
        heirs
    }

    /// Gives every row its new number; these keep the order.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        *self = Self::from_pairs(
            self.pairs().map(|(row, copy)| (numbers[row as usize], numbers[copy as usize])),
        );
    }
}
