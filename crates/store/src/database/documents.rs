//! Documents, their versions, chunks and vectors.

use std::borrow::Cow;
use std::ops::Range;

use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction};
use serde::Serialize;

use super::embeddings::{Embedder, INSERT_VECTOR, checked};
use super::packed;
use crate::{ChunkId, DocumentId, Error, IndexId, Result, Store, now};

/// What documents are filtered by, and the language their words are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The collection it belongs to.
    pub collection: String,
    /// Tags, in any order.
    pub tags: Vec<String>,
    /// When it was last changed, in seconds since 1970; `None` where nobody knows.
    pub modified: Option<i64>,
    /// ISO 639-1 code of its language, which decides how words are stemmed; empty where there is no
    /// stemmer for it.
    pub language: String,
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata {
            collection: "documents".to_string(),
            tags: Vec::new(),
            modified: None,
            language: "en".to_string(),
        }
    }
}

/// A document to be stored.
#[derive(Debug, Clone, Default)]
pub struct NewDocument {
    /// The project-relative path, the document's key.
    pub path: String,
    /// What it is filtered by.
    pub metadata: Metadata,
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
    /// What the text is made of, as JSON, for cutting it in another way later.
    pub structure_json: Option<String>,
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
    /// What is searched by words and was embedded, when it differs from header and span; the title
    /// and the heading path are indexed anyway.
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
    /// What it is filtered by; tags in order of the alphabet.
    pub metadata: Metadata,
}

impl NewChunk {
    /// The chunk as it is read: the table header it continues, then the bytes of its span. `None`
    /// when `document` is another text than the one it was cut from.
    pub fn text<'a>(&self, document: &'a str) -> Option<Cow<'a, str>> {
        let text = document.get(self.span.clone())?;
        match &self.header {
            None => Some(Cow::Borrowed(text)),
            Some(header) => {
                Some(Cow::Owned(format!("{}\n{text}", document.get(header.clone())?.trim_end())))
            }
        }
    }
}

impl Store {
    /// Stores a document; one with the same path gets a new version, and its old chunks and vectors
    /// go. All in one transaction.
    pub fn put_document(&mut self, document: NewDocument) -> Result<DocumentId> {
        let target = self.target()?;
        self.change_documents(|transaction| put(transaction, document, &target))
    }

    /// Stores many documents in one transaction: either all are stored or none.
    pub fn put_documents(
        &mut self,
        documents: impl IntoIterator<Item = NewDocument>,
    ) -> Result<Vec<DocumentId>> {
        let target = self.target()?;
        self.change_documents(|transaction| {
            documents.into_iter().map(|document| put(transaction, document, &target)).collect()
        })
    }

    /// Changes what stored documents are filtered by, all in one transaction; their language stays,
    /// for it is that of their text. Returns how many of the paths there are.
    pub fn describe_documents(&mut self, described: &[(String, Metadata)]) -> Result<usize> {
        self.change_documents(|transaction| {
            let mut found = 0;
            for (path, metadata) in described {
                let id = transaction
                    .prepare_cached("SELECT id FROM documents WHERE path = ?1")?
                    .query_row([path], |row| row.get(0).map(DocumentId))
                    .optional()?;
                if let Some(id) = id {
                    describe(transaction, id, metadata)?;
                    found += 1;
                }
            }
            Ok(found)
        })
    }

    /// All documents, by path.
    pub fn documents(&self) -> Result<Vec<DocumentRow>> {
        self.read_all(&format!("{SELECT_DOCUMENT} ORDER BY d.path"), [self.index.0], document_row)
    }

    /// The document stored under `path`.
    pub fn document(&self, path: &str) -> Result<Option<DocumentRow>> {
        self.read_one(
            &format!("{SELECT_DOCUMENT} WHERE d.path = ?2"),
            (self.index.0, path),
            document_row,
        )
    }

    /// The canonical text of a document: of version `version`, or of the current one.
    pub fn document_text(&self, id: DocumentId, version: Option<u32>) -> Result<Option<String>> {
        let sql = "SELECT v.text FROM documents d JOIN versions v ON v.document = d.id
                   WHERE d.id = ?1 AND v.number = coalesce(?2, d.version)";
        self.read_one(sql, (id.0, version), |row| row.get(0))
    }

    /// The chunks of a document's current version with their numbers, in order, vectors left out.
    pub fn chunks(&self, id: DocumentId) -> Result<Vec<(ChunkId, NewChunk)>> {
        let sql = format!(
            "SELECT {CHUNK_COLUMNS} FROM chunks c WHERE c.document = ?1 AND c.index_id = ?2 ORDER BY c.id"
        );
        self.read_all(&sql, [id.0, self.index.0], chunk_row)
    }

