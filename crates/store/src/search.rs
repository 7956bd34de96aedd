//! Searching by words, by meaning, or by both.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::documents::{checked, heading_path};
use crate::lexical::{self, Lexical, Stamp};
use crate::vectors::Vectors;
use crate::{Bm25, ChunkId, DocumentId, Error, Result, Store, records, schema};

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Hits wanted.
    pub k: usize,
    /// Chunks taken from each list before they are fused; at least `k`.
    pub candidates: usize,
    /// Share of BM25 in the fused score: 0 is vectors only, 1 is BM25 only.
    pub lexical_weight: f32,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { k: 10, candidates: 100, lexical_weight: 0.5 }
    }
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its document.
    pub document: DocumentId,
    /// The document's project-relative path.
    pub path: String,
    /// The document's version.
    pub version: u32,
    /// The document's title.
    pub title: Option<String>,
    /// Headings it stands under, outermost first.
    pub heading_path: Vec<String>,
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// The passage to read: the bytes of `span`, after the table header it continues.
    pub text: String,
    /// What hits are ordered by.
    pub score: f32,
    /// How the score came about.
    pub explain: Explain,
}

/// How a hit's score came about. Ranks count from 1; `None` where a list was not asked or did not reach as far as
/// this chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Explain {
    /// BM25 score.
    pub bm25: Option<f32>,
    /// Place in the BM25 list.
    pub bm25_rank: Option<usize>,
    /// The BM25 score in 0..=1, by the list's lowest and highest.
    pub bm25_norm: f32,
    /// Cosine of query and chunk vector, whenever both are known, even when the vector list does not reach this far.
    pub cosine: Option<f32>,
    /// Place in the vector list.
    pub cosine_rank: Option<usize>,
    /// The cosine in 0..=1, by the list's lowest and highest.
    pub cosine_norm: f32,
    /// `lexical_weight * bm25_norm + (1 - lexical_weight) * cosine_norm`.
    pub fused: f32,
}

impl Store {
    /// Finds the chunks that fit `query` and `vector` best, best first.
    ///
    /// Both lists are normalised to 0..=1 and added with their weights (a chunk missing from a list has 0 there).
    /// `vector` may be empty when `lexical_weight` is 1, `query` when it is 0. Equal scores are ordered by chunk.
    pub fn search(&self, query: &str, vector: &[f32], options: &SearchOptions) -> Result<Vec<Hit>> {
        self.search_with(query, vector, options, Bm25::default())
    }

