//! The graph's files, so that opening a large project does not build it again. The vectors
//! themselves are in the database alone: what is deleted there is gone.
//!
//! ```text
//! N/table.json   written last: the stamp, and length and checksum of each file
//! N/chunks       numbers of the chunks whose vectors the graph is over, i64
//! N/graph        its layers, u32
//! ```
//!
//! Numbers are little endian. A folder is written once and never changed; another one replaces it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use super::hnsw::Graph;
use crate::{ChunkId, Error, Result};

/// Raised when the files or the graph in them change: older ones are then rebuilt.
const FORMAT: u32 = 2;
/// Bytes that are read or written at a time; a multiple of every number's size.
const BLOCK_BYTES: usize = 1 << 18;
/// Name of the file that lists the others.
const MANIFEST: &str = "table.json";

/// What files were made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    format: u32,
    /// Identity of the database.
    pub(super) store: String,
    /// Identity of the embedder.
    pub(super) embedder: String,
    /// Numbers in a vector.
    pub(super) dimension: usize,
    /// Generation of the database.
    pub(super) generation: i64,
}

/// What the files hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saved {
    /// Generation of the database that they were made from.
    pub(super) generation: i64,
    /// Rows of the graph in them.
    pub(super) rows: usize,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    stamp: Stamp,
    rows: usize,
    /// Nodes of each layer of the graph, the ground first.
    layers: Vec<usize>,
    chunks: Sum,
    graph: Sum,
}

/// A graph as files hold it.
pub(super) struct Linked {
    /// The chunk of each row, by rising number.
    pub(super) chunks: Vec<ChunkId>,
    pub(super) graph: Graph,
    pub(super) saved: Saved,
}

/// Length and checksum of a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    crc32: u32,
}

impl Stamp {
    pub(super) fn new(store: String, embedder: String, dimension: usize, generation: i64) -> Self {
        Stamp { format: FORMAT, store, embedder, dimension, generation }
    }

    /// Whether a graph with this stamp can be brought up to date, rather than rebuilt.
    fn can_follow(&self, wanted: &Stamp) -> bool {
        let later = Stamp { generation: wanted.generation, ..self.clone() };
        later == *wanted && self.generation <= wanted.generation
    }
}

impl Saved {
    /// Writes a graph over the vectors of `chunks` into the empty folder `folder`, which counts
    /// once the database names it.
    pub(super) fn write(
        folder: &Path,
        stamp: Stamp,
        chunks: &[ChunkId],
        graph: &Graph,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let write = |name: &str, write: &dyn Fn(&mut Writer) -> std::io::Result<()>| {
            let path = folder.join(name);
            let written = Writer::create(&path).and_then(|mut writer| {
                write(&mut writer)?;
                writer.finish()
            });
            written.map_err(|source| Error::io(&path, source))
        };
        let saved = Saved { generation: stamp.generation, rows: chunks.len() };
        let manifest = Manifest {
            stamp,
            rows: chunks.len(),
            layers: graph.sizes(),
            chunks: write("chunks", &|file| file.numbers(chunks, |chunk| chunk.0.to_le_bytes()))?,
            graph: write("graph", &|file| {
                graph
                    .numbers()
                    .into_iter()
                    .try_for_each(|numbers| file.numbers(&numbers, |row| row.to_le_bytes()))
            })?,
        };
        let json = serde_json::to_vec_pretty(&manifest).map_err(|source| Error::Record {
            key: format!("{MANIFEST} of the vectors"),
            source,
        })?;
        write(MANIFEST, &|file| file.bytes(&json))?;
        sync(folder).map_err(|source| Error::io(folder, source))?;
        Ok(saved)
    }
}

impl Linked {
    /// Reads a graph; `None` when it is missing, damaged, or not one that can be brought up to
    /// date.
    pub(super) fn load(folder: &Path, wanted: &Stamp) -> Option<Self> {
        let manifest: Manifest =
            serde_json::from_slice(&std::fs::read(folder.join(MANIFEST)).ok()?).ok()?;
        if !manifest.stamp.can_follow(wanted) {
            return None;
        }
        let path = |name| folder.join(name);
        let chunks =
            read(&path("chunks"), &manifest.chunks, |bytes| ChunkId(i64::from_le_bytes(bytes)))?;
        let numbers = read(&path("graph"), &manifest.graph, u32::from_le_bytes)?;
        let graph = Graph::from_numbers(&manifest.layers, &numbers)?;
        let sound = chunks.len() == manifest.rows
            && graph.len() == manifest.rows
            && chunks.is_sorted_by(|a, b| a < b);
        let saved = Saved { generation: manifest.stamp.generation, rows: manifest.rows };
        sound.then_some(Linked { chunks, graph, saved })
    }
}

/// A file that is being written, with its checksum.
struct Writer {
    file: File,
    hasher: Hasher,
    bytes: u64,
}

impl Writer {
    fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Writer { file: File::create(path)?, hasher: Hasher::new(), bytes: 0 })
    }

    fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        for block in bytes.chunks(BLOCK_BYTES) {
            self.hasher.update(block);
            self.bytes += block.len() as u64;
            self.file.write_all(block)?;
        }
        Ok(())
    }

    fn numbers<T, const N: usize>(
        &mut self,
        numbers: &[T],
        to: impl Fn(&T) -> [u8; N],
    ) -> std::io::Result<()> {
        numbers.chunks(BLOCK_BYTES / N).try_for_each(|block| {
            let bytes: Vec<u8> = block.iter().flat_map(&to).collect();
            self.bytes(&bytes)
        })
    }

    fn finish(self) -> std::io::Result<Sum> {
        self.file.sync_all()?;
        Ok(Sum { bytes: self.bytes, crc32: self.hasher.finalize() })
    }
}

/// The numbers of a file; `None` when they are not what was written.
fn read<T, const N: usize>(path: &Path, sum: &Sum, from: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    // The length on record is believed only when it is the file's: no file can ask for more memory
    // than it has bytes.
    if File::open(path).ok()?.metadata().ok()?.len() != sum.bytes {
        return None;
    }
    let mut numbers = Vec::with_capacity(usize::try_from(sum.bytes).ok()? / N);
    let found = blocks(path, |block| {
        numbers.extend(block.as_chunks::<N>().0.iter().map(|&bytes| from(bytes)));
    });
    (found.ok()? == *sum).then_some(numbers)
}

/// Hands over a file block by block, each but the last of [`BLOCK_BYTES`] bytes.
fn blocks(path: &Path, mut take: impl FnMut(&[u8])) -> std::io::Result<Sum> {
    let mut file = File::open(path)?;
    let mut buffer = Vec::with_capacity(BLOCK_BYTES);
    let (mut hasher, mut bytes) = (Hasher::new(), 0);
    loop {
        buffer.clear();
        if (&mut file).take(BLOCK_BYTES as u64).read_to_end(&mut buffer)? == 0 {
            return Ok(Sum { bytes, crc32: hasher.finalize() });
        }
        hasher.update(&buffer);
        bytes += buffer.len() as u64;
        take(&buffer);
    }
}

/// Makes a folder's entries survive a power cut, where the system can.
fn sync(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
