//! All vectors of an index, and the graph over them.

use super::exact;
use super::file::Saved;
use super::hnsw::{Graph, Walk};
use super::rows::{Keep, Rows};
use crate::ChunkId;
use crate::derived::places::place_of;
use crate::derived::top_chunks::top_chunks;

/// Vectors from which on a graph is worth its while. A scan takes 25 ns a vector of 384 numbers on
/// two cores, so 1.2 ms here, where a walk takes a fifth of that; building the graph takes a sixth
/// of a millisecond a vector at least, and opening reads its files (docs/log.md).
pub(crate) const GRAPH_FROM: usize = 50_000;

/// Rows that a walk collects at least: the paper's ef. Of the ten nearest among 100,000 clustered
/// vectors a walk finds .995 with 64, and all with 96 (docs/log.md).
pub(super) const EF_SEARCH: usize = 96;
/// Vectors up to which [`EF_SEARCH`] is enough.
const EF_SEARCH_AMONG: usize = 100_000;

/// A walk under a filter gives up after looking at one row in so many: reading all rows in order is
/// as fast then. (Lucene gives up when it has seen as many as the filter lets through, which it
/// knows beforehand.)
const VISITS_ONE_IN: usize = 32;

/// All vectors, by rising chunk number.
#[derive(Debug)]
pub(crate) struct Vectors {
    pub(super) chunks: Vec<ChunkId>,
    pub(super) rows: Rows,
    /// Over the first rows, and over all after [`Vectors::link`], where there are many.
    pub(super) graph: Option<Graph>,
    /// What the files hold of the graph, where there are files.
    pub(super) saved: Option<Saved>,
    /// Whether the files may hold rows that are gone from this table.
    pub(super) outlived: bool,
    /// Compare every vector although there is a graph.
    pub(crate) exact: bool,
}

impl Vectors {
    pub(crate) fn new(dimension: usize) -> Self {
        Vectors {
            chunks: Vec::new(),
            rows: Rows::new(dimension),
            graph: None,
            saved: None,
            outlived: false,
            exact: false,
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.rows.dimension()
    }

    /// Number of the last chunk, as chunks are added by rising number.
    pub(crate) fn last(&self) -> ChunkId {
        self.chunks.last().copied().unwrap_or(ChunkId(0))
    }

    /// Adds a chunk's packed vector; false where it does not have `dimension` numbers. A graph
    /// learns of it with [`Vectors::link`].
    pub(crate) fn push(&mut self, chunk: ChunkId, packed: &[u8]) -> bool {
        let added = self.rows.push(packed);
        if added {
            self.chunks.push(chunk);
        }
        added
    }

    /// Keeps only the chunks for which `keep` holds; of the others nothing stays, in the graph
    /// neither.
    pub(crate) fn retain(&mut self, keep: impl Fn(ChunkId) -> bool) {
        let dead: Vec<bool> = self.chunks.iter().map(|&chunk| !keep(chunk)).collect();
        let gone = dead.iter().filter(|&&dead| dead).count();
        if gone == 0 {
            return;
        }
        self.outlived = true;
        // Mending most of a graph takes as long as a new one, which is better.
        let mut graph = self.graph.take().filter(|graph| gone * 3 < graph.len());
        if let Some(graph) = &mut graph {
            graph.remove(&mut self.rows, &dead);
        }
        self.rows.retain(|row| !dead[row]);
        let mut row = 0..;
        self.chunks.retain(|_| row.next().is_some_and(|row: usize| !dead[row]));
        if let Some(graph) = &mut graph {
            graph.reach_all(&self.rows);
        }
        self.graph = graph;
    }

    /// Brings the graph up to date: one over all rows where there are `from` or more, none below
    /// half of that.
    pub(crate) fn link(&mut self, from: usize) {
        // Rows have numbers of 32 bits in a graph.
        if self.rows.len() < from.div_ceil(2) || self.rows.len() >= u32::MAX as usize {
            self.graph = None;
        } else if self.rows.len() >= from || self.graph.is_some() {
            self.graph.get_or_insert_with(Graph::new).extend(&self.rows, &self.chunks);
        }
    }

    /// The `count` chunks whose vectors have the largest cosine with `query` (of unit length), best
    /// first.
    pub(crate) fn nearest(&self, query: &[f32], count: usize) -> Vec<(ChunkId, f32)> {
        self.nearest_rows(query, count, None)
    }

    /// As [`Vectors::nearest`], among the chunks for which `keep` holds. However few they are, they
    /// are found.
    pub(crate) fn nearest_where(
        &self,
        query: &[f32],
        count: usize,
        keep: impl Fn(ChunkId) -> bool + Sync,
    ) -> Vec<(ChunkId, f32)> {
        self.nearest_rows(query, count, Some(&|row| keep(self.chunks[row])))
    }

    fn nearest_rows(&self, query: &[f32], count: usize, keep: Keep<'_>) -> Vec<(ChunkId, f32)> {
        if self.dimension() == 0 || count == 0 || self.rows.len() == 0 {
            return Vec::new();
        }
        let code = self.rows.code(query);
        let compared = Rows::again(count);
        let walked = self.graph.as_ref().filter(|_| !self.exact).and_then(|graph| {
            let ef = compared.max(ef_search(self.rows.len()));
            let max_visits =
                if keep.is_some() { self.rows.len() / VISITS_ONE_IN } else { usize::MAX };
            let found = graph.nearest(&self.rows, &code, Walk { ef, keep, max_visits })?;
            // Too few: the walk has not come to all that may be found.
            (found.len() >= count).then_some(found)
        });
        let found = walked.unwrap_or_else(|| exact::nearest(&self.rows, &code, compared, keep));
        // A walk collects more than have to be compared in full.
        let fine = found.iter().take(compared).map(|found| {
            let row = found.row as usize;
            (self.chunks[row], self.rows.fine_cosine(query, row))
        });
        top_chunks(fine, count)
    }

    /// The cosine of one chunk's vector with `query`.
    pub(crate) fn cosine(&self, query: &[f32], chunk: ChunkId) -> Option<f32> {
        let row = place_of(chunk, self.chunks.len(), |row| self.chunks[row])?;
        Some(self.rows.fine_cosine(query, row))
    }
}

/// Rows that a walk collects at least among `rows`. Of a million vectors 128 find .938 of the ten
/// nearest, 256 .988 and 303 .998: what is needed grows with the root (docs/log.md).
pub(super) fn ef_search(rows: usize) -> usize {
    let times = (rows as f64 / EF_SEARCH_AMONG as f64).sqrt().max(1.0);
    (EF_SEARCH as f64 * times) as usize
}
