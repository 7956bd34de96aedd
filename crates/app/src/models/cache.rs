//! The folder where models are kept, and whether their files are whole.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::catalogue::{CatalogueEntry, ModelFile};
use super::hash::check_hash;
use crate::error::Error;

/// How much of a model is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All files are there, with their right lengths.
    Present,
    /// No file is there, or not all.
    Absent,
}

/// The folder where pulled models are kept, shared by all projects of a user.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$TUNESMITH_HOME`, else `$XDG_DATA_HOME/tunesmith`, else `~/.local/share/tunesmith`.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_lookup(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let root = if let Some(home) = variable("TUNESMITH_HOME") {
            PathBuf::from(home)
        } else if let Some(data) = variable("XDG_DATA_HOME") {
            Path::new(&data).join("tunesmith")
        } else {
            let home = variable("HOME").ok_or(Error::NoCacheFolder)?;
            Path::new(&home).join(".local/share/tunesmith")
        };
        Ok(Self { root })
    }

    /// A cache below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of a model, there or not.
    pub fn folder(&self, entry: &CatalogueEntry) -> PathBuf {
        self.root.join("models").join(entry.name)
    }

    /// Where packages are downloaded to before they are unpacked.
    pub(super) fn downloads(&self, entry: &CatalogueEntry) -> PathBuf {
        self.root.join("downloads").join(entry.name)
    }

    /// Whether the model is there, by the lengths of its files.
    pub fn status(&self, entry: &CatalogueEntry) -> Status {
        let folder = self.folder(entry);
        let whole = |file: &ModelFile| {
            fs::metadata(folder.join(file.name)).is_ok_and(|data| data.len() == file.bytes)
        };
        if entry.files.iter().all(whole) { Status::Present } else { Status::Absent }
    }

    /// Checks every file against its SHA-256. A file that was checked before and has not been
    /// touched since is not read again.
    ///
    /// # Errors
    /// [`Error::ModelAbsent`] when a file is missing, [`Error::WrongHash`] when one has another
    /// content.
    pub fn verify(&self, entry: &CatalogueEntry) -> Result<(), Error> {
        let folder = self.folder(entry);
        let stamps = FileStamps::read(&folder);
        let mut checked = FileStamps::default();
        for file in entry.files {
            let path = folder.join(file.name);
            let Ok(stamp) = FileStamp::of(&path, file.sha256) else {
                return Err(Error::ModelAbsent { name: entry.name.to_owned() });
            };
            if stamps.files.get(file.name) != Some(&stamp) {
                check_hash(&path, file.sha256)?;
            }
            checked.files.insert(file.name.to_owned(), stamp);
        }
        if checked != stamps {
            checked.write(&folder);
        }
        Ok(())
    }
}

/// What a checked file looked like, so that it need not be read again: hashing 100 MB at every
/// start would cost more than answering a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    sha256: String,
    bytes: u64,
    modified_ns: u128,
}

impl FileStamp {
    pub(super) fn of(path: &Path, sha256: &str) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        let modified = data.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { sha256: sha256.to_owned(), bytes: data.len(), modified_ns: modified.as_nanos() })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamps {
    pub(super) files: BTreeMap<String, FileStamp>,
}

impl FileStamps {
    const FILE: &str = "verified.json";

    fn read(folder: &Path) -> Self {
        fs::read(folder.join(Self::FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// A cache that cannot be written (shared, read-only) is still usable: then the files are
    /// hashed at every start.
    pub(super) fn write(&self, folder: &Path) {
        if let Ok(bytes) = serde_json::to_vec_pretty(self) {
            let _ = fs::write(folder.join(Self::FILE), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::ModelKind;
    use super::*;

    #[test]
    fn cache_folder_follows_the_environment() {
        let lookup = |pairs: &'static [(&str, &str)]| {
            Cache::from_lookup(move |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            })
        };
        assert_eq!(
            lookup(&[("TUNESMITH_HOME", "/a"), ("HOME", "/h")]).unwrap().root,
            Path::new("/a")
        );
        assert_eq!(
            lookup(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]).unwrap().root,
            Path::new("/x/tunesmith")
        );
        assert_eq!(lookup(&[("HOME", "/h")]).unwrap().root, Path::new("/h/.local/share/tunesmith"));
        assert!(matches!(lookup(&[]), Err(Error::NoCacheFolder)));
    }

    const TINY: CatalogueEntry = CatalogueEntry {
        name: "tiny",
        kind: ModelKind::Generator,
        package: "tiny",
        version: "1",
        package_bytes: 3,
        licence: "none",
        about: "",
        entry_point: "",
        files: &[ModelFile {
            archived: "tiny/a",
            name: "a",
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            bytes: 3,
        }],
    };

    #[test]
    fn verify_reads_again_what_was_touched() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        assert!(matches!(cache.verify(&TINY), Err(Error::ModelAbsent { .. })));
        let folder = cache.folder(&TINY);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a"), "abc").unwrap();
        cache.verify(&TINY).unwrap();
        assert_eq!(cache.status(&TINY), Status::Present);
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(folder.join("a"), "abd").unwrap();
        assert!(matches!(cache.verify(&TINY), Err(Error::WrongHash { .. })));
    }
}
