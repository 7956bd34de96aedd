//! Documents, their versions, chunks and vectors.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Result, Store};

/// A document's number; stays the same when the file is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentId(pub i64);

/// A chunk's number; never used again, so an edited document's chunks have new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChunkId(pub i64);

/// Where a project's vectors come from. All vectors of a project come from one embedder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// The model's identity: a name with a checksum, anything that changes when its vectors do.
    pub identity: String,
    /// Numbers in a vector.
    pub dimension: usize,
}

/// A document to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewDocument {
    /// The project-relative path, the document's key.
    pub path: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Name of the format.
    pub format: String,
    /// The document's own title.
    pub title: Option<String>,
    /// The canonical text that all spans point into.
    pub text: String,
    /// What reading found, as JSON.
    pub receipt_json: String,
    /// The chunks, in order.
    pub chunks: Vec<NewChunk>,
}

/// A chunk to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewChunk {
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// Header rows of the table that the chunk continues, when they stand before it.
    pub header: Option<Range<usize>>,
    /// Headings it stands under, outermost first.
    pub heading_path: Vec<String>,
    /// What is searched by words and was embedded, when it differs from header and span; the title and the
    /// heading path are indexed anyway.
    pub text_for_index: Option<String>,
    /// Its vector of unit length; `None` leaves the chunk to BM25 alone.
    pub vector: Option<Vec<f32>>,
}

/// A stored document, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentRow {
    /// Its number.
    pub id: DocumentId,
    /// Project-relative path.
    pub path: String,
    /// Version number, from 1, raised by each edit.
    pub version: u32,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Name of the format.
    pub format: String,
    /// The document's own title.
    pub title: Option<String>,
    /// What reading found, as JSON.
    pub receipt_json: String,
    /// Number of chunks.
    pub chunks: usize,
    /// Bytes of canonical text.
    pub bytes: usize,
    /// When this version was stored, in seconds since 1970.
    pub stored_at: i64,
}

impl Store {
    /// Stores a document; one with the same path gets a new version, and its old chunks and vectors go. All in
    /// one transaction.
    pub fn put_document(&mut self, document: NewDocument) -> Result<DocumentId> {
        Ok(self.put_documents(std::iter::once(document))?[0])
    }

    /// Stores many documents in one transaction: either all are stored or none.
    pub fn put_documents(
        &mut self,
        documents: impl IntoIterator<Item = NewDocument>,
    ) -> Result<Vec<DocumentId>> {
        let _ = documents.into_iter();
        unimplemented!()
    }

    /// All documents, by path.
    pub fn documents(&self) -> Result<Vec<DocumentRow>> {
        unimplemented!()
    }

    /// The document stored under `path`.
    pub fn document(&self, path: &str) -> Result<Option<DocumentRow>> {
        let _ = path;
        unimplemented!()
    }

    /// The canonical text of a document: of version `version`, or of the current one.
    pub fn document_text(&self, id: DocumentId, version: Option<u32>) -> Result<Option<String>> {
        let _ = (id, version);
        unimplemented!()
    }

    /// The chunks of a document's current version with their numbers, in order, vectors left out.
    pub fn chunks(&self, id: DocumentId) -> Result<Vec<(ChunkId, NewChunk)>> {
        let _ = id;
        unimplemented!()
    }

    /// Removes a document with all its versions, chunks and vectors. False when there was none.
    pub fn delete_document(&mut self, path: &str) -> Result<bool> {
        let _ = path;
        unimplemented!()
    }

    /// The embedder the project's vectors come from.
    pub fn embedder(&self) -> Result<Option<Embedder>> {
        unimplemented!()
    }

    /// Puts the embedder on record; refuses another one while vectors of the first are stored.
    pub fn use_embedder(&mut self, embedder: &Embedder) -> Result<()> {
        let _ = embedder;
        unimplemented!()
    }

    /// Changes the embedder: replaces the vectors of all chunks in one transaction. `embed` gets indexed texts in
    /// batches and returns a vector for each.
    pub fn reembed<E>(
        &mut self,
        embedder: &Embedder,
        mut embed: impl FnMut(&[&str]) -> std::result::Result<Vec<Vec<f32>>, E>,
    ) -> std::result::Result<(), E>
    where
        E: From<crate::Error>,
    {
        let _ = (embedder, embed(&[])?);
        unimplemented!()
    }

    /// The vectors of a document's current chunks by the text that was embedded, so that an edit embeds only
    /// what is new.
    pub fn vectors_by_text(&self, path: &str) -> Result<HashMap<String, Vec<f32>>> {
        let _ = path;
        unimplemented!()
    }
}
