//! The layers of the graph, and its numbers in a file.

use std::borrow::Cow;

use super::copies::Copies;
use crate::ChunkId;
use crate::derived::vectors::kernels::prefetch;
use crate::derived::vectors::pages;

/// Links that a new node chooses for itself on each layer, and the most it may have above the
/// ground: M in the paper.
pub(super) const LINKS: usize = 16;
/// The most links of a node on the ground: 2 M, as the paper recommends.
const GROUND_LINKS: usize = 2 * LINKS;
/// Neighbours that are considered for a new node: efConstruction in the paper. 96 would build in
/// four fifths of the time, and find .9945 of what 128 find among 100,000 (docs/log.md).
pub(super) const EF_CONSTRUCTION: usize = 128;
/// Layers there may be: 16 to the power of 8 rows are more than fit the numbers of rows.
const LAYERS: usize = 8;
/// Stands where a list of links has ended.
pub(super) const NONE: u32 = u32::MAX;

/// The graph over the rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::derived::vectors) struct Graph {
    /// The ground first.
    pub(super) layers: Vec<Layer>,
    /// Rows that are no nodes, as the same vector is one already.
    pub(super) copies: Copies,
    /// Rows in it: the first so many of the table.
    pub(super) rows: usize,
}

/// The nodes of one layer and their links.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Rows by rising number; empty on the ground, where every row has a place.
    pub(super) nodes: Vec<u32>,
    /// `max_links` a node, the best first, filled up with [`NONE`].
    pub(super) links: Vec<u32>,
    pub(super) max_links: usize,
}

impl Layer {
    pub(super) fn new(number: usize) -> Self {
        Layer { nodes: Vec::new(), links: Vec::new(), max_links: max_links(number) }
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.links.len() / self.max_links
    }

    /// Where a row's node is. Rows that are linked to on a layer are nodes of it.
    pub(super) fn place(&self, row: u32) -> usize {
        if self.nodes.is_empty() {
            row as usize
        } else {
            self.nodes.binary_search(&row).unwrap_or_default()
        }
    }

    /// The row of the node at `place`.
    pub(super) fn row(&self, place: usize) -> u32 {
        self.nodes.get(place).copied().unwrap_or(place as u32)
    }

    /// The rows that a row is linked to.
    pub(super) fn links(&self, row: u32) -> &[u32] {
        self.links_at(self.place(row))
    }

    pub(super) fn links_at(&self, place: usize) -> &[u32] {
        let links = &self.links[place * self.max_links..][..self.max_links];
        let end = links.iter().position(|&row| row == NONE).unwrap_or(self.max_links);
        &links[..end]
    }

    /// Asks for the links of a row of the ground that may be read soon. Layers above it are small.
    pub(super) fn prefetch(&self, row: u32) {
        if self.nodes.is_empty() {
            prefetch(&self.links[row as usize * self.max_links..][..self.max_links]);
        }
    }

    pub(super) fn set_links(&mut self, place: usize, links: &[u32]) {
        let room = &mut self.links[place * self.max_links..][..self.max_links];
        room.fill(NONE);
        room[..links.len()].copy_from_slice(links);
    }

    /// Adds a node without links. Rows come by rising number.
    pub(super) fn add(&mut self, row: u32, ground: bool) {
        if !ground {
            self.nodes.push(row);
        }
        pages::grow(&mut self.links, self.max_links);
        self.links.resize(self.links.len() + self.max_links, NONE);
    }
}

impl Graph {
    pub(in crate::derived::vectors) fn new() -> Self {
        Graph { layers: Vec::new(), copies: Copies::default(), rows: 0 }
    }

    /// Number of rows in the graph.
    pub(in crate::derived::vectors) fn len(&self) -> usize {
        self.rows
    }

    /// Where every search begins.
    pub(super) fn entry(&self) -> u32 {
        self.layers.last().map_or(0, |top| top.row(0))
    }

    /// The graph as numbers, for a file: of each layer the rows of its nodes (none for the ground)
    /// and their links, then pairs of a row and a copy of it.
    pub(in crate::derived::vectors) fn numbers(&self) -> Vec<Cow<'_, [u32]>> {
        let layers =
            self.layers.iter().flat_map(|layer| [layer.nodes.as_slice(), layer.links.as_slice()]);
        let copies = self.copies.pairs().flat_map(|(row, copy)| [row, copy]).collect();
        layers.map(Cow::Borrowed).chain([Cow::Owned(copies)]).collect()
    }

    /// Nodes of each layer, the ground first.
    pub(in crate::derived::vectors) fn sizes(&self) -> Vec<usize> {
        self.layers.iter().map(Layer::len).collect()
    }

    /// The graph that [`Graph::sizes`] and [`Graph::numbers`] describe; `None` when they describe
    /// none.
    pub(in crate::derived::vectors) fn from_numbers(
        sizes: &[usize],
        numbers: &[u32],
    ) -> Option<Self> {
        let rows = *sizes.first()?;
        let mut rest = numbers;
        let mut layers = Vec::new();
        for (number, &size) in sizes.iter().enumerate() {
            let max_links = max_links(number);
            let nodes = rest.split_off(..if number == 0 { 0 } else { size })?.to_vec();
            let known = rest.split_off(..size.checked_mul(max_links)?)?;
            let mut links = Vec::new();
            pages::reserve(&mut links, known.len());
            links.extend_from_slice(known);
            layers.push(Layer { nodes, links, max_links });
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

fn max_links(layer: usize) -> usize {
    if layer == 0 { GROUND_LINKS } else { LINKS }
}

/// The highest layer that a chunk is on: 0 for most, each higher one for a sixteenth of those
/// before. Depends on the chunk's number alone.
pub(super) fn level(chunk: ChunkId) -> usize {
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
