//! Walking from node to node towards a query.

use std::collections::BinaryHeap;

use super::graph::{Graph, Layer};
use crate::derived::vectors::rows::{Code, Keep, Rows};
use crate::derived::vectors::top_rows::{Scored, TopRows};

/// What a walk looks for, and when it gives up.
#[derive(Clone, Copy)]
pub(in crate::derived::vectors) struct Walk<'a> {
    /// Nearest nodes that are collected: ef in the paper.
    pub(in crate::derived::vectors) ef: usize,
    /// Rows that may be collected. The others are walked through all the same.
    pub(in crate::derived::vectors) keep: Keep<'a>,
    /// Rows that may be looked at.
    pub(in crate::derived::vectors) max_visits: usize,
}

impl Walk<'_> {
    /// To the `ef` nearest of all rows, however many have to be looked at.
    pub(in crate::derived::vectors) fn to_nearest(ef: usize) -> Self {
        Walk { ef, keep: None, max_visits: usize::MAX }
    }
}

impl Graph {
    /// The `walk.ef` rows that are about the nearest to `code` among those to keep, best first.
    /// `None` when more than `walk.max_visits` rows would have to be looked at.
    pub(in crate::derived::vectors) fn nearest(
        &self,
        rows: &Rows,
        code: &Code,
        walk: Walk<'_>,
    ) -> Option<Vec<Scored>> {
        let mut walker = Walker::default();
        let from = walker.descend(self, rows, code, 1)?;
        let any = walk.keep.map(|keep| {
            move |row: usize| self.copies.with(row as u32).any(|row| keep(row as usize))
        });
        let of_nodes = Walk { keep: any.as_ref().map(|any| any as _), ..walk };
        let found = walker.walk(&self.layers[0], rows, code, &from, of_nodes)?;
        if self.copies.is_empty() {
            return Some(found);
        }
        let all = found.iter().flat_map(|found| {
            self.copies.with(found.row).map(|row| Scored { cosine: found.cosine, row })
        });
        let mut all: Vec<Scored> =
            all.filter(|one| walk.keep.is_none_or(|keep| keep(one.row as usize))).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(walk.ef);
        Some(all)
    }
}

/// What a walk needs, kept for the next one.
#[derive(Default)]
pub(super) struct Walker {
    /// A bit for each row that was looked at.
    seen: Vec<u64>,
    /// Which of those numbers are not zero.
    touched: Vec<u32>,
    /// Rows whose links are still to be followed.
    open: BinaryHeap<Scored>,
    fresh: Vec<u32>,
    dots: Vec<i32>,
    cosines: Vec<f32>,
    /// Of rows that are compared with each other.
    pub(super) codes: Vec<Code>,
}

impl Walker {
    /// From the entry down to the layer `to`, on each layer above it to the nearest node. `None` in
    /// an empty graph.
    pub(super) fn descend(
        &mut self,
        graph: &Graph,
        rows: &Rows,
        code: &Code,
        to: usize,
    ) -> Option<Vec<Scored>> {
        if graph.len() == 0 {
            return None;
        }
        let mut from = self.score(rows, code, &[graph.entry()]);
        for layer in graph.layers.iter().skip(to).rev() {
            from = self.walk(layer, rows, code, &from, Walk::to_nearest(1))?;
        }
        Some(from)
    }

    /// The `walk.ef` nodes of a layer that are the nearest to `code`, as far as a walk from `from`
    /// finds them, best first (algorithm 2 of the paper). It ends when the nearest row whose links
    /// were not followed yet is further away than all that were collected. `None` when more than
    /// `walk.max_visits` rows would have to be looked at.
    pub(super) fn walk(
        &mut self,
        layer: &Layer,
        rows: &Rows,
        code: &Code,
        from: &[Scored],
        walk: Walk<'_>,
    ) -> Option<Vec<Scored>> {
        self.touched.drain(..).for_each(|at| self.seen[at as usize] = 0);
        self.seen.resize(rows.len().div_ceil(64), 0);
        self.open.clear();
        let mut best = TopRows::new(walk.ef);
        let keeps = |row: u32| walk.keep.is_none_or(|keep| keep(row as usize));
        for &scored in from {
            self.is_new(scored.row);
            self.open.push(scored);
            if keeps(scored.row) {
                best.put(scored);
            }
        }
        let mut visited = from.len();
        while let Some(nearest) = self.open.pop() {
            if !best.takes(nearest.cosine) {
                break;
            }
            let mut fresh = std::mem::take(&mut self.fresh);
            fresh.clear();
            fresh.extend(layer.links(nearest.row).iter().filter(|&&row| self.is_new(row)));
            visited += fresh.len();
            if visited > walk.max_visits {
                return None;
            }
            rows.cosines_of(code, &fresh, &mut self.dots, &mut self.cosines);
            for (&row, &cosine) in fresh.iter().zip(&self.cosines) {
                if best.takes(cosine) {
                    layer.prefetch(row);
                    self.open.push(Scored { cosine, row });
                    if keeps(row) {
                        best.put(Scored { cosine, row });
                    }
                }
            }
            self.fresh = fresh;
        }
        Some(best.sorted())
    }

    /// Cosines of some rows, in order.
    pub(super) fn score(&mut self, rows: &Rows, code: &Code, which: &[u32]) -> Vec<Scored> {
        rows.cosines_of(code, which, &mut self.dots, &mut self.cosines);
        which.iter().zip(&self.cosines).map(|(&row, &cosine)| Scored { cosine, row }).collect()
    }

    /// Marks a row as looked at; false when it was before.
    fn is_new(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        let before = self.seen[word];
        if before == 0 {
            self.touched.push(word as u32);
        }
        self.seen[word] = before | bit;
        before & bit == 0
    }
}