    /// Removes a document with all its versions, chunks and vectors, and the trials that have seen
    /// its text. False when there was none.
    pub fn delete_document(&mut self, path: &str) -> Result<bool> {
        let Some(document) = self.document(path)? else { return Ok(false) };
        self.change_documents(|transaction| {
            flag_dependents(transaction, document.id, path)?;
            transaction.execute("DELETE FROM documents WHERE id = ?1", [document.id.0])?;
            Ok(true)
        })
    }

    /// Whether there is any document.
    pub fn has_documents(&self) -> Result<bool> {
        Ok(self
            .read_one("SELECT 1 FROM documents LIMIT 1", [], |row| row.get::<_, i64>(0))?
            .is_some())
    }

    /// The collections that hold a document, in order of the alphabet.
    pub fn collections(&self) -> Result<Vec<String>> {
        self.read_all("SELECT DISTINCT collection FROM documents ORDER BY 1", [], |row| row.get(0))
    }

    /// Whether all of these paths are documents of these collections. A path without a document is
    /// not.
    pub fn all_within(&self, paths: &[String], collections: &[String]) -> Result<bool> {
        let list = |names: &[String]| {
            let json = serde_json::to_string(names);
            json.map_err(|source| Error::Record { key: "paths".to_string(), source })
        };
        let sql = "
            SELECT 1 FROM json_each(?1) AS path WHERE NOT EXISTS (
                SELECT 1 FROM documents d WHERE d.path = path.value
                AND d.collection IN (SELECT value FROM json_each(?2)))
            LIMIT 1";
        let outside =
            self.read_one(sql, (list(paths)?, list(collections)?), |row| row.get::<_, i64>(0))?;
        Ok(outside.is_none())
    }
}

const SELECT_DOCUMENT: &str = "
    SELECT d.id, d.path, v.number, v.sha256, v.format, v.title, v.receipt,
           (SELECT count(*) FROM chunks c WHERE c.document = d.id AND c.index_id = ?1),
           octet_length(v.text), v.stored_at, d.collection, d.modified, d.language,
           (SELECT json_group_array(t.tag ORDER BY t.tag) FROM tags t WHERE t.document = d.id)
    FROM documents d JOIN versions v ON v.document = d.id AND v.number = d.version";

/// What [`chunk_row`] reads.
pub(crate) const CHUNK_COLUMNS: &str =
    "c.id, c.start, c.end, c.header_start, c.header_end, c.heading_path, c.indexed";

fn document_row(row: &Row<'_>) -> rusqlite::Result<DocumentRow> {
    Ok(DocumentRow {
        id: DocumentId(row.get(0)?),
        path: row.get(1)?,
        version: row.get(2)?,
        sha256: row.get(3)?,
        format: row.get(4)?,
        title: row.get(5)?,
        receipt_json: row.get(6)?,
        chunks: row.get(7)?,
        bytes: row.get(8)?,
        stored_at: row.get(9)?,
        metadata: Metadata {
            collection: row.get(10)?,
            modified: row.get(11)?,
            language: row.get(12)?,
            tags: strings(row, 13)?,
        },
    })
}

/// Reads [`CHUNK_COLUMNS`], the first seven of the row.
pub(crate) fn chunk_row(row: &Row<'_>) -> rusqlite::Result<(ChunkId, NewChunk)> {
    let header = match (row.get(3)?, row.get(4)?) {
        (Some(start), Some(end)) => Some(start..end),
        _ => None,
    };
    let chunk = NewChunk {
        span: row.get(1)?..row.get(2)?,
        header,
        heading_path: strings(row, 5)?,
        text_for_index: row.get(6)?,
        vector: None,
    };
    Ok((ChunkId(row.get(0)?), chunk))
}

/// Reads a list of strings from its JSON in column `at`.
pub(crate) fn strings(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<String>> {
    let json = row.get_ref(at)?.as_str()?;
    serde_json::from_str(json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, error.into()))
}

/// The index that chunks are stored for.
pub(crate) struct Target {
    pub(crate) index: IndexId,
    pub(crate) embedder: Option<Embedder>,
}