    /// As [`Store::search`], with other BM25 parameters: for tuning them.
    pub fn search_with(
        &self,
        query: &str,
        vector: &[f32],
        options: &SearchOptions,
        bm25: Bm25,
    ) -> Result<Vec<Hit>> {
        let weight = options.lexical_weight;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::Options(format!("the lexical weight is {weight}, not within 0 and 1")));
        }
        if options.k == 0 {
            return Err(Error::Options("no hits were asked for: k is 0".to_string()));
        }
        if vector.is_empty() && weight < 1.0 {
            let said = "the query has no vector, so the lexical weight must be 1";
            return Err(Error::Options(said.to_string()));
        }
        let embedder = self.embedder()?;
        let vector = match vector {
            [] => None,
            vector => Some(checked(vector.to_vec(), embedder.as_ref(), "the query")?),
        };
        self.refresh(weight > 0.0, vector.is_some())?;
        let derived = self.derived.borrow();
        let count = options.candidates.max(options.k);

        let by_words = match &derived.lexical {
            Some((_, lexical)) if weight > 0.0 => lexical.search(query, count, bm25)?,
            _ => Vec::new(),
        };
        let table = derived.vectors.as_ref().map(|(_, table)| table);
        let by_meaning = match (&vector, table) {
            (Some(vector), Some(table)) if weight < 1.0 => table.nearest(vector, count),
            _ => Vec::new(),
        };
        let mut fused = fuse(&by_words, &by_meaning, weight);
        fused.truncate(options.k);
        if let (Some(vector), Some(table)) = (&vector, table) {
            for (chunk, explain) in &mut fused {
                explain.cosine = table.cosine(vector, *chunk);
            }
        }
        fused.into_iter().filter_map(|(chunk, explain)| self.hit(chunk, explain).transpose()).collect()
    }

    /// Brings the derived indexes up to date with the database now, instead of at the next search.
    pub fn commit_index(&mut self) -> Result<()> {
        self.refresh(true, self.embedder()?.is_some())
    }

    /// Brings up to date what a search will use.
    fn refresh(&self, words: bool, meaning: bool) -> Result<()> {
        let generation = self.generation()?;
        let mut derived = self.derived.borrow_mut();
        if words && derived.lexical.as_ref().is_none_or(|(at, _)| *at != generation) {
            let open = derived.lexical.take().map(|(_, lexical)| lexical);
            let lexical = self.fresh_lexical(open, generation).map_err(|error| error.settle(&self.folder))?;
            derived.lexical = Some((generation, lexical));
        }
        if meaning && derived.vectors.as_ref().is_none_or(|(at, _)| *at != generation) {
            let table = derived.vectors.take().map(|(_, table)| table);
            derived.vectors = Some((generation, self.fresh_vectors(table)?));
        }
        Ok(())
    }

    /// A text index of the current generation: the open one, or the one on disk, brought up to date, or a new one.
    fn fresh_lexical(&self, open: Option<Lexical>, generation: i64) -> Result<Lexical> {
        let identity = self.setting(schema::IDENTITY)?.unwrap_or_default();
        let stamp = Stamp::new(&identity, generation);
        let root = self.folder.join("lexical");
        let number: u64 = self.setting(schema::LEXICAL)?.and_then(|n| n.parse().ok()).unwrap_or(0);
        let folder = root.join(number.to_string());
        if let Some(lexical) = open.or_else(|| Lexical::open(&folder, &stamp)) {
            if *lexical.stamp() == stamp {
                return Ok(lexical);
            }
            // Chunks never change under their number, so comparing numbers finds every difference.
            let indexed = lexical.chunks();
            let stored = self.chunk_ids()?;
            let gone: HashSet<ChunkId> = indexed.difference(&stored).copied().collect();
            let new = stored.difference(&indexed).count();
            // Mostly different: a new index is as fast, and keeps nothing of what was deleted.
            if (gone.len() + new) * 2 <= stored.len() {
                let first = stored.difference(&indexed).map(|chunk| chunk.0).min();
                let updated = lexical.update(stamp.clone(), &gone, |take| {
                    let Some(first) = first else { return Ok(()) };
                    self.searched_texts(first - 1, &mut |chunk, text| {
                        if indexed.contains(&chunk) { Ok(()) } else { take(chunk, text) }
                    })
                });
                if let Ok(updated) = updated {
                    return Ok(updated);
                }
            }
        }
        self.rebuild_lexical(&root, number + 1, stamp)
    }

    /// Builds the text index beside the old one; it counts from the moment the database names it.
    fn rebuild_lexical(&self, root: &Path, number: u64, stamp: Stamp) -> Result<Lexical> {
        let folder = root.join(number.to_string());
        for leftover in lexical::leftovers(root, &root.join((number - 1).to_string())) {
            std::fs::remove_dir_all(&leftover).map_err(|source| Error::io(&leftover, source))?;
        }
        let built = Lexical::build(&folder, stamp, |take| self.searched_texts(0, take))?;
        records::put_setting(&self.connection, schema::LEXICAL, &number.to_string())?;
        for leftover in lexical::leftovers(root, &folder) {
            // Nothing depends on it any more; if it cannot go now, the next rebuild tries again.
            let _ = std::fs::remove_dir_all(&leftover);
        }
        Ok(built)
    }

    /// The vector table of the current generation.
    fn fresh_vectors(&self, table: Option<Vectors>) -> Result<Vectors> {
        let dimension = self.embedder()?.map_or(0, |embedder| embedder.dimension);
        let mut table = match table {
            Some(mut table) if table.dimension() == dimension => {
                let stored = self.chunk_ids()?;
                table.retain(|chunk| stored.contains(&chunk));
                table
            }
            _ => Vectors::new(dimension),
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT chunk, vector FROM vectors WHERE chunk > ?1 ORDER BY chunk")?;
        let mut rows = statement.query([table.last().0])?;
        while let Some(row) = rows.next()? {
            let chunk = ChunkId(row.get(0)?);
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            if !table.push(chunk, bytes) {
                let embedder = self.embedder()?.map_or_else(String::new, |embedder| embedder.identity);
                return Err(Error::Dimension { embedder, expected: dimension, given: bytes.len() / 4 });
            }
        }
        Ok(table)
    }

    fn chunk_ids(&self) -> Result<HashSet<ChunkId>> {
        let ids = self.read_all("SELECT id FROM chunks", [], |row| row.get(0).map(ChunkId))?;
        Ok(ids.into_iter().collect())
    }

    fn hit(&self, chunk: ChunkId, explain: Explain) -> Result<Option<Hit>> {
        // Bytes are cut out inside the database, so that a passage of a large document costs no copy of it.
        let sql = "
            SELECT c.document, d.path, d.version, v.title, c.heading_path, c.start, c.end,
                   substr(CAST(v.text AS BLOB), c.start + 1, c.end - c.start),
                   substr(CAST(v.text AS BLOB), c.header_start + 1, c.header_end - c.header_start)
            FROM chunks c JOIN documents d ON d.id = c.document
            JOIN versions v ON v.document = d.id AND v.number = d.version WHERE c.id = ?1";
        self.read_one(sql, [chunk.0], |row| {
            let part = |at| row.get::<_, Option<Vec<u8>>>(at);
            let text = String::from_utf8_lossy(&part(7)?.unwrap_or_default()).into_owned();
            let text = match part(8)? {
                Some(header) => format!("{}\n{text}", String::from_utf8_lossy(&header).trim_end()),
                None => text,
            };
            Ok(Hit {
                chunk,
                document: DocumentId(row.get(0)?),
                path: row.get(1)?,
                version: row.get(2)?,
                title: row.get(3)?,
                heading_path: heading_path(row, 4)?,
                span: row.get(5)?..row.get(6)?,
                text,
                score: explain.fused,
                explain,
            })
        })
    }
}

