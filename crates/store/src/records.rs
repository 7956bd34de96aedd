//! Records of what was measured, decided and trained, kept as JSON under a key.

use serde::Serialize;

use crate::{Result, Store};

/// A stored comparison or decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number, rising with time.
    pub id: i64,
    /// The question set.
    pub set: String,
    /// Seconds since 1970.
    pub at: i64,
    /// The record itself.
    pub json: String,
}

/// One opening of a test split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestOpening {
    /// The question set.
    pub set: String,
    /// Why it was opened.
    pub reason: String,
    /// Seconds since 1970.
    pub at: i64,
}

/// A training (or other long) execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Its key.
    pub id: String,
    /// What it does, such as `tune`.
    pub kind: String,
    /// Where it stands, such as `running`, `done`, `failed` or `interrupted`.
    pub state: String,
    /// Details.
    pub json: String,
    /// Last change, in seconds since 1970.
    pub at: i64,
}

/// A trained adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// What it was trained on and with, and where it lies.
    pub json: String,
    /// Seconds since 1970.
    pub at: i64,
    /// True when a document it was trained with has been edited or deleted since.
    pub stale: bool,
}

impl Store {
    /// The trial stored under `key`, a hash of everything it depends on.
    pub fn trial(&self, key: &str) -> Result<Option<String>> {
        let _ = key;
        unimplemented!()
    }
    /// Stores (or replaces) a trial.
    pub fn put_trial(&mut self, key: &str, set: &str, arm: &str, qid: &str, json: &str) -> Result<()> {
        let _ = (key, set, arm, qid, json);
        unimplemented!()
    }
    /// Number of trials stored for a question set.
    pub fn count_trials(&self, set: &str) -> Result<usize> {
        let _ = set;
        unimplemented!()
    }
    /// Notes that the test split of `set` was opened.
    pub fn log_test_opening(&mut self, set: &str, reason: &str) -> Result<()> {
        let _ = (set, reason);
        unimplemented!()
    }
    /// All openings of the test split of `set`, oldest first.
    pub fn test_openings(&self, set: &str) -> Result<Vec<TestOpening>> {
        let _ = set;
        unimplemented!()
    }
    /// Stores a comparison and returns its number.
    pub fn put_comparison(&mut self, set: &str, json: &str) -> Result<i64> {
        let _ = (set, json);
        unimplemented!()
    }
    /// The newest comparison of `set`.
    pub fn latest_comparison(&self, set: &str) -> Result<Option<Record>> {
        let _ = set;
        unimplemented!()
    }
    /// Stores a decision and returns its number.
    pub fn put_decision(&mut self, set: &str, json: &str) -> Result<i64> {
        let _ = (set, json);
        unimplemented!()
    }
    /// The newest decision of `set`.
    pub fn latest_decision(&self, set: &str) -> Result<Option<Record>> {
        let _ = set;
        unimplemented!()
    }
    /// Stores (or replaces) a job.
    pub fn put_job(&mut self, id: &str, kind: &str, state: &str, json: &str) -> Result<()> {
        let _ = (id, kind, state, json);
        unimplemented!()
    }
    /// The job stored under `id`.
    pub fn job(&self, id: &str) -> Result<Option<Job>> {
        let _ = id;
        unimplemented!()
    }
    /// All jobs, newest first.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        unimplemented!()
    }
    /// Stores (or replaces) an adapter. `documents` are the paths of the documents whose text it was trained on:
    /// when one of them changes or goes, the adapter is flagged stale.
    pub fn put_adapter(&mut self, name: &str, json: &str, documents: &[String]) -> Result<()> {
        let _ = (name, json, documents);
        unimplemented!()
    }
    /// The adapter stored under `name`.
    pub fn adapter(&self, name: &str) -> Result<Option<Adapter>> {
        let _ = name;
        unimplemented!()
    }
    /// All adapters by name.
    pub fn adapters(&self) -> Result<Vec<Adapter>> {
        unimplemented!()
    }
    /// Forgets an adapter. False when there was none.
    pub fn delete_adapter(&mut self, name: &str) -> Result<bool> {
        let _ = name;
        unimplemented!()
    }
    /// A setting's value.
    pub fn setting(&self, key: &str) -> Result<Option<String>> {
        let _ = key;
        unimplemented!()
    }
    /// Stores (or replaces) a setting.
    pub fn put_setting(&mut self, key: &str, value: &str) -> Result<()> {
        let _ = (key, value);
        unimplemented!()
    }
}
