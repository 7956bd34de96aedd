//! The project's memory.
//!
//! One SQLite database (write-ahead log) is the only truth: documents with their versions, chunks
//! and vectors, and the records of everything measured and decided. The BM25 index and the vector
//! table are derived from it, stamped, and brought up to date or rebuilt whenever they differ from
//! it; a search does so by itself.
//!
//! One process writes at a time ([`Store::open`]); others may search meanwhile
//! ([`Store::open_shared`]).
//!
//! Documents can be cut and embedded in several ways side by side: each way is an index, one of
//! them is in use.
//!
//! ```text
//! STATE/store.sqlite            the truth
//! STATE/indexes/I/lexical/N/    BM25 postings of index I, derived; which N counts is written in the database
//! STATE/indexes/I/vectors/N/    the graph over its vectors, derived, once there are many; N as above
//! STATE/lock                    held by the one that writes, with its process id
//! ```
//!
//! # Where the methods of [`Store`] are
//!
//! | file | what it does |
//! |---|---|
//! | `lib.rs` | opens a project, runs transactions, reads rows |
//! | `database/documents.rs` | documents, their versions and chunks; collections |
//! | `database/embeddings.rs` | the embedder of an index, and vectors by chunk |
//! | `database/indexes.rs` | ways of cutting and embedding side by side |
//! | `database/synthetic.rs` | questions that a model wrote |
//! | `database/records.rs` | trials, openings of test splits, comparisons, decisions |
//! | `database/adapters.rs` | trained adapters |
//! | `database/settings.rs` | settings |
//! | `derived/mod.rs` | brings what is derived up to date |
//! | `derived/files.rs` | where derived files lie |
//! | `derived/lexical/fresh.rs`, `texts.rs` | the text index of the current generation, and its texts |
//! | `derived/vectors/fresh.rs` | the vectors of the current generation |
//! | `search/mod.rs` | searches by words, by meaning, or by both |
//! | `search/filter.rs` | the chunks that a filter lets through |
//! | `search/neighbours.rs` | the chunks before and after a hit |

mod database;
mod derived;
mod error;
mod search;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

pub use database::adapters::Adapter;
pub use database::documents::{DocumentRow, Metadata, NewChunk, NewDocument};
pub use database::embeddings::Embedder;
pub use database::ids::{ChunkId, DocumentId, IndexId};
pub use database::indexes::{IndexRow, Unindexed};
pub use database::records::{ComparisonOpening, Record, TestOpening, Trial};
pub use database::synthetic::Synthetic;
pub use derived::lexical::Bm25;
pub use error::{Error, Result};
pub use search::{
    DEFAULT_CANDIDATES, DEFAULT_LEXICAL_WEIGHT, Explain, Filter, Hit, Place, SearchOptions, fuse,
};

use crate::database::lock::{Hold, Lock};
use crate::database::schema;
use crate::derived::{Derived, GRAPH_FROM};
use crate::search::FilterCache;

/// Name of the database file in the state folder.
const DATABASE: &str = "store.sqlite";

/// An open project state. While it lives no other process can write to the same folder, unless it
/// is opened to be shared.
pub struct Store {
    connection: Connection,
    folder: PathBuf,
    /// The index that documents are cut for and that is searched.
    index: IndexId,
    derived: RefCell<Derived>,
    /// The chunks that filters let through.
    filters: RefCell<FilterCache>,
    /// Vectors from which on a graph finds them.
    graph_from: usize,
    /// Compare every vector, graph or no graph.
    exact: bool,
    hold: Hold,
}

