//! The resumable state of a training run, in one file.
//!
//! A checkpoint is a safetensors file: the weights, AdamW's moments, the best weights so far and
//! the history as tensors (so that every bit survives), counters and the fingerprint of the run as
//! metadata. It is written beside its final place and renamed: a crash leaves the older or the
//! newer one, never half of one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::history::{Evaluation, History, StepRecord};
use crate::files::float_file::{self, FloatFile, Floats, Values};
use crate::{Error, Result};

/// Raised when the file's content changes; files of other versions are refused.
const VERSION: &str = "1";
const FILE: &str = "checkpoint.safetensors";

/// What a run is, apart from how far it has come: runs with equal fingerprints take the same
/// course. Name of a part to its value, both readable, so that a refusal can say what differs.
pub(crate) type Fingerprint = BTreeMap<String, String>;

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RunProgress {
    /// Optimiser steps made.
    pub step: usize,
    /// Step of the last evaluation (0 = none yet), so that a resumed run neither skips nor repeats
    /// one.
    pub evaluated: usize,
    /// Evaluations since the best one.
    pub stale: usize,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// The course so far.
    pub history: History,
    /// Tokens run forward and backward.
    pub tokens: usize,
    /// Tokens of these that carried loss.
    pub trained_tokens: usize,
    /// Seconds spent, over all processes.
    pub seconds: f64,
}

/// The vectors of a run, one number per adapter parameter: borrowed for writing, owned after
/// reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vectors<'a> {
    /// Adapter weights.
    pub params: Cow<'a, [f32]>,
    /// AdamW's first moments.
    pub first: Cow<'a, [f32]>,
    /// AdamW's second moments.
    pub second: Cow<'a, [f32]>,
}

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Best {
    pub step: usize,
    pub dev_loss: f64,
    pub params: Vec<f32>,
}

