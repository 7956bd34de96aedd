//! How rows join the graph.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::graph::{EF_CONSTRUCTION, Graph, LINKS, Layer, level};
use super::walk::{Walk, Walker};
use crate::ChunkId;
use crate::derived::vectors::pages;
use crate::derived::vectors::rows::{Code, Rows};
use crate::derived::vectors::top_rows::Scored;

/// Rows that join at the same time. Each is compared with all others of its batch, which at this
/// size is a fiftieth of the work.
const BATCH: usize = 512;

/// Rough cosine of two copies of a vector, at least.
const ALIKE: f32 = 0.95;

/// How a row joins.
struct Choice {
    /// An earlier row with the same vector.
    copy_of: Option<u32>,
    /// Otherwise its links on each of its layers, the ground first.
    links: Vec<Vec<u32>>,
}

impl Graph {
    /// Links all rows that the graph does not hold yet. `chunks` are those of all rows.
    pub(in crate::derived::vectors) fn extend(&mut self, rows: &Rows, chunks: &[ChunkId]) {
        let from = self.len();
        while self.len() < rows.len() {
            let batch = self.len()..(self.len() + BATCH).min(rows.len());
            if let Some(ground) = self.layers.first_mut() {
                pages::grow(&mut ground.links, (rows.len() - batch.start) * ground.max_links);
            }
            let levels: Vec<usize> =
                chunks[batch.clone()].iter().map(|&chunk| level(chunk)).collect();
            self.join(rows, batch.start as u32, &levels);
        }
        if self.len() > from {
            self.reach_all(rows);
        }
    }

    /// Links a batch: the rows from `start` on, one for each of `levels`.
    fn join(&mut self, rows: &Rows, start: u32, levels: &[usize]) {
        let batch = Batch::new(rows, start, levels);
        let mut chosen: Vec<Choice> = (0..levels.len())
            .into_par_iter()
            .map_init(Walker::default, |walker, member| self.choose(walker, rows, &batch, member))
            .collect();
        let originals: BTreeMap<u32, u32> = (start..)
            .zip(&chosen)
            .filter_map(|(row, choice)| Some((row, choice.copy_of?)))
            .collect();
        for (row, choice) in (start..).zip(&mut chosen) {
            if let Some(original) = originals.get(&row) {
                // The original in the batch may have turned out to be a copy itself.
                self.copies.add(*originals.get(original).unwrap_or(original), row);
                // It has a place on the ground, but no links.
                choice.links = vec![Vec::new()];
            }
            for (number, links) in choice.links.iter_mut().enumerate() {
                links.retain(|link| !originals.contains_key(link));
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
            let lists = (start..)
                .zip(&chosen)
                .filter_map(|(row, choice)| Some((row, choice.links.get(number)?)));
            let mut back: Vec<(u32, u32)> =
                lists.flat_map(|(row, links)| links.iter().map(move |&to| (to, row))).collect();
            back.sort_unstable();
            link_back(layer, rows, &back);
        }
    }

    /// How a batch's member joins.
    fn choose(&self, walker: &mut Walker, rows: &Rows, batch: &Batch<'_>, member: usize) -> Choice {
        let mut choice = Choice { copy_of: batch.copy_of[member], links: Vec::new() };
        if choice.copy_of.is_some() {
            return choice;
        }
        let (row, level) = (batch.rows[member], batch.levels[member]);
        let code = rows.code_of(row as usize);
        let others = walker.score(rows, &code, &batch.rows);
        choice.links.resize(level + 1, Vec::new());
        let mut from = walker.descend(self, rows, &code, level + 1);
        for (number, links) in choice.links.iter_mut().enumerate().rev() {
            let found = match (self.layers.get(number), &from) {
                (Some(layer), Some(from)) => walker
                    .walk(layer, rows, &code, from, Walk::to_nearest(EF_CONSTRUCTION))
                    .unwrap_or_default(),
                _ => Vec::new(),
            };
            // A copy is not linked, so the ground's walk, which comes last, is where one is
            // noticed.
            let mut alike =
                found.iter().take_while(|found| found.cosine > ALIKE).map(|found| found.row);
            choice.copy_of = alike.find(|&found| rows.are_copies(found, row));
            let here = (0..others.len()).filter(|&at| {
                at != member && batch.levels[at] >= number && batch.copy_of[at].is_none()
            });
            let near = found.iter().copied().chain(here.map(|at| others[at])).collect();
            *links = select(walker, rows, near, EF_CONSTRUCTION, LINKS);
            from = Some(found).filter(|found| !found.is_empty()).or(from);
        }
        choice
    }
}

/// Rows that join at the same time.
struct Batch<'a> {
    rows: Vec<u32>,
    /// The highest layer of each.
    levels: &'a [usize],
    /// The first of the batch that a row is a copy of.
    copy_of: Vec<Option<u32>>,
}

impl<'a> Batch<'a> {
    fn new(rows: &Rows, start: u32, levels: &'a [usize]) -> Self {
        let members: Vec<u32> = (start..).take(levels.len()).collect();
        let mut first: HashMap<Vec<u8>, u32> = HashMap::new();
        let copy_of = members.iter().map(|&row| {
            let original = *first.entry(rows.bits(row as usize)).or_insert(row);
            (original != row).then_some(original)
        });
        Batch { copy_of: copy_of.collect(), rows: members, levels }
    }
}

/// Adds links to a layer: pairs of where from and where to, sorted. A full list keeps those that
/// [`select`] chooses.
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
            if links.len() > layer.max_links {
                let near = walker.score(rows, &rows.code_of(row as usize), &links);
                links = select(walker, rows, near, links.len(), layer.max_links);
            }
            links
        })
        .collect();
    for (pairs, links) in of_one.iter().zip(&lists) {
        layer.set_links(layer.place(pairs[0].0), links);
    }
}

/// Up to `max_links` links for a row, chosen among the `considered` best of `near`, whose cosines
/// are with that row. First come those that are nearer to the row than to any link chosen before,
/// so that links lead in all directions (the heuristic of the paper's algorithm 4), then the
/// nearest others.
pub(super) fn select(
    walker: &mut Walker,
    rows: &Rows,
    mut near: Vec<Scored>,
    considered: usize,
    max_links: usize,
) -> Vec<u32> {
    let order = |a: &Scored, b: &Scored| b.cmp(a);
    if near.len() > considered {
        near.select_nth_unstable_by(considered, order);
        near.truncate(considered);
    }
    near.sort_unstable_by(order);
    near.dedup_by_key(|scored| scored.row);
    let (mut chosen, mut left) = (Vec::with_capacity(max_links), Vec::new());
    let codes = &mut walker.codes;
    codes.resize_with(codes.len().max(max_links), Code::default);
    for scored in near {
        if chosen.len() == max_links {
            break;
        }
        let mut nearer =
            codes[..chosen.len()].iter().map(|code| rows.cosine(code, scored.row as usize));
        if nearer.any(|cosine| cosine >= scored.cosine) {
            left.push(scored.row);
        } else {
            rows.code_into(scored.row as usize, &mut codes[chosen.len()]);
            chosen.push(scored.row);
        }
    }
    left.truncate(max_links - chosen.len());
    chosen.extend(left);
    chosen
}
