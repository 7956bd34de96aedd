//! Searching by words, by meaning, or by both.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::documents::strings;
use crate::duplicates::Shingles;
use crate::embeddings::checked;
use crate::neighbours::passage;
use crate::ranking::Ranking;
use crate::{Bm25, ChunkId, DocumentId, Error, Filter, Result, Store};

/// How to search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// Hits wanted.
    pub k: usize,
    /// Chunks taken from each list before they are fused; at least `k`.
    pub candidates: usize,
    /// BM25 weight in the fused score: 0 is vectors only, 1 is BM25 only.
    pub lexical_weight: f32,
    /// Which documents may be found.
    pub filter: Filter,
    /// Let a chunk that says the same as a better hit stand in [`Hit::also_in`] instead of taking a
    /// place of its own.
    pub merge_copies: bool,
    /// Chunks before and after a hit that are read with it, as far as they stand in no better hit.
    pub neighbours: usize,
}

/// BM25 weight where nothing was set or tuned: the best of nine on scifact's training queries,
/// where the optimum is flat; on squad's training questions .5 and .6 are as good (docs/log.md).
pub const DEFAULT_LEXICAL_WEIGHT: f32 = 0.4;

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions {
            k: 10,
            candidates: 50,
            lexical_weight: DEFAULT_LEXICAL_WEIGHT,
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

/// How a hit's score came about. Ranks count from 1; `None` where a list was not asked or did not
/// reach as far as this chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Explain {
    /// BM25 score of the chunk and of its document, half and half; known even when the list does
    /// not reach this far.
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
            return Err(Error::Options(format!(
                "the lexical weight is {weight}, not within 0 and 1"
            )));
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
    /// `vector` may be empty when `lexical_weight` is 1, `query` when it is 0. Equal scores are
    /// ordered by chunk.
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

    /// As [`Store::search`], for a query whose vector `embed` has yet to make. In a small
    /// collection words are scored meanwhile, on another thread of the pool where there is one.
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
        let derived = self.derived.borrow();
        let ranking = Ranking {
            lexical: derived.lexical.as_ref().filter(|_| weight > 0.0),
            vectors: derived.vectors.as_ref().map(|(_, vectors)| vectors),
            allowed: allowed.as_deref(),
            count: options.candidates.max(options.k),
            weight,
            bm25,
        };
        let embed = embed
            .map(|embed| || checked(embed()?, embedder.as_ref(), "the query").map_err(E::from));
        Ok(self.hits(ranking.ranked(query, embed, embeds)?, options)?)
    }

    /// The first of the chunks as hits.
    fn hits(&self, fused: Vec<(ChunkId, Explain)>, options: &SearchOptions) -> Result<Vec<Hit>> {
        // One look at the database for all: each by itself would lock it and find its pages again.
        let reading = self.connection.unchecked_transaction();
        let _reading = reading.map_err(|error| Error::sqlite(&self.folder, error))?;
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
        // Bytes are cut out inside the database, so that a passage of a large document costs no
        // copy of it.
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
