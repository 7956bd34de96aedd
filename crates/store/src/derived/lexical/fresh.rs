//! Bringing the text index up to date with the database.

use std::collections::HashSet;
use std::path::Path;

use super::index::Lexical;
use super::layout::Stamp;
use crate::database::schema;
use crate::derived::files::{READS, leftovers};
use crate::{ChunkId, Error, Result, Store};

impl Store {
    /// The text index on disk, or the open one where that cannot be read just now or is no newer;
    /// `None` if there is neither.
    pub(crate) fn committed_lexical(&self, open: Option<Lexical>) -> Result<Option<Lexical>> {
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
    pub(crate) fn fresh_lexical(&self, open: Option<Lexical>, generation: i64) -> Result<Lexical> {
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
        for leftover in leftovers(root, &root.join((number - 1).to_string())) {
            std::fs::remove_dir_all(&leftover).map_err(|source| Error::io(&leftover, source))?;
        }
        let built = Lexical::build(&folder, stamp, |take| self.searched_texts(0, take))?;
        self.put_file_number(schema::LEXICAL, number)?;
        for leftover in leftovers(root, &folder) {
            // Nothing depends on it any more; if it cannot go now, the next rebuild tries again.
            let _ = std::fs::remove_dir_all(&leftover);
        }
        Ok(built)
    }
}
