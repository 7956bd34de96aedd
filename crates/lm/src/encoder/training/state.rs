//! The resumable state of a run, in one file: weights, moments, and how far it has come.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::EmbedderTraining;
use crate::files::float_file::{self, FloatFile, Floats, Values};
use crate::{Error, Result};

/// Raised when the file's content changes; files of other versions are refused.
const VERSION: &str = "embedder-1";

impl EmbedderTraining {
    /// Writes what [`EmbedderTraining::resume`] goes on from, with a `note` of the caller's:
    /// complete or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_state(&self, path: &Path, note: &str) -> Result<()> {
        let vectors = [
            ("params", &self.values),
            ("moments.first", &self.adam.first),
            ("moments.second", &self.adam.second),
        ];
        let tensors = vectors.map(|(name, values)| Floats {
            name: name.to_owned(),
            shape: vec![values.len()],
            values: Values::Single(values),
        });
        let mut metadata = BTreeMap::from([
            ("version".to_owned(), VERSION.to_owned()),
            ("step".to_owned(), self.step.to_string()),
            ("note".to_owned(), note.to_owned()),
        ]);
        metadata.extend(
            self.fingerprint.iter().map(|(name, value)| (format!("run.{name}"), value.clone())),
        );
        float_file::write(path, &tensors, &metadata)
    }

    /// Goes on from the state at `path`: the rest of the run takes the course it would have taken.
    /// Returns the note saved with it, or `None` when there is no such file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it belongs to another run or version; [`Error::Malformed`];
    /// [`Error::Io`].
    pub fn resume(&mut self, path: &Path) -> Result<Option<String>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let file = FloatFile::parse(path, &bytes)?;
        let refused = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
        let said = |name: &str| file.metadata.get(name).map(String::as_str);
        if said("version") != Some(VERSION) {
            return Err(refused(format!("it is no state of version {VERSION}")));
        }
        for (name, ours) in &self.fingerprint {
            if said(&format!("run.{name}")) != Some(ours) {
                return Err(refused(format!("it belongs to a run with another {name}")));
            }
        }
        let step =
            said("step").and_then(|step| step.parse().ok()).filter(|step| *step <= self.steps());
        let Some(step) = step else {
            return Err(refused("it does not say how far it has come".into()));
        };
        let of_length = |name: &str| match file.singles(name) {
            Ok(values) if values.len() == self.values.len() => Ok(values),
            Ok(values) => Err(refused(format!(
                "{name}: {} numbers, expected {}",
                values.len(),
                self.values.len()
            ))),
            Err(error) => Err(error),
        };
        let (values, first, second) =
            (of_length("params")?, of_length("moments.first")?, of_length("moments.second")?);
        let note = said("note").unwrap_or_default().to_owned();
        (self.values, self.adam.first, self.adam.second) = (values, first, second);
        (self.adam.updates, self.step) = (step as u64, step);
        Ok(Some(note))
    }
}
