//! Searching by words, by meaning, or by both.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::documents::strings;
use crate::duplicates::Shingles;
use crate::embeddings::checked;
use crate::neighbours::passage;
use crate::{Bm25, ChunkId, DocumentId, Error, Filter, Result, Store};

/// Texts from which on words and vectors are searched beside each other where the query's vector is known.
const BESIDE_FROM: usize = 20_000;

/// How to search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Hits wanted.
    pub k: usize,
    /// Chunks taken from each list before they are fused; at least `k`.
    pub candidates: usize,
    /// Share of BM25 in the fused score: 0 is vectors only, 1 is BM25 only.
    pub lexical_weight: f32,
    /// Which documents may be found.
    pub filter: Filter,
    /// Let a chunk that says the same as a better hit stand in [`Hit::also_in`] instead of taking a place of its own.
    pub merge_copies: bool,
    /// Chunks before and after a hit that are read with it, as far as they stand in no better hit.
    pub neighbours: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions {
            k: 10,
            candidates: 50,
            lexical_weight: 0.4,
            filter: Filter::ALL,
            merge_copies: false,
            neighbours: 0,
        }
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
    /// What hits are ordered by, but for those that a reranker has put in order, which come first.
    pub score: f32,
    /// How the score came about.
    pub explain: Explain,
    /// Where else the same is said, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_in: Vec<Place>,
    /// Chunks before and after it that are read with it: `span` and `text` take them in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<ChunkId>,
}

impl Hit {
    /// Whether it is this chunk, is read with it, or says the same.
    pub fn says(&self, chunk: ChunkId) -> bool {
        self.reads(chunk) || self.also_in.iter().any(|place| place.chunk == chunk)
    }

    /// Whether its text takes the chunk in.
    pub(crate) fn reads(&self, chunk: ChunkId) -> bool {
        self.chunk == chunk || self.neighbours.contains(&chunk)
    }
}

/// A stretch of a stored document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The chunk.
    pub chunk: ChunkId,
    /// The document.
    pub document: DocumentId,
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: u32,
    /// Bytes of its canonical text.
    pub span: Range<usize>,
}

/// How a hit's score came about. Ranks count from 1; `None` where a list was not asked or did not reach as far as
/// this chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Explain {
    /// BM25 score of the chunk and of its document, half and half; known even when the list does not reach this far.
    pub bm25: Option<f32>,
    /// Place in the BM25 list.
    pub bm25_rank: Option<usize>,
    /// The BM25 score as a share of the best, 0..=1.
    pub bm25_norm: f32,
    /// Cosine of query and chunk vector; known even when the vector list does not reach this far.
    pub cosine: Option<f32>,
    /// Place in the vector list.
    pub cosine_rank: Option<usize>,
    /// The cosine as a share of the best, 0..=1; 0 where it is negative.
    pub cosine_norm: f32,
    /// `lexical_weight * bm25_norm + (1 - lexical_weight) * cosine_norm`.
    pub fused: f32,
    /// What a reranker says that read question and passage together; `None` where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranked: Option<f32>,
}

impl SearchOptions {
    fn check(&self) -> Result<()> {
        let weight = self.lexical_weight;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::Options(format!("the lexical weight is {weight}, not within 0 and 1")));
        }
        if self.k == 0 {
            return Err(Error::Options("no hits were asked for: k is 0".to_string()));
        }
        Ok(())
    }
}

