//! A project: a folder with `tunesmith.toml`, what the user wrote, and `.tunesmith/`, what
//! tunesmith keeps.

pub mod access;
pub mod collections;
pub mod config;
pub mod keys;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext};
use crate::project::config::Config;

/// The folder for tunesmith's own state, below a project's folder.
pub const STATE: &str = ".tunesmith";

/// An opened project.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder that holds `tunesmith.toml`.
    pub root: PathBuf,
    /// What the file says.
    pub config: Config,
}

impl Project {
    /// Opens the project in `root`.
    ///
    /// # Errors
    /// [`Error::NoProject`], [`Error::Problems`] for a file that does not validate.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let file = root.join(config::FILE);
        if !file.is_file() {
            return Err(Error::NoProject(root.to_owned()));
        }
        let root = fs::canonicalize(root).context("open", root)?;
        Ok(Self { config: Config::read(&file)?, root })
    }

    /// Opens the project of `folder` or of the nearest folder above it.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let folder = fs::canonicalize(folder).context("open", folder)?;
        match folder.ancestors().find(|candidate| candidate.join(config::FILE).is_file()) {
            Some(root) => Self::open(root),
            None => Err(Error::NoProject(folder)),
        }
    }

    /// Writes a new project's `tunesmith.toml` into `root`, and an empty `documents` folder.
    ///
    /// # Errors
    /// [`Error::ProjectExists`] when there is one: nothing is overwritten.
    pub fn init(root: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(root).context("create the folder", root)?;
        let root = fs::canonicalize(root).context("open", root)?;
        let name = root.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy());
        let path = root.join(config::FILE);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|source| {
                match source.kind() {
                    std::io::ErrorKind::AlreadyExists => Error::ProjectExists(path.clone()),
                    _ => Error::Io { action: "create", path: path.clone(), source },
                }
            })?;
        file.write_all(config::template(&name).as_bytes()).context("write", &path)?;
        let documents = root.join("documents");
        fs::create_dir_all(&documents).context("create the folder", &documents)?;
        Ok(path)
    }

    /// A path of the configuration, made absolute.
    pub fn path(&self, written: &Path) -> PathBuf {
        self.root.join(written)
    }

    /// How a file is called in the store: relative to the project's folder, with `/`; absolute when
    /// it lies outside.
    pub fn name_of(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        inside.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    }

    /// The state folder, created on first use.
    pub fn state(&self) -> Result<PathBuf, Error> {
        let state = self.root.join(STATE);
        fs::create_dir_all(&state).context("create the folder", &state)?;
        Ok(state)
    }

    /// The folder of an adapter.
    pub fn adapter_folder(&self, set: &str, recipe: &str, seed: u64) -> PathBuf {
        self.root.join(STATE).join("adapters").join(set).join(recipe).join(format!("seed-{seed}"))
    }

    /// The folder of tuned embedders, created on first use.
    pub fn embedders(&self) -> Result<PathBuf, Error> {
        let folder = self.root.join(STATE).join("embedders");
        fs::create_dir_all(&folder).context("create the folder", &folder)?;
        Ok(folder)
    }

    /// The folder of reports.
    pub fn reports(&self) -> PathBuf {
        self.root.join(STATE).join("reports")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_below_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("acme");
        assert!(matches!(Project::find(folder.path()), Err(Error::NoProject(_))));
        Project::init(&root).unwrap();
        let below = root.join("documents/deep");
        fs::create_dir_all(&below).unwrap();
        let project = Project::find(&below).unwrap();
        assert_eq!(project.config.name, "acme");
        assert_eq!(project.name_of(&project.root.join("documents/a.md")), "documents/a.md");
        assert!(matches!(Project::init(&root), Err(Error::ProjectExists(_))));
    }
}
