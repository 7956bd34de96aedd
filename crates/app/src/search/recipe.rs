//! How an index is made: how documents are cut, and which encoder turns them into vectors.

use std::fmt;

use lm::Encoder;
use serde::{Deserialize, Serialize};
use store::{Embedder, Store};

use crate::Result;
use crate::models::{self, Cache};
use crate::project::Project;
use crate::project::config::{Chunks, Config};

/// How documents are cut and embedded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRecipe {
    /// The largest chunk, in tokens.
    pub max_tokens: usize,
    /// Smaller neighbours under one heading are joined up to this.
    pub min_tokens: usize,
    /// Name or folder of the embedder.
    pub embedder: String,
}

impl fmt::Display for IndexRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} tokens, {}", self.min_tokens, self.max_tokens, self.embedder)
    }
}

impl IndexRecipe {
    /// What the configuration asks for.
    pub fn of(config: &Config) -> Self {
        let Chunks { max_tokens, min_tokens } = config.chunks;
        Self { max_tokens, min_tokens, embedder: config.embedder.clone() }
    }

    /// What the index in use was made by: as written down, or as configured while there is nothing
    /// in it or nobody wrote it down.
    pub(crate) fn in_use(store: &Store, config: &Config) -> Result<Self> {
        match Self::read(store.recipe()?.as_deref()) {
            Some(recipe) if store.has_documents()? => Ok(recipe),
            _ => Ok(Self::of(config)),
        }
    }

    /// Reads a recipe as the store keeps it.
    pub fn read(json: Option<&str>) -> Option<Self> {
        json.and_then(|json| serde_json::from_str(json).ok())
    }

    /// Writes the recipe down for the index that the store looks at.
    pub(crate) fn write_down(&self, store: &mut Store) -> Result<()> {
        let json = self.json();
        match store.recipe()? {
            Some(known) if known == json => Ok(()),
            _ => Ok(store.put_recipe(&json)?),
        }
    }

    /// The limits of chunks.
    pub(crate) fn chunks(&self) -> Chunks {
        Chunks { max_tokens: self.max_tokens, min_tokens: self.min_tokens }
    }

    /// Opens the encoder.
    pub(crate) fn encoder(&self, project: &Project, cache: &Cache) -> Result<Encoder> {
        let located = models::locate(cache, &self.embedder, &project.root)?;
        Ok(Encoder::open_with(&located.path, project.config.embedder_precision)?)
    }

    /// A recipe as the store keeps it.
    pub(crate) fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// An encoder as the store knows it.
pub(crate) fn embedder_of(encoder: &Encoder) -> Embedder {
    Embedder { identity: encoder.identity().to_owned(), dimension: encoder.dim() }
}