impl Store {
    /// Finds the chunks that fit `query` and `vector` best, best first.
    ///
    /// Scores of both kinds are taken as shares of the best one and added with their weights.
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
        options.check()?;
        if vector.is_empty() && weight < 1.0 {
            let said = "the query has no vector, so the lexical weight must be 1";
            return Err(Error::Options(said.to_string()));
        }
        let known = (!vector.is_empty()).then_some(|| Ok::<_, Error>(vector.to_vec()));
        self.find(query, known, false, options, bm25)
    }

    /// As [`Store::search`], for a query whose vector `embed` has yet to make: words are scored meanwhile, on another thread of the
    /// pool where there is one.
    ///
    /// # Errors
    /// As [`Store::search`], and those of `embed`.
    pub fn search_embedding<E: From<Error> + Send>(
        &self,
        query: &str,
        embed: impl FnOnce() -> std::result::Result<Vec<f32>, E> + Send,
        options: &SearchOptions,
    ) -> std::result::Result<Vec<Hit>, E> {
        options.check()?;
        self.find(query, Some(embed), true, options, Bm25::default())
    }

    /// `embed` gives the query's vector, which takes long where it `embeds` the query first.
    fn find<E: From<Error> + Send>(
        &self,
        query: &str,
        embed: Option<impl FnOnce() -> std::result::Result<Vec<f32>, E> + Send>,
        embeds: bool,
        options: &SearchOptions,
        bm25: Bm25,
    ) -> std::result::Result<Vec<Hit>, E> {
        let weight = options.lexical_weight;
        let embedder = self.embedder()?;
        let generation = self.refresh(weight > 0.0, embed.is_some())?;
        let allowed = self.allowed(&options.filter, generation)?;
        let keep = |chunk| allowed.as_ref().is_none_or(|allowed| allowed.contains(chunk));
        let derived = self.derived.borrow();
        let count = options.candidates.max(options.k);

        let lexical = derived.lexical.as_ref().filter(|_| weight > 0.0);
        let table = derived.vectors.as_ref().map(|(_, table)| table);
        let by_meaning = || {
            let Some(embed) = embed else { return Ok((None, Vec::new())) };
            let vector = checked(embed()?, embedder.as_ref(), "the query")?;
            let near = match (table, &allowed) {
                (Some(table), Some(allowed)) if weight < 1.0 => {
                    table.nearest_where(&vector, count, |chunk| allowed.contains(chunk))
                }
                (Some(table), None) if weight < 1.0 => table.nearest(&vector, count),
                _ => Vec::new(),
            };
            Ok::<_, E>((Some(vector), near))
        };
        let by_words = || lexical.map(|lexical| lexical.score(query, bm25, count, keep)).transpose();
        let ranked = |beside: bool| {
            let (by_meaning, words) =
                if beside { rayon::join(by_meaning, by_words) } else { (by_meaning(), by_words()) };
            let ((vector, by_meaning), mut words) = (by_meaning?, words?);
            if let Some(scores) = &mut words {
                scores.take_in(by_meaning.iter().map(|(chunk, _)| *chunk), beside);
            }
            let by_words = words.as_ref().map(|scores| scores.best()).unwrap_or_default();
            let bm25_of = |chunk| words.as_ref().and_then(|scores| scores.of(chunk));
            let cosine_of =
                |chunk| table.zip(vector.as_ref()).and_then(|(table, vector)| table.cosine(vector, chunk));
            Ok::<_, E>(fuse(by_words, &by_meaning, weight, bm25_of, cosine_of))
        };
        // Waking another thread takes as long as finding words and vectors in a small collection.
        let large = lexical.is_some_and(|lexical| lexical.texts() >= BESIDE_FROM);
        let fused = if embeds || large { rayon::scope(|_| ranked(true)) } else { ranked(false) };
        Ok(self.hits(fused?, options)?)
    }

    /// The first of the chunks as hits.
    fn hits(&self, fused: Vec<(ChunkId, Explain)>, options: &SearchOptions) -> Result<Vec<Hit>> {
        let mut hits: Vec<Hit> = Vec::with_capacity(options.k.min(fused.len()));
        let mut said: Vec<Shingles> = Vec::new();
        for (chunk, explain) in fused {
            if hits.len() == options.k {
                break;
            }
            if hits.iter().any(|better| better.reads(chunk)) {
                continue;
            }
            let Some(hit) = self.hit(chunk, explain)? else { continue };
            if options.merge_copies {
                let shingles = Shingles::new(&hit.text);
                if let Some(copy) = said.iter().position(|other| other.resembles(&shingles)) {
                    let Hit { document, path, version, span, .. } = hit;
                    hits[copy].also_in.push(Place { chunk, document, path, version, span });
                    continue;
                }
                said.push(shingles);
            }
            let hit = self.widened(hit, options.neighbours, &hits)?;
            hits.push(hit);
        }
        Ok(hits)
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
            Ok(Hit {
                chunk,
                document: DocumentId(row.get(0)?),
                path: row.get(1)?,
                version: row.get(2)?,
                title: row.get(3)?,
                heading_path: strings(row, 4)?,
                span: row.get(5)?..row.get(6)?,
                text: passage(row, 7)?,
                score: explain.fused,
                explain,
                also_in: Vec::new(),
                neighbours: Vec::new(),
            })
        })
    }
}

