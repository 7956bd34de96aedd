//! What a model was read from, as one hash.

use std::fs::{File, Metadata};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::error::Cause;
use crate::{Error, Result};

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 1 << 20;

/// The SHA-256, in hex, of texts and files and of their lengths. It is computed when it is first
/// asked for, since an answer needs none: hashing a model takes about as long as loading it.
#[derive(Debug)]
pub(crate) struct Identity {
    texts: Vec<Vec<u8>>,
    files: Vec<Opened>,
    hash: OnceLock<Result<String, Unhashed>>,
}

/// A file as it was when the weights were read from it; what takes its name later is another.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
    length: u64,
    modified: Option<SystemTime>,
}

/// The file that could not be hashed, and why; shared, as it is reported whenever the hash is asked
/// for.
#[derive(Debug)]
struct Unhashed {
    path: PathBuf,
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

/// The model in memory is not the one that the file now holds.
#[derive(Debug, thiserror::Error)]
#[error("it was written after the model had been read from it")]
struct Rewritten;

impl Identity {
    /// Of texts, then of opened files.
    pub(crate) fn of<'a>(
        texts: Vec<Vec<u8>>,
        files: impl IntoIterator<Item = (&'a Path, &'a File)>,
    ) -> Result<Self> {
        let open = |(path, file): (&Path, &File)| {
            let opened = || {
                let metadata = file.metadata()?;
                let (length, modified) = stamp(&metadata);
                Ok(Opened { path: path.to_owned(), file: file.try_clone()?, length, modified })
            };
            opened().map_err(Error::io(path))
        };
        let files = files.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { texts, files, hash: OnceLock::new() })
    }

    /// A name for what was read from nowhere.
    pub(crate) fn named(name: String) -> Self {
        Self { texts: Vec::new(), files: Vec::new(), hash: OnceLock::from(Ok(name)) }
    }

    /// The hash.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a file cannot be read any more, or has been written since.
    pub(crate) fn get(&self) -> Result<&str> {
        let hash = self.hash.get_or_init(|| self.compute());
        hash.as_deref().map_err(|Unhashed { path, cause }| {
            Error::malformed(path, "model")(Box::new(Arc::clone(cause)) as Cause)
        })
    }

    fn compute(&self) -> Result<String, Unhashed> {
        let mut hash = Sha256::new();
        for text in &self.texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        for opened in &self.files {
            let cause: Arc<dyn std::error::Error + Send + Sync> = match opened.add_to(&mut hash) {
                Ok(true) => continue,
                Ok(false) => Arc::new(Rewritten),
                Err(error) => Arc::new(error),
            };
            return Err(Unhashed { path: opened.path.clone(), cause });
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Opened {
    /// Adds length and contents; false if the file is not what it was.
    fn add_to(&self, hash: &mut Sha256) -> std::io::Result<bool> {
        hash.update(self.length.to_le_bytes());
        let mut file = &self.file;
        file.rewind()?;
        let (mut chunk, mut length) = (vec![0; CHUNK], 0);
        loop {
            let count = file.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            hash.update(&chunk[..count]);
            length += count as u64;
        }
        Ok(length == self.length && stamp(&self.file.metadata()?) == (self.length, self.modified))
    }
}

fn stamp(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// SHA-256, in hex, of the parts and their lengths.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_parts_and_notices_a_file_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let contents: Vec<u8> = (0..3 * CHUNK / 2).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &contents).unwrap();
        let open = || {
            Identity::of(vec![b"text".to_vec()], [(&*path, &File::open(&path).unwrap())]).unwrap()
        };
        let (first, second) = (open(), open());
        let expected = fingerprint([&b"text"[..], &contents]);
        assert_eq!(first.get().unwrap(), expected);
        // Another file under the same name is not what was opened, and does not matter.
        std::fs::write(folder.path().join("other"), b"new").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert_eq!(second.get().unwrap(), expected);
        let third = open();
        std::fs::write(&path, b"newer").unwrap();
        assert!(third.get().unwrap_err().to_string().contains("written after"));
        assert_eq!(first.get().unwrap(), expected);
    }
}
