//! The project's memory.
//!
//! One SQLite database (write-ahead log) is the only truth: documents with their versions, chunks and vectors,
//! and the records of everything measured and decided. The BM25 index and the vector table are derived from
//! it, stamped, and brought up to date or rebuilt whenever they differ from it.
//!
//! ```text
//! STATE/store.sqlite   the truth           STATE/lock         held while a Store lives
//! STATE/lexical/N/     BM25 postings, derived
//! ```

mod documents;
mod error;
mod records;
mod search;

use std::path::Path;

pub use documents::{ChunkId, DocumentId, DocumentRow, Embedder, NewChunk, NewDocument};
pub use error::{Error, Result};
pub use records::{Adapter, Job, Record, TestOpening};
pub use search::{Explain, Hit, SearchOptions};

/// An open project state. While it lives, no other process can open the same folder.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the state folder `dir`, creating it when absent, takes the project lock and brings an older
    /// database format up to date.
    pub fn open(dir: &Path) -> Result<Self> {
        let _ = dir;
        unimplemented!()
    }
}
