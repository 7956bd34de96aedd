//! Keeping every row within reach.

use super::graph::{EF_CONSTRUCTION, Graph, NONE};
use super::walk::{Walk, Walker};
use crate::derived::vectors::rows::Rows;

/// A link that is given up may have been another row's only one, so it is looked again, this often
/// at most.
const ROUNDS: usize = 4;

impl Graph {
    /// Links rows that no walk from the entry could come to from rows that it comes to.
    pub(in crate::derived::vectors) fn reach_all(&mut self, rows: &Rows) {
        for _ in 0..ROUNDS {
            if !self.reach_once(rows) {
                break;
            }
        }
    }

    /// False when all rows could be reached already.
    fn reach_once(&mut self, rows: &Rows) -> bool {
        let mut reached = vec![false; self.len()];
        if reached.is_empty() {
            return false;
        }
        self.copies.pairs().for_each(|(_, copy)| reached[copy as usize] = true);
        self.spread(self.entry(), &mut reached);
        let mut walker = Walker::default();
        let mut changed = false;
        for row in 0..self.len() as u32 {
            if reached[row as usize] {
                continue;
            }
            let code = rows.code_of(row as usize);
            let from = walker.score(rows, &code, &[self.entry()]);
            let ground = &mut self.layers[0];
            let near = walker
                .walk(ground, rows, &code, &from, Walk::to_nearest(EF_CONSTRUCTION))
                .unwrap_or_default();
            let with_room =
                near.iter().find(|near| ground.links(near.row).len() < ground.max_links);
            if let Some(near) = with_room.or(near.first()) {
                let place = ground.place(near.row);
                let links = &mut ground.links[place * ground.max_links..][..ground.max_links];
                // The last link of a full list is worth least.
                let at = links.iter().position(|&link| link == NONE).unwrap_or(links.len() - 1);
                links[at] = row;
                changed = true;
                self.spread(row, &mut reached);
            }
        }
        changed
    }

    /// Marks all rows of the ground that can be reached from `row`.
    fn spread(&self, row: u32, reached: &mut [bool]) {
        let mut open = vec![row];
        reached[row as usize] = true;
        while let Some(row) = open.pop() {
            for &next in self.layers[0].links(row) {
                if !std::mem::replace(&mut reached[next as usize], true) {
                    open.push(next);
                }
            }
        }
    }
}
