//! What to find for a question set: as configured, else as found out about the set, else the
//! default. What is found out is kept in the store for each index, as another index has other
//! vectors.

use std::str::FromStr;

use store::{Filter, IndexId};

use crate::Result;
use crate::project::config::SetConfig;
use crate::search::knowledge::{DEFAULT_LEXICAL_WEIGHT, DEFAULT_PASSAGES, Knowledge, Wanted};
use crate::search::rerank::Rerank;

/// What is found out about a set, by the names of the store's settings.
const LEXICAL_WEIGHT: &str = "lexical_weight";
const PASSAGES: &str = "passages";
const MAX_TOKENS: &str = "max_tokens";
const ABSTAIN_BELOW: &str = "abstain_below";
const RERANKER_WORSE: &str = "reranker_worse";

impl Knowledge {
    /// What a search is to bring for the questions of a set, or of none: as many hits as stand in
    /// its prompts, from its collections.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn wanted(&self, set: Option<&SetConfig>) -> Result<Wanted> {
        Ok(Wanted {
            hits: self.passages(set)?,
            lexical_weight: self.lexical_weight(set)?,
            filter: set.map_or(Filter::ALL, SetConfig::filter),
            neighbours: self.settings.neighbours,
            rerank: self.reranks(set)?,
        })
    }

    /// The passages in a prompt that hold for a set: as configured, for it or for all, else as
    /// tuned by the last comparison, else the default.
    pub fn passages(&self, set: Option<&SetConfig>) -> Result<usize> {
        match self.configured_passages(set) {
            Some(passages) => Ok(passages),
            None => Ok(self.found(PASSAGES, set)?.unwrap_or(DEFAULT_PASSAGES)),
        }
    }

    /// The passages of the configuration, which no tuning overrides.
    pub fn configured_passages(&self, set: Option<&SetConfig>) -> Option<usize> {
        set.and_then(|set| set.passages).or(self.settings.passages)
    }

    /// Keeps the passages tuned for a set.
    pub fn put_passages(&mut self, set: &str, passages: usize) -> Result<()> {
        self.put_found(PASSAGES, set, &passages.to_string())
    }

    /// The tokens of the longest answer of a set: as configured, else as the last comparison took
    /// them from the training answers; `None` where nothing was compared yet.
    pub fn max_tokens(&self, set: &SetConfig) -> Result<Option<usize>> {
        match set.max_tokens {
            Some(tokens) => Ok(Some(tokens)),
            None => self.found(MAX_TOKENS, Some(set)),
        }
    }

    /// Keeps the tokens of the longest answer of a set.
    pub fn put_max_tokens(&mut self, set: &str, tokens: usize) -> Result<()> {
        self.put_found(MAX_TOKENS, set, &tokens.to_string())
    }

    /// The BM25 weight that holds for a set: as configured, else as tuned by the last comparison,
    /// else the default.
    pub fn lexical_weight(&self, set: Option<&SetConfig>) -> Result<f32> {
        match self.settings.lexical_weight {
            Some(weight) => Ok(weight),
            None => Ok(self.found(LEXICAL_WEIGHT, set)?.unwrap_or(DEFAULT_LEXICAL_WEIGHT)),
        }
    }

    /// The BM25 weight of the configuration, which no tuning overrides.
    pub fn configured_lexical_weight(&self) -> Option<f32> {
        self.settings.lexical_weight
    }

    /// Keeps the BM25 weight tuned for a set.
    pub fn put_lexical_weight(&mut self, set: &str, weight: f32) -> Result<()> {
        self.put_found(LEXICAL_WEIGHT, set, &weight.to_string())
    }

    /// Whether the reranker, if there is one, is used for a set: it is, unless the last comparison
    /// found it to be worse on dev.
    pub fn reranks(&self, set: Option<&SetConfig>) -> Result<bool> {
        let Some(rerank) = &self.rerank else { return Ok(false) };
        // The finding is about this reranker and no other.
        let worse: Option<String> = self.found(RERANKER_WORSE, set)?;
        Ok(worse.is_none_or(|worse| worse != rerank.identity()))
    }

    /// Keeps whether the reranker was worse than none on the dev questions of a set.
    pub fn put_reranks(&mut self, set: &str, used: bool) -> Result<()> {
        let worse =
            self.rerank.as_ref().filter(|_| !used).map(Rerank::identity).unwrap_or_default();
        self.put_found(RERANKER_WORSE, set, &worse)
    }

    /// The relevance below which a question is not answered.
    ///
    /// Of a set: as configured for it, else as calibrated on its dev questions, else none, as its
    /// questions are answered in the way they were compared. Without a set: as configured for the
    /// project, else the default.
    pub fn abstain_below(&self, set: Option<&SetConfig>) -> Result<Option<f32>> {
        match set {
            None => Ok(Some(self.settings.abstain_below)),
            Some(SetConfig { abstain_below: Some(threshold), .. }) => Ok(Some(*threshold)),
            Some(_) => self.found(ABSTAIN_BELOW, set),
        }
    }

    /// Keeps the threshold for abstaining that was calibrated for a set.
    pub fn put_abstain_below(&mut self, set: &str, threshold: f32) -> Result<()> {
        self.put_found(ABSTAIN_BELOW, set, &threshold.to_string())
    }

    /// What was found out about a set with the index that the store looks at; where that is nothing
    /// yet, what was found out last with any index.
    fn found<T: FromStr>(&self, what: &str, set: Option<&SetConfig>) -> Result<Option<T>> {
        let Some(SetConfig { name, .. }) = set else { return Ok(None) };
        let IndexId(index) = self.store.index();
        let found = match self.store.setting(&format!("{what}/{name}/{index}"))? {
            Some(found) => Some(found),
            None => self.store.setting(&format!("{what}/{name}"))?,
        };
        Ok(found.and_then(|text| text.parse().ok()))
    }

    fn put_found(&mut self, what: &str, set: &str, found: &str) -> Result<()> {
        let IndexId(index) = self.store.index();
        self.store.put_setting(&format!("{what}/{set}"), found)?;
        Ok(self.store.put_setting(&format!("{what}/{set}/{index}"), found)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use lm::Encoder;
    use store::Store;

    use super::*;
    use crate::project::config::Config;
    use crate::search::recipe::{IndexRecipe, embedder_of};

    #[test]
    fn what_was_tuned_with_an_index_comes_back_with_it() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/tiny-bert");
        let folder = tempfile::tempdir().unwrap();
        let text = "[project]\nname = \"p\"\n\
                    [[set]]\nname = \"facts\"\nquestions = \"q.jsonl\"\nmeasure = \"f1\"\n";
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
}
