//! How rows leave the graph.

use rayon::prelude::*;

use super::insert::select;
use super::{Graph, Layer, NONE, Walker};
use crate::vectors::rows::Rows;

/// Links to gather for a node that has lost some, in multiples of what it may have.
const GATHERED: usize = 4;

impl Graph {
    /// Takes out the rows for which `dead` holds. `rows` still has them; afterwards the graph counts the others from 0 again.
    /// Finish with [`Graph::reach_all`] on the rows that are left.
    pub(in crate::vectors) fn remove(&mut self, rows: &Rows, dead: &[bool]) {
        for layer in &mut self.layers {
            let lists: Vec<(usize, Vec<u32>)> = (0..layer.len())
                .into_par_iter()
                .map_init(Walker::default, |walker, place| mend(walker, layer, rows, dead, place))
                .flatten()
                .collect();
            for (place, links) in lists {
                layer.set_links(place, &links);
            }
        }
        self.renumber(dead);
    }

    fn renumber(&mut self, dead: &[bool]) {
        let mut next = 0;
        let numbers: Vec<u32> = dead
            .iter()
            .map(|&dead| {
                next += u32::from(!dead);
                if dead { NONE } else { next - 1 }
            })
            .collect();
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let mut kept = Layer::new(number);
            for place in (0..layer.len()).filter(|&place| !dead[layer.row(place) as usize]) {
                kept.add(numbers[layer.row(place) as usize], number == 0);
                let links: Vec<u32> =
                    layer.links_at(place).iter().map(|&row| numbers[row as usize]).collect();
                kept.set_links(kept.len() - 1, &links);
            }
            *layer = kept;
        }
        self.layers.retain(|layer| layer.len() > 0);
        self.rows = next as usize;
    }
}

/// New links for a living node that points at dead ones: chosen among those it has and those that its dead neighbours had, and
/// theirs where they were dead too. `None` where nothing is to be done.
fn mend(
    walker: &mut Walker,
    layer: &Layer,
    rows: &Rows,
    dead: &[bool],
    place: usize,
) -> Option<(usize, Vec<u32>)> {
    let row = layer.row(place);
    let is_dead = |row: u32| dead[row as usize];
    let old = layer.links_at(place);
    if is_dead(row) || !old.iter().any(|&row| is_dead(row)) {
        return None;
    }
    let mut alive: Vec<u32> = old.iter().copied().filter(|&row| !is_dead(row)).collect();
    let mut gone: Vec<u32> = old.iter().copied().filter(|&row| is_dead(row)).collect();
    let mut at = 0;
    while at < gone.len() && alive.len() < GATHERED * layer.most {
        for &next in layer.links(gone[at]) {
            let list = if is_dead(next) { &mut gone } else { &mut alive };
            if next != row && !list.contains(&next) {
                list.push(next);
            }
        }
        at += 1;
    }
    let near = walker.score(rows, &rows.code_of(row as usize), &alive);
    Some((place, select(walker, rows, row, near, alive.len(), layer.most)))
}
