//! What a project knows: its store together with the encoder its vectors come from.

use std::time::Instant;

use lm::Encoder;
use serde::Serialize;
use store::{Filter, Hit, SearchOptions, Store};

use crate::models::Cache;
use crate::project::Project;
use crate::project::config::Retrieval;
use crate::search::recipe::{IndexRecipe, embedder_of};
use crate::search::rerank::Rerank;
use crate::{Error, Result};

pub use crate::project::config::DEFAULT_PASSAGES;
pub use store::DEFAULT_LEXICAL_WEIGHT;

/// An opened store and its encoder.
pub struct Knowledge {
    /// Documents, chunks, vectors and records.
    pub store: Store,
    /// Turns text into vectors.
    pub encoder: Encoder,
    /// How the documents are cut and embedded: as the index in use has it, whatever the
    /// configuration says meanwhile.
    pub recipe: IndexRecipe,
    /// Puts the first hits in order, where there is one.
    pub rerank: Option<Rerank>,
    /// What the configuration says about retrieval.
    pub(super) settings: Retrieval,
}

/// What a search is to bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Hits, at most.
    pub hits: usize,
    /// Weight of BM25 in the fused score; the cosine has the rest.
    pub lexical_weight: f32,
    /// Which documents may be found.
    pub filter: Filter,
    /// Chunks before and after a hit that are read with it.
    pub neighbours: usize,
    /// Let the reranker put the first hits in order, where there is one.
    pub rerank: bool,
}

/// What holds where nothing was set or tuned, without neighbours and reranker.
impl Default for Wanted {
    fn default() -> Self {
        Self {
            hits: DEFAULT_PASSAGES,
            lexical_weight: DEFAULT_LEXICAL_WEIGHT,
            filter: Filter::ALL,
            neighbours: 0,
            rerank: false,
        }
    }
}

/// What a search brought, and how long each stage took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Retrieved {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Seconds to turn the question into a vector.
    pub embed_seconds: f64,
    /// Seconds to search and fuse, without those of embedding: words are scored meanwhile.
    pub search_seconds: f64,
    /// Seconds to put the first hits in order.
    pub rerank_seconds: f64,
}

impl Retrieved {
    /// Seconds from question to hits.
    pub fn seconds(&self) -> f64 {
        self.embed_seconds + self.search_seconds + self.rerank_seconds
    }

    /// The largest cosine similarity between question and hit.
    pub fn best_cosine(&self) -> Option<f32> {
        self.hits.iter().filter_map(|hit| hit.explain.cosine).max_by(f32::total_cmp)
    }
}

impl Knowledge {
    /// Opens a project's store, and the encoder of the index in use.
    ///
    /// # Errors
    /// The store is in use by another process, holds vectors of another encoder, or cannot be read;
    /// the model is absent.
    pub fn open(project: &Project, cache: &Cache) -> Result<Self> {
        Self::of_index_in_use(project, cache, Store::open(&project.state()?)?)
    }

    /// As [`Knowledge::open`], to find and look up while other processes do too, or write.
    ///
    /// # Errors
    /// As [`Knowledge::open`]; [`Store::open_shared`] says when a store is in use.
    pub fn open_shared(project: &Project, cache: &Cache) -> Result<Self> {
        Self::of_index_in_use(project, cache, Store::open_shared(&project.state()?)?)
    }

    fn of_index_in_use(project: &Project, cache: &Cache, store: Store) -> Result<Self> {
        let recipe = IndexRecipe::in_use(&store, &project.config)?;
        Self::with_recipe(project, cache, store, recipe)
    }

    /// A store, the encoder of the index it looks at, and the reranker if there is one.
    pub(crate) fn with_recipe(
        project: &Project,
        cache: &Cache,
        store: Store,
        recipe: IndexRecipe,
    ) -> Result<Self> {
        let encoder = recipe.encoder(project, cache)?;
        let mut knowledge = Self::new(store, encoder, recipe, project.config.retrieval.clone())?;
        knowledge.rerank = Rerank::configured(project, cache)?;
        Ok(knowledge)
    }

    /// A store and an encoder, put together. The vectors in the store may come from the same
    /// encoder at another precision: they rank alike.
    pub fn new(
        mut store: Store,
        encoder: Encoder,
        recipe: IndexRecipe,
        settings: Retrieval,
    ) -> Result<Self> {
        store.use_embedder(&embedder_of(&encoder))?;
        recipe.write_down(&mut store)?;
        Ok(Self { store, encoder, recipe, rerank: None, settings })
    }

