//! Where derived files lie. Each kind has a folder a build, by number; the database names the one
//! that counts.

use std::path::{Path, PathBuf};

use crate::database::{schema, settings};
use crate::{IndexId, Result, Store};

/// How often files are read that another process may be replacing.
pub(crate) const READS: usize = 3;

impl Store {
    /// What tells the index's files from those of another database or index.
    pub(crate) fn identity(&self) -> Result<String> {
        let database = self.setting(schema::IDENTITY)?.unwrap_or_default();
        Ok(format!("{database}/{}", self.index.0))
    }

    pub(crate) fn folder_of(&self, index: IndexId) -> PathBuf {
        self.folder.join("indexes").join(index.0.to_string())
    }

    /// Where the index's files of one kind lie.
    pub(crate) fn files(&self, kind: &str) -> PathBuf {
        self.folder_of(self.index).join(kind)
    }

    /// The number of the index's files that count, of the kind that `setting` is about.
    pub(crate) fn file_number(&self, setting: &str) -> Result<u64> {
        let number = self.setting(&format!("{setting}{}", self.index.0))?;
        Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    pub(crate) fn put_file_number(&self, setting: &str, number: u64) -> Result<()> {
        settings::put_setting(
            &self.connection,
            &format!("{setting}{}", self.index.0),
            &number.to_string(),
        )
    }

    /// Derived files of formats before there were several indexes. What cannot go now goes the next
    /// time.
    pub(crate) fn remove_old_files(&self) {
        for kind in ["lexical", "vectors"] {
            let _ = std::fs::remove_dir_all(self.folder.join(kind));
        }
    }
}

/// Folders of a kind's builds below `root` other than `current`, left by a rebuild or a crash.
pub(crate) fn leftovers(root: &Path, current: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path != current).collect()
}