/// Where the checkpoint of `folder` lies.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Writes a checkpoint into `folder`, which is made when missing.
///
/// # Errors
/// [`Error::Io`]; an earlier checkpoint is then still whole.
pub(crate) fn save(
    folder: &Path,
    progress: &RunProgress,
    vectors: &Vectors<'_>,
    fingerprint: &Fingerprint,
) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let steps = &progress.history.steps;
    let evaluations = &progress.history.evaluations;
    let mut tensors = vec![
        singles("params", &vectors.params),
        singles("moments.first", &vectors.first),
        singles("moments.second", &vectors.second),
        doubles("history.loss", steps.iter().map(|record| record.loss)),
        doubles("history.learning_rate", steps.iter().map(|record| record.learning_rate)),
        doubles("history.gradient_norm", steps.iter().map(|record| record.gradient_norm)),
        // Steps stay far below 2^53, where f64 is exact.
        doubles("history.dev_step", evaluations.iter().map(|record| record.step as f64)),
        doubles("history.dev_loss", evaluations.iter().map(|record| record.dev_loss)),
        doubles("seconds", [progress.seconds]),
    ];
    let mut metadata: BTreeMap<String, String> = [
        ("version", VERSION.to_owned()),
        ("step", progress.step.to_string()),
        ("evaluated", progress.evaluated.to_string()),
        ("stale", progress.stale.to_string()),
        ("tokens", progress.tokens.to_string()),
        ("trained_tokens", progress.trained_tokens.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(best) = &progress.best {
        tensors.push(singles("best.params", &best.params));
        tensors.push(doubles("best.dev_loss", [best.dev_loss]));
        metadata.insert("best_step".into(), best.step.to_string());
    }
    metadata.extend(fingerprint.iter().map(|(name, value)| (format!("run.{name}"), value.clone())));
    float_file::write(&path(folder), &tensors, &metadata)
}

/// Reads the checkpoint of `folder`; `None` when there is none.
///
/// # Errors
/// [`Error::Checkpoint`] when it is of another version, belongs to another run (all differences are
/// named) or has another number of parameters; [`Error::Malformed`]; [`Error::Io`].
pub(crate) fn load(
    folder: &Path,
    fingerprint: &Fingerprint,
    parameters: usize,
) -> Result<Option<(RunProgress, Vectors<'static>)>> {
    let path = path(folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let file = FloatFile::parse(&path, &bytes)?;
    check_run(&path, &file.metadata, fingerprint)?;
    let progress = read_progress(&file)?;
    let vectors = Vectors {
        params: file.singles("params")?.into(),
        first: file.singles("moments.first")?.into(),
        second: file.singles("moments.second")?.into(),
    };
    check_lengths(&path, &progress, &vectors, parameters)?;
    Ok(Some((progress, vectors)))
}

/// Refuses a checkpoint of another version or of another run.
fn check_run(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    fingerprint: &Fingerprint,
) -> Result<()> {
    let reason = match metadata.get("version").map(String::as_str) {
        Some(VERSION) => {
            let differences = differences(metadata, fingerprint);
            if differences.is_empty() {
                return Ok(());
            }
            format!("it belongs to another run: {}", differences.join("; "))
        }
        Some(other) => format!("it is of version {other}, this program reads version {VERSION}"),
        None => "it is not a training checkpoint".to_owned(),
    };
    Err(refused(path, reason))
}

/// Refuses vectors of another length than the run's, and a history of another length than the
/// steps it counts.
fn check_lengths(
    path: &Path,
    progress: &RunProgress,
    vectors: &Vectors<'_>,
    parameters: usize,
) -> Result<()> {
    let best = progress.best.as_ref().map_or(parameters, |best| best.params.len());
    for found in [vectors.params.len(), vectors.first.len(), vectors.second.len(), best] {
        if found != parameters {
            let reason = format!("it holds {found} parameters, this run has {parameters}");
            return Err(refused(path, reason));
        }
    }
    let (counted, listed) = (progress.step, progress.history.steps.len());
    if listed != counted {
        return Err(refused(path, format!("it counts {counted} steps and lists {listed}")));
    }
    Ok(())
}

fn refused(path: &Path, reason: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason }
}

fn read_progress(file: &FloatFile<'_>) -> Result<RunProgress> {
    let (steps, evaluations) = read_history(file)?;
    let best = match file.metadata.get("best_step") {
        None => None,
        Some(_) => Some(Best {
            step: count(file, "best_step")?,
            dev_loss: single_double(file, "best.dev_loss")?,
            params: file.singles("best.params")?,
        }),
    };
    Ok(RunProgress {
        step: count(file, "step")?,
        evaluated: count(file, "evaluated")?,
        stale: count(file, "stale")?,
        best,
        history: History { steps, evaluations },
        tokens: count(file, "tokens")?,
        trained_tokens: count(file, "trained_tokens")?,
        seconds: single_double(file, "seconds")?,
    })
}

/// What differs between the fingerprint in a file and this run's, one clause each.
fn differences(metadata: &BTreeMap<String, String>, here: &Fingerprint) -> Vec<String> {
    let absent = "absent".to_owned();
    let stored: Fingerprint = metadata
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("run.")?.to_owned(), value.clone())))
        .collect();
    let names: BTreeSet<&String> = stored.keys().chain(here.keys()).collect();
    names
        .into_iter()
        .filter(|name| stored.get(*name) != here.get(*name))
        .map(|name| {
            let value = |from: &Fingerprint| from.get(name).unwrap_or(&absent).clone();
            format!("{name} is {} here, {} in the checkpoint", value(here), value(&stored))
        })
        .collect()
}

fn read_history(file: &FloatFile<'_>) -> Result<(Vec<StepRecord>, Vec<Evaluation>)> {
    let loss = file.doubles("history.loss")?;
    let rate = file.doubles("history.learning_rate")?;
    let norm = file.doubles("history.gradient_norm")?;
    let steps = loss
        .into_iter()
        .zip(rate)
        .zip(norm)
        .map(|((loss, learning_rate), gradient_norm)| StepRecord {
            loss,
            learning_rate,
            gradient_norm,
        })
        .collect();
    let dev_step = file.doubles("history.dev_step")?;
    let dev_loss = file.doubles("history.dev_loss")?;
    let evaluations = dev_step
        .into_iter()
        .zip(dev_loss)
        .map(|(step, dev_loss)| Evaluation { step: step as usize, dev_loss })
        .collect();
    Ok((steps, evaluations))
}

fn count(file: &FloatFile<'_>, name: &str) -> Result<usize> {
    let value = file.metadata.get(name).and_then(|text| text.parse().ok());
    value.ok_or_else(|| file.wrong(format!("metadata `{name}` is no count")))
}

