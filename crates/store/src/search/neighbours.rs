//! Reading on around a hit: the chunks before and after it.
//!
//! What a hit reads depends on better hits alone, never on those behind it, so that the first
//! passages are the same however many are asked for: prompts that are trained on, compared and
//! served must not differ.

use std::ops::Range;

use rusqlite::Row;

use super::hit::Hit;
use crate::database::documents::strings;
use crate::{ChunkId, Result, Store};

/// A chunk beside a hit.
struct Neighbour {
    chunk: ChunkId,
    span: Range<usize>,
    heading_path: Vec<String>,
}

impl Store {
    /// The hit with up to `count` chunks before and after it, as far as none of `better` reads
    /// them. Its headings are then those that all of them stand under.
    pub(super) fn widened(&self, hit: Hit, count: usize, better: &[Hit]) -> Result<Hit> {
        if count == 0 {
            return Ok(hit);
        }
        let before = self.beside(&hit, count, "c.id < ?3 ORDER BY c.id DESC", better)?;
        let after = self.beside(&hit, count, "c.id > ?3 ORDER BY c.id", better)?;
        if before.is_empty() && after.is_empty() {
            return Ok(hit);
        }
        let first = before
            .last()
            .map_or((hit.chunk, hit.span.start), |first| (first.chunk, first.span.start));
        let end = after.last().map_or(hit.span.end, |last| last.span.end);
        let text = self.text_from(first.0, end)?.unwrap_or_default();
        let mut heading_path = hit.heading_path.clone();
        let mut neighbours = Vec::with_capacity(before.len() + after.len());
        for neighbour in before.into_iter().rev().chain(after) {
            let common = heading_path
                .iter()
                .zip(&neighbour.heading_path)
                .take_while(|(a, b)| a == b)
                .count();
            heading_path.truncate(common);
            neighbours.push(neighbour.chunk);
        }
        Ok(Hit { span: first.1..end, text, heading_path, neighbours, ..hit })
    }

    /// Chunks of the hit's document on the side that `side` tells, the nearest first, up to one
    /// that a better hit reads.
    fn beside(
        &self,
        hit: &Hit,
        count: usize,
        side: &str,
        better: &[Hit],
    ) -> Result<Vec<Neighbour>> {
        let sql = format!(
            "SELECT c.id, c.start, c.end, c.heading_path FROM chunks c
             WHERE c.document = ?1 AND c.index_id = ?2 AND {side} LIMIT ?4"
        );
        let neighbour = |row: &Row<'_>| {
            Ok(Neighbour {
                chunk: ChunkId(row.get(0)?),
                span: row.get(1)?..row.get(2)?,
                heading_path: strings(row, 3)?,
            })
        };
        let found =
            self.read_all(&sql, (hit.document.0, self.index.0, hit.chunk.0, count), neighbour)?;
        let free = |neighbour: &Neighbour| better.iter().all(|other| !other.reads(neighbour.chunk));
        Ok(found.into_iter().take_while(free).collect())
    }

    /// The text from a chunk, with the table header it continues, to byte `end` of its document.
    fn text_from(&self, chunk: ChunkId, end: usize) -> Result<Option<String>> {
        let sql = "
            SELECT substr(CAST(v.text AS BLOB), c.start + 1, ?2 - c.start),
                   substr(CAST(v.text AS BLOB), c.header_start + 1, c.header_end - c.header_start)
            FROM chunks c JOIN documents d ON d.id = c.document
            JOIN versions v ON v.document = d.id AND v.number = d.version WHERE c.id = ?1";
        self.read_one(sql, (chunk.0, end), |row| passage(row, 0))
    }
}

/// A passage from the bytes in column `at` and those of its header, if any, in the next.
pub(crate) fn passage(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    let part = |at| row.get::<_, Option<Vec<u8>>>(at);
    let text = String::from_utf8_lossy(&part(at)?.unwrap_or_default()).into_owned();
    Ok(match part(at + 1)? {
        Some(header) => format!("{}\n{text}", String::from_utf8_lossy(&header).trim_end()),
        None => text,
    })
}