impl Store {
    /// Opens the state folder `dir`, creating it when absent, takes the project lock (waiting some
    /// seconds for it) and brings an older database format up to date.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|source| Error::io(dir, source))?;
        let lock = Lock::take(&dir.join("lock"))?;
        let store = Self::prepared(dir, Hold::Always { _lock: lock })?;
        store.remove_old_files();
        Ok(store)
    }

    /// Opens the state folder `dir` to search in it while other processes search or write. It
    /// follows what they change: at the next search, what was deleted is no longer found and what
    /// is new is found by its vector, and by its words too as soon as the process that writes has
    /// committed them or is done. To write something itself it takes the project lock, waiting some
    /// seconds for it.
    ///
    /// # Errors
    /// As [`Store::open`], but [`Error::Locked`] only where the folder is in an older format, or
    /// new.
    pub fn open_shared(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        if !schema::is_current(&dir.join(DATABASE)) {
            return Ok(Store { hold: Hold::WhileWriting(path), ..Self::open(dir)? });
        }
        Self::prepared(dir, Hold::WhileWriting(path))
    }

    fn prepared(dir: &Path, hold: Hold) -> Result<Self> {
        let path = dir.join(DATABASE);
        let mut connection = Connection::open(&path).map_err(|error| Error::sqlite(dir, error))?;
        schema::prepare(&mut connection).map_err(|error| match error {
            schema::Refused::Sqlite(error) => Error::sqlite(dir, error),
            schema::Refused::TooNew { found } => Error::TooNew { found, known: schema::VERSION },
        })?;
        let mut store = Store {
            connection,
            folder: dir.to_path_buf(),
            index: IndexId(1),
            derived: RefCell::default(),
            filters: RefCell::default(),
            graph_from: GRAPH_FROM,
            exact: false,
            hold,
        };
        store.index = store.index_in_use()?;
        Ok(store)
    }

    /// Keeps other processes from writing as long as the value lives.
    fn keep_others_out(&self) -> Result<Option<Lock>> {
        match &self.hold {
            Hold::Always { .. } => Ok(None),
            Hold::WhileWriting(lock) => Lock::take(lock).map(Some),
        }
    }

    /// Compares a query with every vector, even where there is a graph to find the nearest with:
    /// for measuring what the graph misses.
    pub fn compare_all_vectors(&mut self, all: bool) {
        self.exact = all;
        if let Some((_, table)) = &mut self.derived.borrow_mut().vectors {
            table.exact = all;
        }
    }

    /// The state folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A number that every change of documents or vectors raises; what was derived under another
    /// one is stale.
    pub fn generation(&self) -> Result<i64> {
        let value = self.setting(schema::GENERATION)?;
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// Runs `change` in one transaction: all of it happens, or nothing.
    fn change<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let folder = self.folder.clone();
        let _lock = self.keep_others_out()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| Error::sqlite(&folder, error))?;
        let result = change(&transaction).map_err(|error| error.settle(&folder))?;
        transaction.commit().map_err(|error| Error::sqlite(&folder, error))?;
        Ok(result)
    }

    /// As [`Store::change`], for changes that make the derived indexes stale.
    fn change_documents<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.change(|transaction| {
            let result = change(transaction)?;
            transaction.execute(schema::RAISE_GENERATION, [])?;
            Ok(result)
        })
    }

    /// Reads at most one row.
    fn read_one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        row: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let read = || self.connection.prepare_cached(sql)?.query_row(parameters, row).optional();
        read().map_err(|error| Error::sqlite(&self.folder, error))
    }

    /// Reads all rows.
    fn read_all<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let read = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare_cached(sql)?.query_map(parameters, row)?.collect()
        };
        read().map_err(|error| Error::sqlite(&self.folder, error))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> NewDocument {
        let chunks = vec![NewChunk { span: 0..text.len(), ..NewChunk::default() }];
        NewDocument {
            path: "note.txt".to_string(),
            text: text.to_string(),
            chunks,
            ..NewDocument::default()
        }
    }

    #[test]
    fn a_full_disk_undoes_the_change_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.put_document(note("first")).unwrap();
        let pages: i64 =
            store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        store.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
        let refused = store.put_document(note(&"long ".repeat(100_000)));
        assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
        assert_eq!(
            store
                .search("first", &[], &SearchOptions { lexical_weight: 1.0, ..Default::default() })
                .unwrap()
                .len(),
            1
        );
        assert_eq!(store.documents().unwrap()[0].version, 1);
    }

    #[test]
    fn a_database_that_may_not_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.put_document(note("first")).unwrap();
        store.connection.pragma_update(None, "query_only", true).unwrap();
        assert!(matches!(store.put_document(note("second")), Err(Error::ReadOnly { .. })));
        assert_eq!(store.documents().unwrap()[0].version, 1);
    }
}
