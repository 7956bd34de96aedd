//! Chunks' vectors, and the embedder they come from.

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use super::packed;
use crate::{ChunkId, Error, IndexId, Result, Store};

/// Where an index's vectors come from. All vectors of an index come from one embedder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// The model's identity: a name with a checksum, anything that changes when its vectors do.
    pub identity: String,
    /// Numbers in a vector.
    pub dimension: usize,
}

impl Store {
    /// The embedder that the vectors of the index come from.
    pub fn embedder(&self) -> Result<Option<Embedder>> {
        let sql = "SELECT embedder FROM indexes WHERE id = ?1 AND embedder IS NOT NULL";
        let Some(json) = self.read_one(sql, [self.index.0], |row| row.get::<_, String>(0))? else {
            return Ok(None);
        };
        parsed(&json).map(Some)
    }

    /// Puts the embedder of the index on record; refuses another one while it has vectors of the
    /// first.
    pub fn use_embedder(&mut self, embedder: &Embedder) -> Result<()> {
        let stored = self.embedder()?;
        if stored.as_ref() == Some(embedder) {
            return Ok(());
        }
        let sql = "SELECT v.chunk FROM vectors v JOIN chunks c ON c.id = v.chunk WHERE c.index_id = ?1 LIMIT 1";
        let vectors: Option<i64> = self.read_one(sql, [self.index.0], |row| row.get(0))?;
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
            _ => {
                let index = self.index;
                self.change_documents(|transaction| record_embedder(transaction, index, embedder))
            }
        }
    }

    /// The vector of a chunk, as good as it is stored: to a 64,000th of its largest number.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the database holds another number of bytes than the embedder
    /// makes.
    pub fn vector(&self, chunk: ChunkId) -> Result<Option<Vec<f32>>> {
        let packed: Option<Vec<u8>> =
            self.read_one("SELECT vector FROM vectors WHERE chunk = ?1", [chunk.0], |row| {
                row.get(0)
            })?;
        let Some((packed, embedder)) = packed.zip(self.embedder()?) else { return Ok(None) };
        let vector = packed::unpack(&packed).filter(|vector| vector.len() == embedder.dimension);
        vector.map(Some).ok_or_else(|| Error::Dimension {
            embedder: embedder.identity,
            expected: embedder.dimension,
            given: packed::packed_numbers(packed.len()),
        })
    }
}

/// Stores a vector.
pub(crate) const INSERT_VECTOR: &str = "INSERT INTO vectors (chunk, vector) VALUES (?1, ?2)";

/// A vector as it is stored: of the embedder's dimension, finite, of unit length.
pub(crate) fn checked(
    vector: Vec<f32>,
    embedder: Option<&Embedder>,
    what: &str,
) -> Result<Vec<f32>> {
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
    Ok(packed::unit(vector))
}

pub(crate) fn record_embedder(
    transaction: &Transaction<'_>,
    index: IndexId,
    embedder: &Embedder,
) -> Result<()> {
    let json = serde_json::to_string(embedder)
        .map_err(|source| Error::Record { key: "embedder".to_string(), source })?;
    transaction.execute("UPDATE indexes SET embedder = ?2 WHERE id = ?1", (index.0, json))?;
    Ok(())
}

/// Reads an embedder as the database holds it.
pub(crate) fn parsed(json: &str) -> Result<Embedder> {
    serde_json::from_str(json)
        .map_err(|source| Error::Record { key: "embedder".to_string(), source })
}
