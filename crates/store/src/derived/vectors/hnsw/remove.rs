//! How rows leave the graph.

use rayon::prelude::*;

use super::graph::{Graph, Layer, NONE};
use super::insert::select;
use super::walk::Walker;
use crate::derived::vectors::pages;
use crate::derived::vectors::rows::Rows;

/// Links to gather for a node that has lost some, in multiples of what it may have.
const GATHERED: usize = 4;

impl Graph {
    /// Takes out the rows for which `dead` holds. They still have their places in `rows`, whatever
    /// stands there, and rows that are not in the graph yet may follow; afterwards the graph counts
    /// the others from 0 again. Finish with [`Graph::reach_all`] on the rows that are left.
    pub(in crate::derived::vectors) fn remove(&mut self, rows: &mut Rows, dead: &[bool]) {
        let dead = &dead[..self.rows];
        let heirs = self.copies.remove(dead);
        // A node whose vector lives on in a copy stays where it is, under the copy's number.
        let mut gone = dead.to_vec();
        for &(row, heir) in &heirs {
            gone[row as usize] = false;
            rows.copy(heir as usize, row as usize);
        }
        for layer in &mut self.layers {
            let lists: Vec<(usize, Vec<u32>)> = (0..layer.len())
                .into_par_iter()
                .map_init(Walker::default, |walker, place| {
                    mend(walker, layer, &*rows, &gone, place)
                })
                .flatten()
                .collect();
            for (place, links) in lists {
                layer.set_links(place, &links);
            }
        }
        let mut next = 0;
        let mut numbers: Vec<u32> = Vec::with_capacity(dead.len());
        for &dead in dead {
            numbers.push(if dead { NONE } else { next });
            next += u32::from(!dead);
        }
        self.copies.renumber(&numbers);
        heirs.iter().for_each(|&(row, heir)| numbers[row as usize] = numbers[heir as usize]);
        self.layers.iter_mut().for_each(|layer| layer.renumber(&numbers, next));
        self.layers.retain(|layer| layer.len() > 0);
        self.rows = next as usize;
    }
}

impl Layer {
    /// Gives every row its new number, of `rows` in all; [`NONE`] takes it out.
    fn renumber(&mut self, numbers: &[u32], rows: u32) {
        let ground = self.nodes.is_empty();
        let mut nodes: Vec<(u32, usize)> = (0..self.len())
            .map(|place| (numbers[self.row(place) as usize], place))
            .filter(|&(row, _)| row != NONE)
            .collect();
        // A copy that takes its original's place has a number out of order.
        nodes.sort_unstable();
        let old = std::mem::take(&mut self.links);
        self.nodes = if ground { Vec::new() } else { nodes.iter().map(|&(row, _)| row).collect() };
        let places = if ground { rows as usize } else { nodes.len() };
        pages::reserve(&mut self.links, places * self.max_links);
        self.links.resize(places * self.max_links, NONE);
        for (at, &(row, place)) in nodes.iter().enumerate() {
            let links = old[place * self.max_links..][..self.max_links]
                .iter()
                .take_while(|&&link| link != NONE);
            let links: Vec<u32> = links.map(|&link| numbers[link as usize]).collect();
            // The copy's own place on the ground is empty.
            if !links.is_empty() {
                self.set_links(if ground { row as usize } else { at }, &links);
            }
        }
    }
}

/// New links for a living node that points at dead ones: chosen among those it has and those that
/// its dead neighbours had, and theirs where they were dead too. `None` where nothing is to be
/// done.
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
    while at < gone.len() && alive.len() < GATHERED * layer.max_links {
        for &next in layer.links(gone[at]) {
            let list = if is_dead(next) { &mut gone } else { &mut alive };
            if next != row && !list.contains(&next) {
                list.push(next);
            }
        }
        at += 1;
    }
    let near = walker.score(rows, &rows.code_of(row as usize), &alive);
    Some((place, select(walker, rows, near, alive.len(), layer.max_links)))
}
