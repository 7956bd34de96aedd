//! What is derived from the database: the text index and the vectors, and bringing both up to date
//! with it, whoever has changed it.

pub(crate) mod files;
pub(crate) mod lexical;
mod places;
mod top_chunks;
pub(crate) mod vectors;

use std::collections::HashSet;

use self::lexical::Lexical;
use self::vectors::Vectors;
use crate::database::lock::{Hold, Lock};
use crate::{ChunkId, Result, Store};

pub(crate) use self::vectors::GRAPH_FROM;

/// What is derived, each part with the generation of the database that it was derived from.
#[derive(Default)]
pub(crate) struct Derived {
    pub(crate) lexical: Option<Lexical>,
    pub(crate) vectors: Option<(i64, Vectors)>,
}

impl Derived {
    /// Whether the text index (`words`), the vectors (`meaning`) or both are of this generation.
    fn is_of(&self, generation: i64, words: bool, meaning: bool) -> bool {
        (!words
            || self
                .lexical
                .as_ref()
                .is_some_and(|lexical| lexical.stamp().generation == generation))
            && (!meaning || self.vectors.as_ref().is_some_and(|(of, _)| *of == generation))
    }
}

impl Store {
    /// Brings the derived indexes up to date with the database now, instead of at the next search.
    pub fn commit_index(&mut self) -> Result<()> {
        self.refresh(true, self.embedder()?.is_some())?;
        Ok(())
    }

    /// Brings up to date what a search will use; returns the generation it is of. What another
    /// process that writes has yet to commit stays as it was.
    pub(crate) fn refresh(&self, words: bool, meaning: bool) -> Result<i64> {
        let generation = self.generation()?;
        if self.derived.borrow().is_of(generation, words, meaning) {
            return Ok(generation);
        }
        let refreshed = match &self.hold {
            Hold::Always { .. } => self.bring_up_to_date(words, meaning),
            Hold::WhileWriting(path) => match Lock::try_take(path)? {
                Some(_lock) => self.bring_up_to_date(words, meaning),
                None => self.follow(words, meaning),
            },
        };
        refreshed.map_err(|error| error.settle(&self.folder))
    }

    /// Derives what a search will use from the database as it is. The lock is held.
    fn bring_up_to_date(&self, words: bool, meaning: bool) -> Result<i64> {
        let generation = self.generation()?;
        let mut derived = self.derived.borrow_mut();
        if words && !derived.is_of(generation, true, false) {
            derived.lexical = Some(self.fresh_lexical(derived.lexical.take(), generation)?);
        }
        if meaning && !derived.is_of(generation, false, true) {
            let table = derived.vectors.take().map(|(_, table)| table);
            derived.vectors = Some((generation, self.fresh_vectors(table, generation)?));
        }
        Ok(generation)
    }

    /// Follows another process, which holds the lock: vectors are read from the database, words as
    /// far as that process has committed them.
    fn follow(&self, words: bool, meaning: bool) -> Result<i64> {
        let generation = self.generation()?;
        let mut derived = self.derived.borrow_mut();
        if words && !derived.is_of(generation, true, false) {
            derived.lexical = self.committed_lexical(derived.lexical.take())?;
            if derived.lexical.is_none() {
                // Words were never indexed, or the index is damaged.
                drop(derived);
                let _lock = self.keep_others_out()?;
                return self.bring_up_to_date(words, meaning);
            }
        }
        if meaning && !derived.is_of(generation, false, true) {
            let table = derived.vectors.take().map(|(_, table)| table);
            derived.vectors = Some((generation, self.current_vectors(table)?));
        }
        Ok(generation)
    }

    pub(crate) fn chunk_ids(&self) -> Result<HashSet<ChunkId>> {
        let sql = "SELECT id FROM chunks WHERE index_id = ?1";
        let ids = self.read_all(sql, [self.index.0], |row| row.get(0).map(ChunkId))?;
        Ok(ids.into_iter().collect())
    }
}
