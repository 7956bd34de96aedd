//! Searching by words, by meaning, or by both.

mod duplicates;
mod filter;
mod hit;
mod neighbours;
mod options;
mod ranking;

use self::duplicates::Shingles;
use self::neighbours::passage;
use self::ranking::Ranking;
use crate::database::documents::strings;
use crate::database::embeddings::checked;
use crate::{Bm25, ChunkId, DocumentId, Error, Result, Store};

pub use self::filter::Filter;
pub(crate) use self::filter::FilterCache;
pub use self::hit::{Explain, Hit, Place};
pub use self::options::{DEFAULT_CANDIDATES, DEFAULT_LEXICAL_WEIGHT, SearchOptions};
pub use self::ranking::fuse;

impl Store {
    /// Finds the chunks that fit `query` and `vector` best, best first.
    ///
    /// Scores of both kinds are divided by the best of their kind and added by their weights.
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
            lexical_weight: weight,
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
