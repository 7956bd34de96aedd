//! What can go wrong in the store.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use tantivy::TantivyError;
use tantivy::directory::error::OpenWriteError;

/// Why the store could not do what was asked. Whatever was stored before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process (or another [`crate::Store`] of this one) writes to the project.
    #[error("the project is in use by process {pid}; try again when it is done")]
    Locked {
        /// The process that holds the lock; 0 when it has not said.
        pid: u32,
    },
    /// A file or folder of the project could not be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// No space is left where the project lies. The transaction was undone.
    #[error("the disk is full at {path}; nothing was changed", path = path.display())]
    DiskFull {
        /// The project's state folder.
        path: PathBuf,
    },
    /// The project's state may not be written.
    #[error("{path} cannot be written", path = path.display())]
    ReadOnly {
        /// The project's state folder.
        path: PathBuf,
    },
    /// The database was written by a later version of the program.
    #[error(
        "the project was written in format {found}, this program knows formats up to {known}; update it"
    )]
    TooNew {
        /// The format found.
        found: u32,
        /// The newest format that is understood.
        known: u32,
    },
    /// The file is no database, or is damaged.
    #[error("{path} is damaged: {source}", path = path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// Vectors of another embedder than the one the project's vectors come from.
    #[error(
        "the vectors of the index come from {stored}, not from {given}; `tunesmith index build` makes another index, `tunesmith index use` takes it"
    )]
    Embedder {
        /// Identity of the embedder on record.
        stored: String,
        /// Identity of the embedder offered.
        given: String,
    },
    /// A vector of the wrong length.
    #[error("a vector of {given} numbers was given where {expected} are expected ({embedder})")]
    Dimension {
        /// Identity of the embedder on record.
        embedder: String,
        /// Its dimension.
        expected: usize,
        /// The length offered.
        given: usize,
    },
    /// Vectors were offered before [`crate::Store::use_embedder`] said where they come from.
    #[error("vectors were given, but no embedder is on record for this project")]
    NoEmbedder,
    /// A vector with a component that is not a finite number.
    #[error("{what} holds a vector with a component that is not a finite number")]
    NotFinite {
        /// The document path, or "the query".
        what: String,
    },
    /// A chunk span that does not lie in its document's text.
    #[error("{path}: chunk {start}..{end} does not lie on character boundaries of its text")]
    Span {
        /// The document.
        path: String,
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
    /// There is no such index.
    #[error("there is no index {0}")]
    NoIndex(i64),
    /// The index in use cannot be dropped.
    #[error("index {0} is in use")]
    InUse(i64),
    /// An index that lacks documents cannot be taken into use.
    #[error("index {index} lacks {lacking} of the documents")]
    Lacking {
        /// Its number.
        index: i64,
        /// Documents it lacks.
        lacking: usize,
    },
    /// A search option out of its range.
    #[error("{0}")]
    Options(String),
    /// Any other refusal by SQLite.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The text index refused; it is derived, so it can be rebuilt.
    #[error("text index: {0}")]
    Index(#[from] TantivyError),
    /// A stored record is not the JSON it should be.
    #[error("record {key}: {source}")]
    Record {
        /// What record.
        key: String,
        /// The parser's words.
        source: serde_json::Error,
    },
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: path.to_path_buf() }
            }
            ErrorKind::ReadOnlyFilesystem => Error::ReadOnly { path: path.to_path_buf() },
            _ => Error::Io { path: path.to_path_buf(), source },
        }
    }

    /// SQLite's refusal in our words where we have some.
    pub(crate) fn sqlite(folder: &Path, error: rusqlite::Error) -> Self {
        let path = folder.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::DiskFull { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Error::ReadOnly { path }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::Damaged { path: path.join(crate::DATABASE), source: error }
            }
            _ => Error::Sqlite(error),
        }
    }

    /// Says where it happened, for errors that rose through `?` without knowing.
    pub(crate) fn settle(self, folder: &Path) -> Self {
        match self {
            Error::Sqlite(error) => Error::sqlite(folder, error),
            Error::Index(error) if is_disk_full(&error) => {
                Error::DiskFull { path: folder.to_path_buf() }
            }
            other => other,
        }
    }
}

/// Whether the text index could not be written for want of space.
fn is_disk_full(error: &TantivyError) -> bool {
    let io = match error {
        TantivyError::IoError(io) => io,
        TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. }) => io_error,
        _ => return false,
    };
    io.kind() == std::io::ErrorKind::StorageFull
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_under_the_index_is_named_as_such() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::Index(full.into()).settle(Path::new("state"));
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    }
}