fn single_double(file: &FloatFile<'_>, name: &str) -> Result<f64> {
    match file.doubles(name)?[..] {
        [value] => Ok(value),
        ref other => {
            Err(file.wrong(format!("tensor `{name}` has {} numbers, expected 1", other.len())))
        }
    }
}

fn singles<'a>(name: &str, values: &'a [f32]) -> Floats<'a> {
    Floats { name: name.to_owned(), shape: vec![values.len()], values: Values::Single(values) }
}

fn doubles<'a>(name: &str, values: impl IntoIterator<Item = f64>) -> Floats<'a> {
    let values: Vec<f64> = values.into_iter().collect();
    Floats { name: name.to_owned(), shape: vec![values.len()], values: Values::Double(values) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn progress() -> RunProgress {
        let steps = (0..3)
            .map(|step| StepRecord {
                loss: 1.0 / (3.0 + f64::from(step)),
                learning_rate: 1e-3 / 7.0,
                gradient_norm: f64::MIN_POSITIVE,
            })
            .collect();
        RunProgress {
            step: 3,
            evaluated: 2,
            stale: 1,
            best: Some(Best { step: 2, dev_loss: 0.3, params: vec![7.0, 8.0, 9.0] }),
            history: History {
                steps,
                evaluations: vec![Evaluation { step: 2, dev_loss: 0.1 + 0.2 }],
            },
            tokens: 1234,
            trained_tokens: 56,
            seconds: 7.7,
        }
    }

    fn vectors() -> Vectors<'static> {
        Vectors {
            params: vec![0.1, -0.0, f32::MIN_POSITIVE / 2.0].into(),
            first: vec![1.0, 2.0, 3.0].into(),
            second: vec![4.0, 5.0, 6.0].into(),
        }
    }

    fn saved(folder: &Path) {
        save(folder, &progress(), &vectors(), &fingerprint()).unwrap();
    }

    fn fingerprint() -> Fingerprint {
        [("model", "abc"), ("option seed", "1")].map(|(a, b)| (a.to_owned(), b.to_owned())).into()
    }

    #[test]
    fn every_bit_survives() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path(), &fingerprint(), 3).unwrap(), None);
        for progress in [progress(), RunProgress { best: None, ..progress() }] {
            save(folder.path(), &progress, &vectors(), &fingerprint()).unwrap();
            let loaded = load(folder.path(), &fingerprint(), 3).unwrap().unwrap();
            assert_eq!(loaded, (progress, vectors()));
            assert!(loaded.1.params[1].is_sign_negative());
        }
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "no temporary file is left");
    }

    #[test]
    fn equal_states_give_equal_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        saved(a.path());
        saved(b.path());
        assert_eq!(fs::read(path(a.path())).unwrap(), fs::read(path(b.path())).unwrap());
    }

    #[test]
    fn another_run_is_refused_with_every_difference() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        let mut other = fingerprint();
        other.insert("option seed".into(), "2".into());
        other.insert("dev data".into(), "d".into());
        let error = load(folder.path(), &other, 3).unwrap_err().to_string();
        assert!(error.contains("dev data is d here, absent in the checkpoint"), "{error}");
        assert!(error.contains("option seed is 2 here, 1 in the checkpoint"), "{error}");
        assert!(!error.contains("model"), "{error}");
        assert!(
            load(folder.path(), &fingerprint(), 4)
                .unwrap_err()
                .to_string()
                .contains("3 parameters")
        );
    }

    #[test]
    fn broken_files_are_refused_never_believed() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        let file = path(folder.path());
        let whole = fs::read(&file).unwrap();
        for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert!(load(folder.path(), &fingerprint(), 3).is_err(), "cut to {length} bytes");
        }
        let version = b"\"version\":\"1\"";
        let at = whole.windows(version.len()).position(|window| window == version).unwrap();
        let mut newer = whole.clone();
        newer[at + version.len() - 2] = b'2';
        fs::write(&file, newer).unwrap();
        assert!(
            load(folder.path(), &fingerprint(), 3).unwrap_err().to_string().contains("version 2")
        );
    }

    /// The file format of version 1, as written by an earlier build.
    #[test]
    fn a_stored_checkpoint_of_version_1_still_loads() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path()), include_bytes!("../../fixtures/checkpoint_v1.safetensors"))
            .unwrap();
        assert_eq!(
            load(folder.path(), &fingerprint(), 3).unwrap().unwrap(),
            (progress(), vectors())
        );
    }
}
