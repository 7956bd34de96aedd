//! Questions that a model wrote about passages. They belong to a document's version: when it
//! changes or goes, so do they.

use std::ops::Range;

use serde::Serialize;

use crate::{DocumentId, Result, Store, now};

/// A question that a model wrote about a passage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Synthetic {
    /// Its number.
    pub id: i64,
    /// The document's path.
    pub path: String,
    /// Bytes of the current version's text that it is about.
    pub span: Range<usize>,
    /// The question.
    pub question: String,
    /// The model that wrote it.
    pub made_by: String,
}

impl Store {
    /// Stores a question about bytes of a document's current version.
    pub fn put_synthetic(
        &mut self,
        document: DocumentId,
        span: &Range<usize>,
        question: &str,
        made_by: &str,
    ) -> Result<()> {
        self.change(|transaction| {
            let sql =
                "INSERT INTO synthetic_questions (document, start, end, question, made_by, made_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction
                .execute(sql, (document.0, span.start, span.end, question, made_by, now()))?;
            Ok(())
        })
    }

    /// All of them, the oldest first.
    pub fn synthetic(&self) -> Result<Vec<Synthetic>> {
        let sql = "SELECT q.id, d.path, q.start, q.end, q.question, q.made_by
                   FROM synthetic_questions q JOIN documents d ON d.id = q.document ORDER BY q.id";
        self.read_all(sql, [], |row| {
            Ok(Synthetic {
                id: row.get(0)?,
                path: row.get(1)?,
                span: row.get(2)?..row.get(3)?,
                question: row.get(4)?,
                made_by: row.get(5)?,
            })
        })
    }

    /// Removes all of them; returns how many there were.
    pub fn drop_synthetic(&mut self) -> Result<usize> {
        self.change(|transaction| Ok(transaction.execute("DELETE FROM synthetic_questions", [])?))
    }
}
