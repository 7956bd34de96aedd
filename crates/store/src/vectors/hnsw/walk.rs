//! Walking from node to node towards a query.

use std::collections::BinaryHeap;

use super::{Graph, Layer};
use crate::vectors::Keep;
use crate::vectors::rows::{Code, Rows};
use crate::vectors::scored::{Best, Scored};

/// What a walk needs, kept for the next one.
#[derive(Default)]
pub(in crate::vectors) struct Walker {
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
            from = self.walk(layer, rows, code, &from, 1, None, usize::MAX)?;
        }
        Some(from)
    }

    /// The `most` nodes of a layer that are the nearest to `code`, as far as a walk from `from`
    /// finds them, best first. Rows that are not to be kept are walked through all the same. `None`
    /// when more than `visits` rows would have to be looked at.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn walk(
        &mut self,
        layer: &Layer,
        rows: &Rows,
        code: &Code,
        from: &[Scored],
        most: usize,
        keep: Keep<'_>,
        visits: usize,
    ) -> Option<Vec<Scored>> {
        self.touched.drain(..).for_each(|at| self.seen[at as usize] = 0);
        self.seen.resize(rows.len().div_ceil(64), 0);
        self.open.clear();
        let mut best = Best::new(most);
        let keeps = |row: u32| keep.is_none_or(|keep| keep(row as usize));
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
            if visited > visits {
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
