//! Parts of the documents that can be searched apart from the others.

use std::path::PathBuf;

/// The collection of what no other one claims.
pub const DOCUMENTS: &str = "documents";

/// `[[collection]]`: documents that can be searched apart from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Folders, files, patterns and addresses to ingest.
    pub documents: Vec<PathBuf>,
    /// Tags of all its documents.
    pub tags: Vec<String>,
}
