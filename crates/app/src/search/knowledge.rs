//! What a project knows: its store together with the encoder its vectors come from.

use std::time::Instant;

use lm::Encoder;
use serde::Serialize;
use store::{Embedder, Filter, Hit, IndexId, SearchOptions, Store};

use crate::index::IndexRecipe;
use crate::models::Cache;
use crate::project::Project;
use crate::project::config::{Retrieval, SetConfig};
use crate::search::rerank::Rerank;
use crate::{Error, Result};

pub use crate::project::config::DEFAULT_PASSAGES;
pub use store::DEFAULT_LEXICAL_WEIGHT;

/// What is found out about a set, by the names of the store's settings.
const LEXICAL_WEIGHT: &str = "lexical_weight";
const PASSAGES: &str = "passages";
const ABSTAIN_BELOW: &str = "abstain_below";
const RERANKER_WORSE: &str = "reranker_worse";

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
    settings: Retrieval,
}

/// What a search is to bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Hits, at most.
    pub hits: usize,
    /// Share of BM25.
    pub lexical_weight: f32,
    /// Which documents may be found.
    pub filter: Filter,
    /// Chunks before and after a hit that are read with it.
    pub neighbours: usize,
    /// Let the reranker put the first hits in order, where there is one.
    pub rerank: bool,
}

/// What a search brought, and how long each stage took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Retrieved {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Seconds to turn the question into a vector.
    pub embed_seconds: f64,
    /// Seconds to search and fuse that embedding did not take: words are scored beside it.
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

    /// A store and an encoder, put together. Vectors of another precision are no obstacle: they
    /// rank alike.
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

    /// Finds the chunks that fit a question best; what says the same as a better one stands beside
    /// it.
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
        self.ordered(
            question,
            hits,
            wanted,
            Retrieved { embed_seconds, search_seconds, ..Retrieved::default() },
        )
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
        self.ordered(question, hits, wanted, Retrieved { search_seconds, ..Retrieved::default() })
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
    fn ordered(
        &self,
        question: &str,
        mut hits: Vec<Hit>,
        wanted: &Wanted,
        retrieved: Retrieved,
    ) -> Result<Retrieved> {
        let start = Instant::now();
        if let Some(rerank) = self.reranker(wanted) {
            rerank.order(question, &mut hits)?;
            hits.truncate(wanted.hits);
        }
        Ok(Retrieved { hits, rerank_seconds: start.elapsed().as_secs_f64(), ..retrieved })
    }

    /// Whether the reranker, if there is one, is used for a set: it is, unless the last comparison
    /// found it to be worse on dev.
    pub fn reranks(&self, set: Option<&SetConfig>) -> Result<bool> {
        let Some(rerank) = &self.rerank else { return Ok(false) };
        let Some(set) = set else { return Ok(true) };
        // The finding is about this reranker and no other.
        Ok(self.found(RERANKER_WORSE, &set.name)?.is_none_or(|worse| worse != rerank.identity()))
    }

    /// Keeps whether the reranker was worse than none on the dev questions of a set.
    pub fn put_reranks(&mut self, set: &str, used: bool) -> Result<()> {
        let worse =
            self.rerank.as_ref().filter(|_| !used).map(Rerank::identity).unwrap_or_default();
        self.put_found(RERANKER_WORSE, set, &worse)
    }

    /// The passages in a prompt that hold for a set: as configured, for it or for all, else as
    /// tuned by the last comparison, else the default.
    pub fn passages(&self, set: Option<&SetConfig>) -> Result<usize> {
        if let Some(passages) = self.configured_passages(set) {
            return Ok(passages);
        }
        let tuned = match set {
            Some(set) => self.found(PASSAGES, &set.name)?,
            None => None,
        };
        Ok(tuned.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_PASSAGES))
    }

    /// The passages of the configuration, which no tuning overrides.
    pub fn configured_passages(&self, set: Option<&SetConfig>) -> Option<usize> {
        set.and_then(|set| set.passages).or(self.settings.passages)
    }

    /// Keeps the passages tuned for a set.
    pub fn put_passages(&mut self, set: &str, passages: usize) -> Result<()> {
        self.put_found(PASSAGES, set, &passages.to_string())
    }

    /// The chunks before and after a hit that are read with it, as configured.
    pub fn neighbours(&self) -> usize {
        self.settings.neighbours
    }

    /// The share of BM25 that holds for a set: as configured, else as tuned by the last comparison,
    /// else the default.
    pub fn lexical_weight(&self, set: Option<&SetConfig>) -> Result<f32> {
        if let Some(weight) = self.settings.lexical_weight {
            return Ok(weight);
        }
        let tuned = match set {
            Some(set) => self.found(LEXICAL_WEIGHT, &set.name)?,
            None => None,
        };
        Ok(tuned.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LEXICAL_WEIGHT))
    }

    /// The share of BM25 of the configuration, which no tuning overrides.
    pub fn configured_lexical_weight(&self) -> Option<f32> {
        self.settings.lexical_weight
    }

    /// The relevance below which nothing is answered: of a set as configured for it, else as
    /// calibrated on its dev questions, else none, as its questions are answered as they were
    /// compared; without a set as configured for the project, else the default.
    pub fn abstain_below(&self, set: Option<&SetConfig>) -> Result<Option<f32>> {
        let Some(set) = set else { return Ok(Some(self.settings.abstain_below)) };
        if set.abstain_below.is_some() {
            return Ok(set.abstain_below);
        }
        Ok(self.found(ABSTAIN_BELOW, &set.name)?.and_then(|text| text.parse().ok()))
    }

    /// Keeps the threshold for abstaining that was calibrated for a set.
    pub fn put_abstain_below(&mut self, set: &str, threshold: f32) -> Result<()> {
        self.put_found(ABSTAIN_BELOW, set, &threshold.to_string())
    }

    /// Keeps the share of BM25 tuned for a set.
    pub fn put_lexical_weight(&mut self, set: &str, weight: f32) -> Result<()> {
        self.put_found(LEXICAL_WEIGHT, set, &weight.to_string())
    }

    /// What was found out about a set with the index that is looked at; with the last one where
    /// nothing was yet.
    fn found(&self, what: &str, set: &str) -> Result<Option<String>> {
        match self.store.setting(&format!("{what}/{set}/{}", self.store.index().0))? {
            Some(found) => Ok(Some(found)),
            None => Ok(self.store.setting(&format!("{what}/{set}"))?),
        }
    }

    fn put_found(&mut self, what: &str, set: &str, found: &str) -> Result<()> {
        let IndexId(index) = self.store.index();
        self.store.put_setting(&format!("{what}/{set}"), found)?;
        Ok(self.store.put_setting(&format!("{what}/{set}/{index}"), found)?)
    }
}

