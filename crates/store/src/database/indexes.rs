//! Ways of cutting and embedding side by side. One index is in use; others are built beside it,
//! compared with it, and kept to go back to.
//!
//! A document that changes or goes leaves every index in the same transaction. Its new version
//! comes into the index that the store looks at; the others lack it until they are filled again.

use serde::Serialize;

use super::documents::{DocumentText, Target, put_chunks};
use super::embeddings::{Embedder, parsed, record_embedder};
use super::{schema, settings};
use crate::{DocumentId, Error, IndexId, NewChunk, Result, Store, now};

/// An index, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexRow {
    /// Its number.
    pub id: IndexId,
    /// How documents are cut and embedded, as JSON; `None` where nobody wrote it down.
    pub recipe: Option<String>,
    /// Where its vectors come from.
    pub embedder: Option<Embedder>,
    /// Its chunks.
    pub chunks: usize,
    /// Documents it lacks.
    pub lacking: usize,
    /// Whether it is the one in use.
    pub in_use: bool,
    /// When it was begun, in seconds since 1970.
    pub made_at: i64,
}

/// A document that an index lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// Its number.
    pub id: DocumentId,
    /// Its path.
    pub path: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Its own title.
    pub title: Option<String>,
    /// The canonical text.
    pub text: String,
    /// What the text is made of, as JSON; `None` where nobody wrote it down.
    pub structure_json: Option<String>,
}

impl Store {
    /// The index that is looked at: searched, and filled by [`Store::put_documents`].
    pub fn index(&self) -> IndexId {
        self.index
    }

    /// The index in use, which a newly opened store looks at.
    pub fn index_in_use(&self) -> Result<IndexId> {
        let number = self.setting(schema::INDEX)?.and_then(|number| number.parse().ok());
        Ok(IndexId(number.unwrap_or(1)))
    }

    /// All indexes, the oldest first.
    pub fn indexes(&self) -> Result<Vec<IndexRow>> {
        let in_use = self.index_in_use()?;
        let sql = "
            SELECT i.id, i.recipe, i.embedder, i.made_at,
                   (SELECT count(*) FROM chunks c WHERE c.index_id = i.id),
                   (SELECT count(*) FROM documents)
                       - (SELECT count(*) FROM indexed d WHERE d.index_id = i.id)
            FROM indexes i ORDER BY i.id";
        let rows = self.read_all(sql, [], |row| {
            let id = IndexId(row.get(0)?);
            let embedder: Option<String> = row.get(2)?;
            let row = IndexRow {
                id,
                recipe: row.get(1)?,
                embedder: None,
                chunks: row.get(4)?,
                lacking: row.get(5)?,
                in_use: id == in_use,
                made_at: row.get(3)?,
            };
            Ok((row, embedder))
        })?;
        let with_embedder = |(row, embedder): (IndexRow, Option<String>)| {
            Ok(IndexRow { embedder: embedder.map(|json| parsed(&json)).transpose()?, ..row })
        };
        rows.into_iter().map(with_embedder).collect()
    }

    /// Makes an empty index.
    pub fn new_index(&mut self, recipe: &str, embedder: &Embedder) -> Result<IndexId> {
        self.change(|transaction| {
            let sql = "INSERT INTO indexes (recipe, made_at) VALUES (?1, ?2)";
            transaction.execute(sql, (recipe, now()))?;
            let index = IndexId(transaction.last_insert_rowid());
            record_embedder(transaction, index, embedder)?;
            Ok(index)
        })
    }

    /// Writes down how the documents of the index are cut and embedded.
    pub fn put_recipe(&mut self, recipe: &str) -> Result<()> {
        let index = self.index;
        self.change(|transaction| {
            transaction
                .execute("UPDATE indexes SET recipe = ?2 WHERE id = ?1", (index.0, recipe))?;
            Ok(())
        })
    }

    /// How the documents of the index are cut and embedded, as JSON; `None` where nobody wrote it
    /// down.
    pub fn recipe(&self) -> Result<Option<String>> {
        let recipe =
            self.read_one("SELECT recipe FROM indexes WHERE id = ?1", [self.index.0], |row| {
                row.get(0)
            })?;
        Ok(recipe.flatten())
    }

    /// Looks at another index, as long as this store is open.
    pub fn look_at(&mut self, index: IndexId) -> Result<()> {
        self.known(index)?;
        if index != self.index {
            self.index = index;
            self.derived.take();
            self.filters.take();
        }
        Ok(())
    }

    /// Takes an index into use, and looks at it.
    ///
    /// # Errors
    /// [`Error::NoIndex`]; [`Error::Lacking`] unless it has every document.
    pub fn use_index(&mut self, index: IndexId) -> Result<()> {
        match self.known(index)?.lacking {
            0 => {
                settings::put_setting(&self.connection, schema::INDEX, &index.0.to_string())?;
                self.look_at(index)
            }
            lacking => Err(Error::Lacking { index: index.0, lacking }),
        }
    }

    /// Removes an index with its chunks, vectors and files.
    ///
    /// # Errors
    /// [`Error::NoIndex`]; [`Error::InUse`] for the one in use or looked at.
    pub fn drop_index(&mut self, index: IndexId) -> Result<()> {
        if self.known(index)?.in_use || index == self.index {
            return Err(Error::InUse(index.0));
        }
        self.change(|transaction| {
            transaction.execute("DELETE FROM chunks WHERE index_id = ?1", [index.0])?;
            transaction.execute("DELETE FROM indexes WHERE id = ?1", [index.0])?;
            let files = [schema::LEXICAL, schema::VECTORS].map(|kind| format!("{kind}{}", index.0));
            transaction.execute("DELETE FROM settings WHERE key IN (?1, ?2)", files)?;
            Ok(())
        })?;
        let folder = self.folder_of(index);
        match std::fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&folder, source))
            }
            _ => Ok(()),
        }
    }

    /// Documents that the index lacks, by number; at most `count`.
    pub fn unindexed(&self, count: usize) -> Result<Vec<Unindexed>> {
        let sql = "
            SELECT d.id, d.path, v.sha256, v.title, v.text, v.structure FROM documents d
            JOIN versions v ON v.document = d.id AND v.number = d.version
            WHERE NOT EXISTS (SELECT 1 FROM indexed i WHERE i.index_id = ?1 AND i.document = d.id)
            ORDER BY d.id LIMIT ?2";
        self.read_all(sql, (self.index.0, count), |row| {
            Ok(Unindexed {
                id: DocumentId(row.get(0)?),
                path: row.get(1)?,
                sha256: row.get(2)?,
                title: row.get(3)?,
                text: row.get(4)?,
                structure_json: row.get(5)?,
            })
        })
    }

    /// Stores the chunks of documents that the index lacks, all in one transaction.
    pub fn index_documents(&mut self, documents: Vec<(Unindexed, Vec<NewChunk>)>) -> Result<()> {
        let target = self.target()?;
        self.change_documents(|transaction| {
            documents.into_iter().try_for_each(|(document, chunks)| {
                let Unindexed { id, path, text, .. } = &document;
                put_chunks(transaction, DocumentText { id: *id, path, text }, chunks, &target)
            })
        })
    }

    /// The index that new chunks are stored for.
    pub(crate) fn target(&self) -> Result<Target> {
        Ok(Target { index: self.index, embedder: self.embedder()? })
    }

    fn known(&self, index: IndexId) -> Result<IndexRow> {
        self.indexes()?.into_iter().find(|row| row.id == index).ok_or(Error::NoIndex(index.0))
    }
}
