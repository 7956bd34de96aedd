//! Trained adapters, and whether what they were trained on still stands.

use rusqlite::Row;
use serde::Serialize;

use crate::{Result, Store, now};

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

    /// Forgets an adapter. False when there was none.
    pub fn delete_adapter(&mut self, name: &str) -> Result<bool> {
        self.change(|transaction| {
            Ok(transaction.execute("DELETE FROM adapters WHERE name = ?1", [name])? > 0)
        })
    }
}

const SELECT_ADAPTER: &str = "SELECT name, json, stored_at, stale FROM adapters";

fn adapter_row(row: &Row<'_>) -> rusqlite::Result<Adapter> {
    Ok(Adapter { name: row.get(0)?, json: row.get(1)?, at: row.get(2)?, stale: row.get(3)? })
}