/// An encoder as the store knows it.
pub(crate) fn embedder_of(encoder: &Encoder) -> Embedder {
    Embedder { identity: encoder.identity().to_owned(), dimension: encoder.dim() }
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
    fn what_was_tuned_with_an_index_comes_back_with_it() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let folder = tempfile::tempdir().unwrap();
        let text = "[project]\nname = \"p\"\n[[set]]\nname = \"facts\"\nquestions = \"q.jsonl\"\nmeasure = \"f1\"\n";
        let config = Config::parse(Path::new("tunesmith.toml"), text).unwrap();
        let (recipe, set) = (IndexRecipe::of(&config), config.sets[0].clone());
        let encoder = Encoder::open(&model).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut knowledge = Knowledge::new(store, encoder, recipe, config.retrieval).unwrap();
        knowledge.put_lexical_weight("facts", 0.7).unwrap();
        let embedder = embedder_of(&knowledge.encoder);
        let second = knowledge.store.new_index("{}", &embedder).unwrap();
        let first = knowledge.store.index();
        knowledge.store.look_at(second).unwrap();
        assert_eq!(knowledge.lexical_weight(Some(&set)).unwrap(), 0.7, "until it is tuned itself");
        knowledge.put_lexical_weight("facts", 0.2).unwrap();
        knowledge.put_passages("facts", 5).unwrap();
        assert_eq!(knowledge.lexical_weight(Some(&set)).unwrap(), 0.2);
        knowledge.store.look_at(first).unwrap();
        assert_eq!(knowledge.lexical_weight(Some(&set)).unwrap(), 0.7);
        assert_eq!(knowledge.passages(Some(&set)).unwrap(), 5);
    }

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
                let wanted = Wanted {
                    hits: 1,
                    lexical_weight: 0.0,
                    filter: Filter::ALL,
                    neighbours: 0,
                    rerank: true,
                };
                let found = knowledge.search(text, &wanted).unwrap();
                assert_eq!(found.hits[0].path, text, "{precision:?}");
                assert!(found.best_cosine().unwrap() > 0.999, "{precision:?}");
            }
        }
    }
}