fn put(
    transaction: &Transaction<'_>,
    document: NewDocument,
    target: &Target,
) -> Result<DocumentId> {
    let path = &document.path;
    let existing = transaction
        .prepare_cached("SELECT id, version FROM documents WHERE path = ?1")?
        .query_row([path], |row| Ok((DocumentId(row.get(0)?), row.get::<_, u32>(1)?)))
        .optional()?;
    let (id, version) = match existing {
        Some((id, version)) => {
            flag_dependents(transaction, id, path)?;
            for outdated in [
                "DELETE FROM chunks WHERE document = ?1",
                "DELETE FROM indexed WHERE document = ?1",
                "DELETE FROM synthetic_questions WHERE document = ?1",
                "UPDATE versions SET structure = NULL WHERE document = ?1 AND structure IS NOT NULL",
            ] {
                transaction.prepare_cached(outdated)?.execute([id.0])?;
            }
            let sql = "UPDATE documents SET version = ?2, language = ?3 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute((
                id.0,
                version + 1,
                &document.metadata.language,
            ))?;
            (id, version + 1)
        }
        None => {
            let sql = "INSERT INTO documents (path, version, language) VALUES (?1, 1, ?2)";
            transaction.prepare_cached(sql)?.execute((path, &document.metadata.language))?;
            (DocumentId(transaction.last_insert_rowid()), 1)
        }
    };
    describe(transaction, id, &document.metadata)?;
    let sql =
        "INSERT INTO versions (document, number, sha256, format, title, text, receipt, stored_at, structure)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute((
        id.0,
        version,
        &document.sha256,
        &document.format,
        &document.title,
        &document.text,
        &document.receipt_json,
        now(),
        &document.structure_json,
    ))?;
    let text = DocumentText { id, path, text: &document.text };
    put_chunks(transaction, text, document.chunks, target)?;
    Ok(id)
}

/// A stored document whose text chunks are cut from.
#[derive(Clone, Copy)]
pub(crate) struct DocumentText<'a> {
    pub(crate) id: DocumentId,
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

/// Stores the chunks of a document's current version for an index that lacks it.
pub(crate) fn put_chunks(
    transaction: &Transaction<'_>,
    document: DocumentText<'_>,
    chunks: Vec<NewChunk>,
    target: &Target,
) -> Result<()> {
    let sql = "INSERT INTO indexed (index_id, document) VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute([target.index.0, document.id.0])?;
    chunks.into_iter().try_for_each(|chunk| put_chunk(transaction, document, chunk, target))
}

/// Writes what a document is filtered by.
fn describe(transaction: &Transaction<'_>, id: DocumentId, metadata: &Metadata) -> Result<()> {
    let sql = "UPDATE documents SET collection = ?2, modified = ?3 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute((id.0, &metadata.collection, metadata.modified))?;
    transaction.prepare_cached("DELETE FROM tags WHERE document = ?1")?.execute([id.0])?;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO tags (document, tag) VALUES (?1, ?2)")?;
    for tag in &metadata.tags {
        insert.execute((id.0, tag))?;
    }
    Ok(())
}

fn put_chunk(
    transaction: &Transaction<'_>,
    document: DocumentText<'_>,
    chunk: NewChunk,
    target: &Target,
) -> Result<()> {
    let DocumentText { id, path, text } = document;
    if chunk.text(text).is_none() {
        let Range { start, end } = chunk.span;
        return Err(Error::Span { path: path.to_string(), start, end });
    }
    let headings = serde_json::to_string(&chunk.heading_path)
        .map_err(|source| Error::Record { key: format!("headings of {path}"), source })?;
    let sql =
        "INSERT INTO chunks (document, start, end, header_start, header_end, heading_path, indexed, index_id)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    transaction.prepare_cached(sql)?.execute((
        id.0,
        chunk.span.start,
        chunk.span.end,
        chunk.header.as_ref().map(|header| header.start),
        chunk.header.as_ref().map(|header| header.end),
        headings,
        &chunk.text_for_index,
        target.index.0,
    ))?;
    let id = transaction.last_insert_rowid();
    if let Some(vector) = chunk.vector {
        let vector = checked(vector, target.embedder.as_ref(), path)?;
        transaction.prepare_cached(INSERT_VECTOR)?.execute((id, packed::pack(&vector)))?;
    }
    Ok(())
}

/// A document's text is about to change or go: trials that have seen it go with it, adapters
/// trained on it are flagged.
fn flag_dependents(transaction: &Transaction<'_>, id: DocumentId, path: &str) -> Result<()> {
    let sql =
        "DELETE FROM trials WHERE key IN (SELECT trial FROM trial_documents WHERE document = ?1)";
    transaction.prepare_cached(sql)?.execute([id.0])?;
    let sql = "UPDATE adapters SET stale = 1 WHERE name IN (SELECT adapter FROM adapter_documents WHERE path = ?1)";
    transaction.prepare_cached(sql)?.execute([path])?;
    Ok(())
}
