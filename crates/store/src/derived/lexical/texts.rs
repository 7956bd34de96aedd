//! What a chunk is searched by: the title and headings that its text does not start with, then its
//! text.

use std::borrow::Cow;

use rusqlite::Row;

use crate::database::documents::{CHUNK_COLUMNS, chunk_row};
use crate::{ChunkId, DocumentId, NewChunk, Result, Store};

/// A chunk as it is searched.
pub(crate) struct Searched<'a> {
    pub(crate) chunk: ChunkId,
    pub(crate) document: DocumentId,
    /// ISO 639-1 code of its language.
    pub(crate) language: &'a str,
    pub(crate) text: &'a str,
}

/// What takes chunks in, one after the other.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Searched<'_>) -> Result<()>;

impl Store {
    /// Hands over every chunk with a number above `above`, by rising number, with the words it is
    /// searched by: the title and headings that its text does not start with, then its text.
    pub(crate) fn searched_texts(&self, above: i64, take: Take<'_>) -> Result<()> {
        let sql = format!(
            "SELECT {CHUNK_COLUMNS}, c.document FROM chunks c WHERE c.index_id = ?1 AND c.id > ?2 ORDER BY c.id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([self.index.0, above])?;
        // Chunks of a document follow each other, so its text is read once.
        let mut document: Option<(i64, Read)> = None;
        while let Some(row) = rows.next()? {
            let (id, chunk) = chunk_row(row)?;
            let number: i64 = row.get(7)?;
            if document.as_ref().is_none_or(|(read, _)| *read != number) {
                let sql = "SELECT v.text, v.title, d.language FROM documents d
                           JOIN versions v ON v.document = d.id AND v.number = d.version WHERE d.id = ?1";
                let mut one = self.connection.prepare_cached(sql)?;
                let row = |row: &Row<'_>| {
                    Ok(Read { text: row.get(0)?, title: row.get(1)?, language: row.get(2)? })
                };
                document = Some((number, one.query_row([number], row)?));
            }
            if let Some((_, document)) = &document {
                let searched = document.searched(&chunk);
                let document_id = DocumentId(number);
                take(Searched {
                    chunk: id,
                    document: document_id,
                    language: &document.language,
                    text: &searched,
                })?;
            }
        }
        Ok(())
    }
}

/// A document as far as its chunks need it.
struct Read {
    text: String,
    title: Option<String>,
    language: String,
}

impl Read {
    /// The words a chunk is searched by.
    fn searched(&self, chunk: &NewChunk) -> String {
        let text = match &chunk.text_for_index {
            Some(text) => Cow::Borrowed(text.as_str()),
            None => chunk.text(&self.text).unwrap_or_default(),
        };
        let title = self.title.as_deref();
        let title =
            title.filter(|title| chunk.heading_path.first().is_none_or(|first| first != title));
        let mut searched = String::with_capacity(text.len() + 100);
        for place in title.into_iter().chain(chunk.heading_path.iter().map(String::as_str)) {
            searched.push_str(place);
            searched.push('\n');
        }
        searched.push_str(&text);
        searched
    }
}
