//! Records of what was measured and decided, as JSON: trials, openings of test splits, comparisons
//! and decisions.

use serde::Serialize;

use crate::{DocumentId, Result, Store, now};

/// A trial to be stored: one system, one question.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// A hash of everything it depends on.
    pub key: &'a str,
    /// The question set.
    pub set: &'a str,
    /// The arm that answered.
    pub arm: &'a str,
    /// The question.
    pub qid: &'a str,
    /// The record itself.
    pub json: &'a str,
}

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

impl Store {
    /// The trial stored under `key`, a hash of everything it depends on.
    pub fn trial(&self, key: &str) -> Result<Option<String>> {
        self.read_one("SELECT json FROM trials WHERE key = ?1", [key], |row| row.get(0))
    }

    /// Stores (or replaces) a trial. When one of `documents`, whose text stood in the prompt, is
    /// edited or deleted, the trial goes too.
    pub fn put_trial(&mut self, trial: &Trial<'_>, documents: &[DocumentId]) -> Result<()> {
        let Trial { key, set, arm, qid, json } = *trial;
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
}