/// Adds two ranked lists by weight (the share of `by_words`), each normalised to 0..=1 by its lowest and highest score. Best first.
pub fn fuse(
    by_words: &[(ChunkId, f32)],
    by_meaning: &[(ChunkId, f32)],
    weight: f32,
) -> Vec<(ChunkId, Explain)> {
    let mut found: HashMap<ChunkId, Explain> = HashMap::new();
    for (rank, ((chunk, score), norm)) in (1..).zip(by_words.iter().zip(normalised(by_words))) {
        let explain = found.entry(*chunk).or_default();
        (explain.bm25, explain.bm25_rank, explain.bm25_norm) = (Some(*score), Some(rank), norm);
    }
    for (rank, ((chunk, score), norm)) in (1..).zip(by_meaning.iter().zip(normalised(by_meaning))) {
        let explain = found.entry(*chunk).or_default();
        (explain.cosine, explain.cosine_rank, explain.cosine_norm) = (Some(*score), Some(rank), norm);
    }
    let mut fused: Vec<(ChunkId, Explain)> = found.into_iter().collect();
    for (_, explain) in &mut fused {
        explain.fused = weight * explain.bm25_norm + (1.0 - weight) * explain.cosine_norm;
    }
    fused.sort_unstable_by(|a, b| b.1.fused.total_cmp(&a.1.fused).then(a.0.cmp(&b.0)));
    fused
}

/// Scores of a list, best first, as shares of the way from its lowest to its highest; 1 where all are equal.
fn normalised(list: &[(ChunkId, f32)]) -> impl Iterator<Item = f32> {
    let highest = list.first().map_or(0.0, |(_, score)| *score);
    let lowest = list.last().map_or(0.0, |(_, score)| *score);
    let width = highest - lowest;
    list.iter().map(move |(_, score)| if width > 0.0 { (score - lowest) / width } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_added_by_weight() {
        let words = [(ChunkId(1), 9.0), (ChunkId(2), 5.0), (ChunkId(3), 1.0)];
        let meaning = [(ChunkId(3), 0.8), (ChunkId(2), 0.6), (ChunkId(4), 0.3)];
        let fused = fuse(&words, &meaning, 0.75);
        let scores: Vec<(i64, f32)> = fused.iter().map(|(chunk, e)| (chunk.0, e.fused)).collect();
        assert_eq!(scores[0], (1, 0.75));
        assert!((scores[1].1 - (0.75 * 0.5 + 0.25 * 0.6)).abs() < 1e-6 && scores[1].0 == 2);
        assert_eq!((scores[2], scores[3]), ((3, 0.25), (4, 0.0)));
        let third = fused[2].1;
        assert_eq!((third.bm25_rank, third.cosine_rank, third.bm25_norm), (Some(3), Some(1), 0.0));
        assert_eq!(fuse(&[(ChunkId(7), 3.0)], &[], 1.0)[0].1.fused, 1.0);
    }
}
