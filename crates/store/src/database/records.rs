//! Records of what was measured and decided, as JSON: trials, openings of test splits, comparisons
//! and decisions.

use rusqlite::{OptionalExtension, Row};
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
    /// A hash of everything that the comparison depends on; `None` when it was opened for something
    /// else.
    pub run: Option<String>,
    /// What was fixed before the opening, as JSON.
    pub terms: Option<String>,
    /// The comparison that came of it; `None` when it was interrupted, or opened for something
    /// else.
    pub comparison: Option<i64>,
}

/// A comparison that is about to open a test split.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonOpening<'a> {
    /// The question set.
    pub set: &'a str,
    /// Why it is opened.
    pub reason: &'a str,
    /// A hash of everything that the comparison depends on.
    pub run: &'a str,
    /// What is fixed from here on, as JSON.
    pub terms: &'a str,
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

    /// Notes that a comparison opens the test split of its set, and returns the number of the
    /// opening. If the last opening was of the same run for the same reason and nothing came of it,
    /// the run was interrupted and goes on: that opening still counts, and no other is noted.
    pub fn log_comparison_opening(&mut self, opening: &ComparisonOpening<'_>) -> Result<i64> {
        let ComparisonOpening { set, reason, run, terms } = *opening;
        self.change(|transaction| {
            let sql = "SELECT id, run, comparison, reason FROM split_openings
                       WHERE question_set = ?1 ORDER BY id DESC LIMIT 1";
            let last = transaction
                .query_row(sql, [set], |row| {
                    let run: Option<String> = row.get(1)?;
                    Ok((row.get(0)?, run, row.get(2)?, row.get::<_, String>(3)?))
                })
                .optional()?;
            if let Some((id, Some(last), None::<i64>, why)) = last
                && (last.as_str(), why.as_str()) == (run, reason)
            {
                return Ok(id);
            }
            let sql = "INSERT INTO split_openings (question_set, reason, opened_at, run, terms)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, (set, reason, now(), run, terms))?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// All openings of the test split of `set`, oldest first.
    pub fn test_openings(&self, set: &str) -> Result<Vec<TestOpening>> {
        let sql = "SELECT question_set, reason, opened_at, run, terms, comparison
                   FROM split_openings WHERE question_set = ?1 ORDER BY id";
        self.read_all(sql, [set], |row| {
            Ok(TestOpening {
                set: row.get(0)?,
                reason: row.get(1)?,
                at: row.get(2)?,
                run: row.get(3)?,
                terms: row.get(4)?,
                comparison: row.get(5)?,
            })
        })
    }

    /// Stores a comparison, which `opening` led to, and returns its number.
    pub fn put_comparison(&mut self, set: &str, json: &str, opening: Option<i64>) -> Result<i64> {
        self.change(|transaction| {
            let sql = "INSERT INTO comparisons (question_set, json, stored_at) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (set, json, now()))?;
            let comparison = transaction.last_insert_rowid();
            let sql = "UPDATE split_openings SET comparison = ?1 WHERE id = ?2";
            transaction.execute(sql, (comparison, opening))?;
            Ok(comparison)
        })
    }

    /// The comparisons of `set`, newest first.
    pub fn comparisons(&self, set: &str) -> Result<Vec<Record>> {
        let sql =
            "SELECT id, question_set, stored_at, json FROM comparisons WHERE question_set = ?1
                   ORDER BY id DESC";
        self.read_all(sql, [set], record)
    }

    /// Stores a decision and returns its number.
    pub fn put_decision(&mut self, set: &str, json: &str) -> Result<i64> {
        self.change(|transaction| {
            let sql = "INSERT INTO decisions (question_set, json, stored_at) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (set, json, now()))?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// The newest decision of `set`.
    pub fn latest_decision(&self, set: &str) -> Result<Option<Record>> {
        let sql = "SELECT id, question_set, stored_at, json FROM decisions WHERE question_set = ?1
                   ORDER BY id DESC LIMIT 1";
        self.read_one(sql, [set], record)
    }
}

/// A comparison or decision, from number, set, time and JSON.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { id: row.get(0)?, set: row.get(1)?, at: row.get(2)?, json: row.get(3)? })
}
