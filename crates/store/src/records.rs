//! Records of what was measured, decided and trained, kept as JSON under a key.

use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::{DocumentId, Error, Result, Store, now};

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
        self.read_one("SELECT json FROM trials WHERE key = ?1", [key], |row| row.get(0))
    }

    /// Stores (or replaces) a trial. When one of `documents`, whose text stood in the prompt, is
    /// edited or deleted, the trial goes too.
    pub fn put_trial(
        &mut self,
        key: &str,
        set: &str,
        arm: &str,
        qid: &str,
        json: &str,
        documents: &[DocumentId],
    ) -> Result<()> {
        self.change(|transaction| {
            let sql = "INSERT OR REPLACE INTO trials (key, question_set, arm, qid, json, stored_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction.prepare_cached(sql)?.execute((key, set, arm, qid, json, now()))?;
            let sql = "INSERT OR IGNORE INTO trial_documents (trial, document) VALUES (?1, ?2)";
            for document in documents {
                transaction.prepare_cached(sql)?.execute((key, document.0))?;
            }
            Ok(())
        })
    }

    /// Number of trials stored for a question set.
    pub fn count_trials(&self, set: &str) -> Result<usize> {
        let sql = "SELECT count(*) FROM trials WHERE question_set = ?1";
        Ok(self.read_one(sql, [set], |row| row.get(0))?.unwrap_or(0))
    }

    /// Notes that the test split of `set` was opened.
    pub fn log_test_opening(&mut self, set: &str, reason: &str) -> Result<()> {
        self.change(|transaction| {
            let sql =
                "INSERT INTO split_openings (question_set, reason, opened_at) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (set, reason, now()))?;
            Ok(())
        })
    }

    /// All openings of the test split of `set`, oldest first.
    pub fn test_openings(&self, set: &str) -> Result<Vec<TestOpening>> {
        let sql = "SELECT question_set, reason, opened_at FROM split_openings WHERE question_set = ?1 ORDER BY id";
        self.read_all(sql, [set], |row| {
            Ok(TestOpening { set: row.get(0)?, reason: row.get(1)?, at: row.get(2)? })
        })
    }

    /// Stores a comparison and returns its number.
    pub fn put_comparison(&mut self, set: &str, json: &str) -> Result<i64> {
        self.put_record("comparisons", set, json)
    }

    /// The newest comparison of `set`.
    pub fn latest_comparison(&self, set: &str) -> Result<Option<Record>> {
        self.latest_record("comparisons", set)
    }

    /// Stores a decision and returns its number.
    pub fn put_decision(&mut self, set: &str, json: &str) -> Result<i64> {
        self.put_record("decisions", set, json)
    }

    /// The newest decision of `set`.
    pub fn latest_decision(&self, set: &str) -> Result<Option<Record>> {
        self.latest_record("decisions", set)
    }

    fn put_record(&mut self, table: &str, set: &str, json: &str) -> Result<i64> {
        self.change(|transaction| {
            let sql =
                format!("INSERT INTO {table} (question_set, json, stored_at) VALUES (?1, ?2, ?3)");
            transaction.execute(&sql, (set, json, now()))?;
            Ok(transaction.last_insert_rowid())
        })
    }

    fn latest_record(&self, table: &str, set: &str) -> Result<Option<Record>> {
        let sql = format!(
            "SELECT id, question_set, stored_at, json FROM {table} WHERE question_set = ?1 ORDER BY id DESC LIMIT 1"
        );
        self.read_one(&sql, [set], |row| {
            Ok(Record { id: row.get(0)?, set: row.get(1)?, at: row.get(2)?, json: row.get(3)? })
        })
    }

    /// Stores (or replaces) a job.
    pub fn put_job(&mut self, id: &str, kind: &str, state: &str, json: &str) -> Result<()> {
        self.change(|transaction| {
            let sql =
                "INSERT OR REPLACE INTO jobs (id, kind, state, json, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, (id, kind, state, json, now()))?;
            Ok(())
        })
    }

    /// The job stored under `id`.
    pub fn job(&self, id: &str) -> Result<Option<Job>> {
        self.read_one(&format!("{SELECT_JOB} WHERE id = ?1"), [id], job_row)
    }

    /// All jobs, newest first.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        self.read_all(&format!("{SELECT_JOB} ORDER BY changed_at DESC, rowid DESC"), [], job_row)
    }

    /// Stores (or replaces) an adapter. `documents` are the paths of the documents whose text it
    /// was trained on: when one of them changes or goes, the adapter is flagged stale.
    pub fn put_adapter(&mut self, name: &str, json: &str, documents: &[String]) -> Result<()> {
        self.change(|transaction| {
            let sql = "INSERT OR REPLACE INTO adapters (name, json, stale, stored_at) VALUES (?1, ?2, 0, ?3)";
            transaction.execute(sql, (name, json, now()))?;
            let sql = "INSERT OR IGNORE INTO adapter_documents (adapter, path) VALUES (?1, ?2)";
            for path in documents {
                transaction.prepare_cached(sql)?.execute((name, path))?;
            }
            Ok(())
        })
    }

    /// The adapter stored under `name`.
    pub fn adapter(&self, name: &str) -> Result<Option<Adapter>> {
        self.read_one(&format!("{SELECT_ADAPTER} WHERE name = ?1"), [name], adapter_row)
    }

    /// The paths of the documents that an adapter was trained with, of which some may be gone;
    /// `None` for no such adapter.
    pub fn adapter_documents(&self, name: &str) -> Result<Option<Vec<String>>> {
        if self.adapter(name)?.is_none() {
            return Ok(None);
        }
        let sql = "SELECT path FROM adapter_documents WHERE adapter = ?1 ORDER BY path";
        self.read_all(sql, [name], |row| row.get(0)).map(Some)
    }

    /// All adapters by name.
    pub fn adapters(&self) -> Result<Vec<Adapter>> {
        self.read_all(&format!("{SELECT_ADAPTER} ORDER BY name"), [], adapter_row)
    }

    /// Forgets an adapter. False when there was none.
    pub fn delete_adapter(&mut self, name: &str) -> Result<bool> {
        self.change(|transaction| {
            Ok(transaction.execute("DELETE FROM adapters WHERE name = ?1", [name])? > 0)
        })
    }

    /// A setting's value.
    pub fn setting(&self, key: &str) -> Result<Option<String>> {
        self.read_one("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
    }

    /// Stores (or replaces) a setting. Keys that begin with `store/` are the store's own and
    /// refused.
    pub fn put_setting(&mut self, key: &str, value: &str) -> Result<()> {
        if key.starts_with("store/") {
            return Err(Error::Options(format!("the setting {key} belongs to the store")));
        }
        self.change(|transaction| put_setting(transaction, key, value))
    }
}

const SELECT_JOB: &str = "SELECT id, kind, state, json, changed_at FROM jobs";

fn job_row(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: row.get(0)?,
        kind: row.get(1)?,
        state: row.get(2)?,
        json: row.get(3)?,
        at: row.get(4)?,
    })
}

const SELECT_ADAPTER: &str = "SELECT name, json, stored_at, stale FROM adapters";

fn adapter_row(row: &Row<'_>) -> rusqlite::Result<Adapter> {
    Ok(Adapter { name: row.get(0)?, json: row.get(1)?, at: row.get(2)?, stale: row.get(3)? })
}

/// Stores (or replaces) a setting, the store's own ones too.
pub(crate) fn put_setting(connection: &Connection, key: &str, value: &str) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((key, value))?;
    Ok(())
}
