//! Chunks' vectors, and the embedder they come from.

use std::collections::HashSet;

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use crate::{ChunkId, Error, Result, Store, schema, vectors};

/// Where a project's vectors come from. All vectors of a project come from one embedder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// The model's identity: a name with a checksum, anything that changes when its vectors do.
    pub identity: String,
    /// Numbers in a vector.
    pub dimension: usize,
}

impl Store {
    /// The embedder the project's vectors come from.
    pub fn embedder(&self) -> Result<Option<Embedder>> {
        let Some(json) = self.setting(schema::EMBEDDER)? else { return Ok(None) };
        let read = serde_json::from_str(&json);
        read.map(Some).map_err(|source| Error::Record { key: schema::EMBEDDER.to_string(), source })
    }

    /// Puts the embedder on record; refuses another one while vectors of the first are stored.
    pub fn use_embedder(&mut self, embedder: &Embedder) -> Result<()> {
        let stored = self.embedder()?;
        if stored.as_ref() == Some(embedder) {
            return Ok(());
        }
        let vectors: Option<i64> =
            self.read_one("SELECT chunk FROM vectors LIMIT 1", [], |row| row.get(0))?;
        match stored {
            Some(stored) if vectors.is_some() => Err(if stored.identity == embedder.identity {
                Error::Dimension {
                    embedder: stored.identity,
                    expected: stored.dimension,
                    given: embedder.dimension,
                }
            } else {
                Error::Embedder { stored: stored.identity, given: embedder.identity.clone() }
            }),
            _ => self.change_documents(|transaction| record_embedder(transaction, embedder)),
        }
    }

    /// The vector of a chunk.
    pub fn vector(&self, chunk: ChunkId) -> Result<Option<Vec<f32>>> {
        let bytes: Option<Vec<u8>> =
            self.read_one("SELECT vector FROM vectors WHERE chunk = ?1", [chunk.0], |row| row.get(0))?;
        Ok(bytes.map(|bytes| vectors::numbers(&bytes)))
    }

    /// Changes the embedder: replaces the vectors of all chunks in one transaction.
    ///
    /// # Errors
    /// [`Error::Options`] unless there is one vector for each chunk, [`Error::Dimension`], [`Error::NotFinite`]; the old vectors
    /// are then still there.
    pub fn replace_vectors(&mut self, embedder: &Embedder, vectors: &[(ChunkId, Vec<f32>)]) -> Result<()> {
        let given: HashSet<ChunkId> = vectors.iter().map(|(chunk, _)| *chunk).collect();
        let stored = self.chunk_ids()?;
        if given != stored || vectors.len() != stored.len() {
            let said = format!("{} vectors were given for {} chunks", vectors.len(), stored.len());
            return Err(Error::Options(said));
        }
        self.change_documents(|transaction| {
            record_embedder(transaction, embedder)?;
            transaction.execute("DELETE FROM vectors", [])?;
            // Files made of the old vectors count no more, even if the new embedder bears the old one's name.
            transaction.execute(schema::FORGET_VECTOR_FILES, [])?;
            let mut insert = transaction.prepare_cached(INSERT_VECTOR)?;
            for (chunk, vector) in vectors {
                let vector = checked(vector.clone(), Some(embedder), "a new embedder")?;
                insert.execute((chunk.0, vectors::bytes(&vector)))?;
            }
            Ok(())
        })?;
        // The same chunk numbers have other vectors now.
        self.derived.borrow_mut().vectors = None;
        Ok(())
    }
}

/// Stores a vector.
pub(crate) const INSERT_VECTOR: &str = "INSERT INTO vectors (chunk, vector) VALUES (?1, ?2)";

/// A vector as it is stored: of the embedder's dimension, finite, of unit length.
pub(crate) fn checked(vector: Vec<f32>, embedder: Option<&Embedder>, what: &str) -> Result<Vec<f32>> {
    let Some(embedder) = embedder else { return Err(Error::NoEmbedder) };
    if vector.len() != embedder.dimension {
        return Err(Error::Dimension {
            embedder: embedder.identity.clone(),
            expected: embedder.dimension,
            given: vector.len(),
        });
    }
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(Error::NotFinite { what: what.to_string() });
    }
    Ok(vectors::unit(vector))
}

fn record_embedder(transaction: &Transaction<'_>, embedder: &Embedder) -> Result<()> {
    let json = serde_json::to_string(embedder)
        .map_err(|source| Error::Record { key: schema::EMBEDDER.to_string(), source })?;
    crate::records::put_setting(transaction, schema::EMBEDDER, &json)
}
