//! How rows join the graph.

use rayon::prelude::*;

use super::{CONSIDERED, Graph, LINKS, Layer, Walker, level, mix};
use crate::ChunkId;
use crate::vectors::best::Scored;
use crate::vectors::rows::Rows;

/// Rows that join at the same time. Each is compared with all others of its batch, which at this size is a fiftieth of the work.
const BATCH: usize = 512;

impl Graph {
    /// Links all rows that the graph does not hold yet. `chunks` are those of all rows.
    pub(in crate::vectors) fn extend(&mut self, rows: &Rows, chunks: &[ChunkId]) {
        let from = self.len();
        while self.len() < rows.len() {
            let batch = self.len()..(self.len() + BATCH).min(rows.len());
            let levels: Vec<usize> = chunks[batch.clone()].iter().map(|&chunk| level(chunk)).collect();
            self.join(rows, batch.start as u32, &levels);
        }
        if self.len() > from {
            self.reach_all(rows);
        }
    }

    /// Links a batch: the rows from `start` on, one for each of `levels`.
    fn join(&mut self, rows: &Rows, start: u32, levels: &[usize]) {
        let chosen: Vec<Vec<Vec<u32>>> = (0..levels.len())
            .into_par_iter()
            .map_init(Walker::default, |walker, member| self.choose(walker, rows, start, levels, member))
            .collect();
        for (row, chosen) in (start..).zip(&chosen) {
            for (number, links) in chosen.iter().enumerate() {
                if number == self.layers.len() {
                    self.layers.push(Layer::new(number));
                }
                let layer = &mut self.layers[number];
                layer.add(row, number == 0);
                layer.set_links(layer.len() - 1, links);
            }
        }
        self.rows += levels.len();
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let pairs = (start..).zip(&chosen).filter_map(|(row, links)| Some((row, links.get(number)?)));
            let mut back: Vec<(u32, u32)> =
                pairs.flat_map(|(row, links)| links.iter().map(move |&to| (to, row))).collect();
            back.sort_unstable();
            link_back(layer, rows, &back);
        }
    }

    /// The links of a batch's member on each of its layers, the ground first.
    fn choose(
        &self,
        walker: &mut Walker,
        rows: &Rows,
        start: u32,
        levels: &[usize],
        member: usize,
    ) -> Vec<Vec<u32>> {
        let row = start + member as u32;
        let code = rows.code_of(row as usize);
        let batch: Vec<u32> = (start..).take(levels.len()).collect();
        let others = walker.score(rows, &code, &batch);
        let mut chosen = vec![Vec::new(); levels[member] + 1];
        let mut from = walker.descend(self, rows, &code, levels[member] + 1);
        for (number, chosen) in chosen.iter_mut().enumerate().rev() {
            let found = match (self.layers.get(number), &from) {
                (Some(layer), Some(from)) => {
                    walker.walk(layer, rows, &code, from, CONSIDERED, None, usize::MAX)
                }
                _ => None,
            };
            let mut near = found.clone().unwrap_or_default();
            let here = others.iter().zip(levels).filter(|(_, level)| **level >= number);
            near.extend(here.map(|(other, _)| *other).filter(|other| other.row != row));
            *chosen = select(walker, rows, row, near, CONSIDERED, LINKS);
            from = found.or(from);
        }
        chosen
    }
}

/// Adds links to a layer: pairs of where from and where to, sorted. A full list keeps those that [`select`] chooses.
fn link_back(layer: &mut Layer, rows: &Rows, pairs: &[(u32, u32)]) {
    let of_one: Vec<&[(u32, u32)]> = pairs.chunk_by(|a, b| a.0 == b.0).collect();
    let lists: Vec<Vec<u32>> = of_one
        .par_iter()
        .map_init(Walker::default, |walker, pairs| {
            let row = pairs[0].0;
            let mut links = layer.links(row).to_vec();
            for (_, new) in *pairs {
                if !links.contains(new) {
                    links.push(*new);
                }
            }
            if links.len() > layer.most {
                let near = walker.score(rows, &rows.code_of(row as usize), &links);
                links = select(walker, rows, row, near, links.len(), layer.most);
            }
            links
        })
        .collect();
    for (pairs, links) in of_one.iter().zip(&lists) {
        layer.set_links(layer.place(pairs[0].0), links);
    }
}

/// Up to `most` links for a row among the `considered` best of `near`: first those that are nearer to the row than to any link
/// chosen before, so that links lead in all directions (the paper's heuristic), then the nearest of the others.
pub(super) fn select(
    walker: &mut Walker,
    rows: &Rows,
    row: u32,
    mut near: Vec<Scored>,
    considered: usize,
    most: usize,
) -> Vec<u32> {
    // Among equally near ones each row prefers others, or many copies of one text would all point at the same few.
    let taste = |other: u32| mix(u64::from(row) << 32 | u64::from(other));
    let order =
        |a: &Scored, b: &Scored| b.cosine.total_cmp(&a.cosine).then_with(|| taste(a.row).cmp(&taste(b.row)));
    if near.len() > considered {
        near.select_nth_unstable_by(considered, order);
        near.truncate(considered);
    }
    near.sort_unstable_by(order);
    near.dedup_by_key(|scored| scored.row);
    let (mut chosen, mut left) = (Vec::with_capacity(most), Vec::new());
    for scored in near {
        if chosen.len() == most {
            break;
        }
        let code = rows.code_of(scored.row as usize);
        let covered = walker.score(rows, &code, &chosen).iter().any(|chosen| chosen.cosine >= scored.cosine);
        if covered { left.push(scored.row) } else { chosen.push(scored.row) }
    }
    left.truncate(most - chosen.len());
    chosen.extend(left);
    chosen
}
