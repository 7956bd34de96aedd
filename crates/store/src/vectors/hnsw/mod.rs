//! A graph of near neighbours, walked instead of comparing every row: hierarchical navigable small
//! worlds (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
//! hierarchical navigable small world graphs", 2018).
//!
//! Every row is a node of the ground layer, one in sixteen of the layer above, and so on. A search
//! descends from the only few nodes at the top, on each layer to the node nearest to the query, and
//! collects the best rows on the ground.
//!
//! What differs from the paper, and why:
//! - Nodes join in batches whose members look for neighbours at the same time, each in the graph as
//!   it was before the batch and among all other members. So all cores work without locks, and the
//!   graph is the same for any number of threads.
//! - A deleted row leaves the graph at once ([`remove`]): whoever pointed at it is linked with what
//!   it pointed at (as in FreshDiskANN, Singh and others, 2021). Nothing of a deleted row is walked
//!   through or kept.
//! - Copies of one vector, as boilerplate makes them by the thousand, are one node ([`copies`]):
//!   linked with each other they would be an island that no walk leaves.
//! - After every change all rows can be reached from the entry ([`reach`]); deletions would
//!   otherwise cut some off.

mod copies;
mod insert;
mod reach;
mod remove;
mod walk;

use std::borrow::Cow;

use super::Keep;
use super::kernels::prefetch;
use super::pages;
use super::rows::{Code, Rows};
use super::scored::Scored;
use crate::ChunkId;

use copies::Copies;

pub(super) use walk::Walker;

/// Links that a new node chooses for itself on each layer, and the most it may have above the
/// ground.
const LINKS: usize = 16;
/// The most links of a node on the ground, as the paper recommends.
const GROUND_LINKS: usize = 2 * LINKS;
/// Neighbours that are considered for a new node.
const CONSIDERED: usize = 128;
/// Layers there may be: 16 to the power of 8 rows are more than fit the numbers of rows.
const LAYERS: usize = 8;
/// Stands where a list of links has ended.
const NONE: u32 = u32::MAX;

/// The graph over the rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Graph {
    /// The ground first.
    layers: Vec<Layer>,
    /// Rows that are no nodes, as the same vector is one already.
    copies: Copies,
    /// Rows in it: the first so many of the table.
    rows: usize,
}

/// The nodes of one layer and their links.
#[derive(Debug, PartialEq, Eq)]
struct Layer {
    /// Rows by rising number; empty on the ground, where every row has a place.
    nodes: Vec<u32>,
    /// `most` a node, by falling worth, filled up with [`NONE`].
    links: Vec<u32>,
    most: usize,
}

impl Layer {
    fn new(number: usize) -> Self {
        Layer { nodes: Vec::new(), links: Vec::new(), most: most_links(number) }
    }

    /// Number of nodes.
    fn len(&self) -> usize {
        self.links.len() / self.most
    }

    /// Where a row's node is. Rows that are linked to on a layer are nodes of it.
    fn place(&self, row: u32) -> usize {
        if self.nodes.is_empty() {
            row as usize
        } else {
            self.nodes.binary_search(&row).unwrap_or_default()
        }
    }

    /// The row of the node at `place`.
    fn row(&self, place: usize) -> u32 {
        self.nodes.get(place).copied().unwrap_or(place as u32)
    }

    /// The rows that a row is linked to.
    fn links(&self, row: u32) -> &[u32] {
        self.links_at(self.place(row))
    }

    fn links_at(&self, place: usize) -> &[u32] {
        let links = &self.links[place * self.most..][..self.most];
        let end = links.iter().position(|&row| row == NONE).unwrap_or(self.most);
        &links[..end]
    }

    /// Asks for the links of a row of the ground that may be read soon. Layers above it are small.
    fn prefetch(&self, row: u32) {
        if self.nodes.is_empty() {
            prefetch(&self.links[row as usize * self.most..][..self.most]);
        }
    }

    fn set_links(&mut self, place: usize, links: &[u32]) {
        let room = &mut self.links[place * self.most..][..self.most];
        room.fill(NONE);
        room[..links.len()].copy_from_slice(links);
    }

    /// Adds a node without links. Rows come by rising number.
    fn add(&mut self, row: u32, ground: bool) {
        if !ground {
            self.nodes.push(row);
        }
        pages::grow(&mut self.links, self.most);
        self.links.resize(self.links.len() + self.most, NONE);
    }
}