    /// Finds the chunks that fit a question best. A chunk that says the same as a better one is
    /// named with that one instead of taking a place of its own.
    pub fn search(&self, question: &str, wanted: &Wanted) -> Result<Retrieved> {
        let start = Instant::now();
        let mut embed_seconds = 0.0;
        let encoder = &self.encoder;
        let embed = || {
            let vector = encoder.embed(&[question])?.pop().unwrap_or_default();
            embed_seconds = start.elapsed().as_secs_f64();
            Ok::<_, Error>(vector)
        };
        let hits = self.store.search_embedding(question, embed, &self.search_options(wanted))?;
        let search_seconds = start.elapsed().as_secs_f64() - embed_seconds;
        let found = Retrieved { hits, embed_seconds, search_seconds, rerank_seconds: 0.0 };
        self.reranked(question, wanted, found)
    }

    /// As [`Knowledge::search`], for a question whose vector is known.
    pub fn search_vector(
        &self,
        question: &str,
        vector: &[f32],
        wanted: &Wanted,
    ) -> Result<Retrieved> {
        let start = Instant::now();
        let hits = self.store.search(question, vector, &self.search_options(wanted))?;
        let search_seconds = start.elapsed().as_secs_f64();
        self.reranked(question, wanted, Retrieved { hits, search_seconds, ..Retrieved::default() })
    }

    fn reranker(&self, wanted: &Wanted) -> Option<&Rerank> {
        self.rerank.as_ref().filter(|_| wanted.rerank)
    }

    fn search_options(&self, wanted: &Wanted) -> SearchOptions {
        let k =
            self.reranker(wanted).map_or(wanted.hits, |rerank| rerank.candidates.max(wanted.hits));
        SearchOptions {
            k,
            candidates: self.settings.candidates.max(k),
            lexical_weight: wanted.lexical_weight,
            filter: wanted.filter.clone(),
            merge_copies: true,
            neighbours: wanted.neighbours,
        }
    }

    /// Lets the reranker put hits in order, where there is one.
    fn reranked(
        &self,
        question: &str,
        wanted: &Wanted,
        mut retrieved: Retrieved,
    ) -> Result<Retrieved> {
        let start = Instant::now();
        if let Some(rerank) = self.reranker(wanted) {
            rerank.order(question, &mut retrieved.hits)?;
            retrieved.hits.truncate(wanted.hits);
        }
        retrieved.rerank_seconds = start.elapsed().as_secs_f64();
        Ok(retrieved)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use lm::Precision;
    use store::{NewChunk, NewDocument};

    use super::*;
    use crate::project::config::Config;

    #[test]
    fn an_index_of_one_precision_is_searched_in_any_other() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let folder = tempfile::tempdir().unwrap();
        let open = |precision| {
            let encoder = Encoder::open_with(&model, precision).unwrap();
            let config = Config::default();
            let store = Store::open(folder.path()).unwrap();
            Knowledge::new(store, encoder, IndexRecipe::of(&config), config.retrieval).unwrap()
        };
        let texts = ["a short text", "something else entirely", "the word word word"];
        let mut knowledge = open(Precision::Bf16);
        let vectors = knowledge.encoder.embed(&texts).unwrap();
        let documents = texts.iter().zip(vectors).map(|(text, vector)| NewDocument {
            path: (*text).to_owned(),
            text: (*text).to_owned(),
            receipt_json: "{}".to_owned(),
            chunks: vec![NewChunk {
                span: 0..text.len(),
                vector: Some(vector),
                ..NewChunk::default()
            }],
            ..NewDocument::default()
        });
        knowledge.store.put_documents(documents).unwrap();
        knowledge.store.commit_index().unwrap();
        drop(knowledge);
        for precision in [Precision::Int8, Precision::F32, Precision::Auto] {
            let knowledge = open(precision);
            for text in texts {
                let wanted =
                    Wanted { hits: 1, lexical_weight: 0.0, rerank: true, ..Wanted::default() };
                let found = knowledge.search(text, &wanted).unwrap();
                assert_eq!(found.hits[0].path, text, "{precision:?}");
                assert!(found.best_cosine().unwrap() > 0.999, "{precision:?}");
            }
        }
    }
}
