//! Bringing what is derived from the database up to date with it, whoever has changed it.

use std::collections::HashSet;
use std::path::Path;

use crate::lexical::{self, Lexical, Stamp};
use crate::lock::{Hold, Lock};
use crate::{ChunkId, Derived, Error, Result, Store, schema};

/// How often files are read that another process may be replacing.
pub(crate) const READS: usize = 3;

impl Derived {
    /// Whether words, meaning or both are of this generation.
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

    /// The text index on disk, or the open one where that cannot be read just now or is no newer;
    /// `None` if there is neither.
    fn committed_lexical(&self, open: Option<Lexical>) -> Result<Option<Lexical>> {
        if open.as_ref().is_some_and(Lexical::is_on_disk) {
            return Ok(open);
        }
        // The writer may clear files away while they are read.
        for _ in 0..READS {
            let folder = self.files("lexical").join(self.file_number(schema::LEXICAL)?.to_string());
            let stamp = Stamp::new(&self.identity()?, self.generation()?);
            if let Some(lexical) = Lexical::open(&folder, &stamp) {
                return Ok(Some(lexical));
            }
        }
        Ok(open)
    }

    /// A text index of the current generation: the open one, or the one on disk, brought up to
    /// date, or a new one.
    fn fresh_lexical(&self, open: Option<Lexical>, generation: i64) -> Result<Lexical> {
        let stamp = Stamp::new(&self.identity()?, generation);
        let root = self.files("lexical");
        let number = self.file_number(schema::LEXICAL)?;
        let folder = root.join(number.to_string());
        // Another process may have written since.
        let open = open.filter(Lexical::is_on_disk);
        if let Some(lexical) = open.or_else(|| Lexical::open(&folder, &stamp)) {
            if *lexical.stamp() == stamp {
                return Ok(lexical);
            }
            // Chunks never change under their number, so comparing numbers finds every difference.
            let indexed = lexical.chunks();
            let stored = self.chunk_ids()?;
            let gone: HashSet<ChunkId> = indexed.difference(&stored).copied().collect();
            let new = stored.difference(&indexed).count();
            // Mostly different: a new index is as fast, and keeps nothing of what was deleted.
            if (gone.len() + new) * 2 <= stored.len() {
                let first = stored.difference(&indexed).map(|chunk| chunk.0).min();
                let updated = lexical.update(stamp.clone(), &gone, |take| {
                    let Some(first) = first else { return Ok(()) };
                    self.searched_texts(first - 1, &mut |searched| {
                        if indexed.contains(&searched.chunk) { Ok(()) } else { take(searched) }
                    })
                });
                if let Ok(updated) = updated {
                    return Ok(updated);
                }
            }
        }
        self.rebuild_lexical(&root, number + 1, stamp)
    }

    /// Builds the text index beside the old one; it counts from the moment the database names it.
    fn rebuild_lexical(&self, root: &Path, number: u64, stamp: Stamp) -> Result<Lexical> {
        let folder = root.join(number.to_string());
        for leftover in lexical::leftovers(root, &root.join((number - 1).to_string())) {
            std::fs::remove_dir_all(&leftover).map_err(|source| Error::io(&leftover, source))?;
        }
        let built = Lexical::build(&folder, stamp, |take| self.searched_texts(0, take))?;
        self.put_file_number(schema::LEXICAL, number)?;
        for leftover in lexical::leftovers(root, &folder) {
            // Nothing depends on it any more; if it cannot go now, the next rebuild tries again.
            let _ = std::fs::remove_dir_all(&leftover);
        }
        Ok(built)
    }

    pub(crate) fn chunk_ids(&self) -> Result<HashSet<ChunkId>> {
        let sql = "SELECT id FROM chunks WHERE index_id = ?1";
        let ids = self.read_all(sql, [self.index.0], |row| row.get(0).map(ChunkId))?;
        Ok(ids.into_iter().collect())
    }
}