/// Adds the scores of all chunks in two ranked lists by weight, each as a share of the best of its kind. Best first.
///
/// `bm25_of` and `cosine_of` give the score of a chunk that only the other list has: it was not among the best, which does
/// not make it 0. As shares of the best, scores keep their distance to nothing at all, which is 0 for both kinds;
/// minimum and maximum of the lists would hang on how long they happen to be (Bruch, Gai and Ingber, "An Analysis of Fusion
/// Functions for Hybrid Retrieval", 2023: normalisation by the theoretical minimum).
pub fn fuse(
    by_words: &[(ChunkId, f32)],
    by_meaning: &[(ChunkId, f32)],
    weight: f32,
    bm25_of: impl Fn(ChunkId) -> Option<f32>,
    cosine_of: impl Fn(ChunkId) -> Option<f32>,
) -> Vec<(ChunkId, Explain)> {
    let mut found: HashMap<ChunkId, Explain> = HashMap::new();
    for (rank, (chunk, score)) in (1..).zip(by_words) {
        let explain = found.entry(*chunk).or_default();
        (explain.bm25, explain.bm25_rank) = (Some(*score), Some(rank));
    }
    for (rank, (chunk, score)) in (1..).zip(by_meaning) {
        let explain = found.entry(*chunk).or_default();
        (explain.cosine, explain.cosine_rank) = (Some(*score), Some(rank));
    }
    let mut fused: Vec<(ChunkId, Explain)> = found.into_iter().collect();
    for (chunk, explain) in &mut fused {
        explain.bm25 = explain.bm25.or_else(|| bm25_of(*chunk));
        explain.cosine = explain.cosine.or_else(|| cosine_of(*chunk));
    }
    let best = |score: fn(&Explain) -> Option<f32>| {
        fused.iter().filter_map(|(_, explain)| score(explain)).fold(0.0, f32::max)
    };
    let (best_bm25, best_cosine) = (best(|explain| explain.bm25), best(|explain| explain.cosine));
    let share =
        |score: Option<f32>, best: f32| if best > 0.0 { score.unwrap_or(0.0).max(0.0) / best } else { 0.0 };
    for (_, explain) in &mut fused {
        explain.bm25_norm = share(explain.bm25, best_bm25);
        explain.cosine_norm = share(explain.cosine, best_cosine);
        explain.fused = weight * explain.bm25_norm + (1.0 - weight) * explain.cosine_norm;
    }
    fused.sort_unstable_by(|a, b| b.1.fused.total_cmp(&a.1.fused).then(a.0.cmp(&b.0)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_best_are_added_by_weight() {
        let words = [(ChunkId(1), 9.0), (ChunkId(2), 4.5)];
        let meaning = [(ChunkId(3), 0.8), (ChunkId(2), 0.6)];
        let bm25_of = |chunk: ChunkId| (chunk.0 == 3).then_some(0.9);
        let cosine_of = |chunk: ChunkId| (chunk.0 == 1).then_some(-0.4);
        let fused = fuse(&words, &meaning, 0.75, bm25_of, cosine_of);
        let scores: Vec<(i64, f32)> = fused.iter().map(|(chunk, e)| (chunk.0, e.fused)).collect();
        // The cosine of 1 is below nothing at all.
        assert_eq!(scores[0], (1, 0.75));
        assert!((scores[1].1 - (0.75 * 0.5 + 0.25 * 0.75)).abs() < 1e-6 && scores[1].0 == 2);
        assert!((scores[2].1 - (0.75 * 0.1 + 0.25)).abs() < 1e-6 && scores[2].0 == 3);
        let third = fused[2].1;
        assert_eq!((third.bm25, third.bm25_rank, third.cosine_rank), (Some(0.9), None, Some(1)));
        let alone = fuse(&[(ChunkId(7), 3.0)], &[], 1.0, |_| None, |_| None);
        assert_eq!((alone[0].1.fused, alone[0].1.cosine), (1.0, None));
    }
}
