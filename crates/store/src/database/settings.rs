//! Settings: one text under each key.

use rusqlite::Connection;

use crate::{Error, Result, Store};

impl Store {
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

/// Stores (or replaces) a setting, the store's own ones too.
pub(crate) fn put_setting(connection: &Connection, key: &str, value: &str) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((key, value))?;
    Ok(())
}