impl Graph {
    pub(super) fn new() -> Self {
        Graph { layers: Vec::new(), copies: Copies::default(), rows: 0 }
    }

    /// Number of rows in the graph.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Where every search begins.
    fn entry(&self) -> u32 {
        self.layers.last().map_or(0, |top| top.row(0))
    }

    /// The `most` rows that are about the nearest to `code` among those to keep, best first. `None`
    /// when more than `visits` rows would have to be looked at.
    pub(super) fn nearest(
        &self,
        rows: &Rows,
        code: &Code,
        most: usize,
        keep: Keep<'_>,
        visits: usize,
    ) -> Option<Vec<Scored>> {
        let mut walker = Walker::default();
        let from = walker.descend(self, rows, code, 1)?;
        let any = keep.map(|keep| {
            move |row: usize| self.copies.with(row as u32).any(|row| keep(row as usize))
        });
        let any: Keep<'_> = any.as_ref().map(|any| any as _);
        let found = walker.walk(&self.layers[0], rows, code, &from, most, any, visits)?;
        if self.copies.is_empty() {
            return Some(found);
        }
        let all = found.iter().flat_map(|found| {
            self.copies.with(found.row).map(|row| Scored { cosine: found.cosine, row })
        });
        let mut all: Vec<Scored> =
            all.filter(|one| keep.is_none_or(|keep| keep(one.row as usize))).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(most);
        Some(all)
    }

    /// The graph as numbers, for a file: of each layer the rows of its nodes (none for the ground)
    /// and their links, then pairs of a row and a copy of it.
    pub(super) fn numbers(&self) -> Vec<Cow<'_, [u32]>> {
        let layers =
            self.layers.iter().flat_map(|layer| [layer.nodes.as_slice(), layer.links.as_slice()]);
        let copies = self.copies.pairs().flat_map(|(row, copy)| [row, copy]).collect();
        layers.map(Cow::Borrowed).chain([Cow::Owned(copies)]).collect()
    }

    /// Nodes of each layer, the ground first.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.layers.iter().map(Layer::len).collect()
    }

    /// The graph that [`Graph::sizes`] and [`Graph::numbers`] describe; `None` when they describe
    /// none.
    pub(super) fn from_numbers(sizes: &[usize], numbers: &[u32]) -> Option<Self> {
        let rows = *sizes.first()?;
        let mut rest = numbers;
        let mut layers = Vec::new();
        for (number, &size) in sizes.iter().enumerate() {
            let most = most_links(number);
            let nodes = rest.split_off(..if number == 0 { 0 } else { size })?.to_vec();
            let known = rest.split_off(..size.checked_mul(most)?)?;
            let mut links = Vec::new();
            pages::reserve(&mut links, known.len());
            links.extend_from_slice(known);
            layers.push(Layer { nodes, links, most });
        }
        let (pairs, rest) = rest.as_chunks::<2>();
        let copies = Copies::from_pairs(pairs.iter().map(|&[row, copy]| (row, copy)));
        let graph = Graph { layers, copies, rows };
        (rest.is_empty() && graph.is_sound()).then_some(graph)
    }

    /// Whether every link leads to a node of its layer, so that no walk leaves the table.
    fn is_sound(&self) -> bool {
        let known = |row: u32| (row as usize) < self.rows;
        if !self.copies.pairs().all(|(row, copy)| row < copy && known(copy)) {
            return false;
        }
        self.layers.iter().enumerate().all(|(number, layer)| {
            let rising = layer.nodes.is_sorted_by(|a, b| a < b);
            let within = |row: u32| match number {
                0 => known(row),
                _ => layer.nodes.binary_search(&row).is_ok(),
            };
            layer.len() > 0
                && rising
                && layer.nodes.iter().all(|&row| known(row))
                && layer.links.iter().all(|&row| row == NONE || within(row))
        })
    }
}

fn most_links(layer: usize) -> usize {
    if layer == 0 { GROUND_LINKS } else { LINKS }
}

/// The highest layer that a chunk is on: 0 for most, each higher one for a sixteenth of those
/// before. Depends on the chunk's number alone.
fn level(chunk: ChunkId) -> usize {
    // Of 64 random bits, each four zeros in a row are a sixteenth.
    let zeros = mix(chunk.0.cast_unsigned()).leading_zeros() as usize;
    (zeros / LINKS.ilog2() as usize).min(LAYERS - 1)
}

/// A number that looks random (the finaliser of SplitMix64, Steele, Lea and Flood, 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
