//! Cutting and embedding the documents in another way, beside the way in use.
//!
//! What `tunesmith.toml` says of chunks and embedder holds for the next index. The one in use keeps
//! answering until another one is complete and taken into use, and stays afterwards to go back to.

mod comparison;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use lm::Encoder;
use serde::{Deserialize, Serialize};
use store::{IndexId, NewChunk, Store, Unindexed};
use text::Block;

pub use self::comparison::{Compared, SetCompared, compare};

use crate::error::{Error, Result};
use crate::ingest::{BATCH, cut, index_cost};
use crate::models::{self, Cache, hash_bytes};
use crate::project::Project;
use crate::project::config::{Chunks, Config};
use crate::search::knowledge::embedder_of;

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

    /// A recipe as the store keeps it.
    pub fn read(json: Option<&str>) -> Option<Self> {
        json.and_then(|json| serde_json::from_str(json).ok())
    }

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

    pub(crate) fn encoder(&self, project: &Project, cache: &Cache) -> Result<Encoder> {
        let located = models::locate(cache, &self.embedder, &project.root)?;
        Ok(Encoder::open_with(&located.path, project.config.embedder_precision)?)
    }

    fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// What happens while an index is filled.
#[derive(Clone, Copy, Debug)]
pub enum IndexEvent {
    /// The work is known.
    Begun {
        /// Documents the index lacks.
        documents: usize,
        /// Seconds it may take, by what ingesting took; 0 where nothing is known.
        seconds: f64,
    },
    /// So many documents are done.
    Done(usize),
}

/// Builds the index that the configuration asks for beside the one in use, or goes on with one that
/// was begun. Returns its number, which is that of the index in use when that is what the
/// configuration asks for.
///
/// # Errors
/// [`Error::NoStructure`]; [`Error::Interrupted`]: what is done is kept, and the next call goes on
/// from there.
pub fn build(
    project: &Project,
    cache: &Cache,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(IndexEvent),
) -> Result<IndexId> {
    let recipe = IndexRecipe::of(&project.config);
    let encoder = recipe.encoder(project, cache)?;
    let embedder = embedder_of(&encoder);
    let mut store = Store::open(&project.state()?)?;
    let in_use = IndexRecipe::in_use(&store, &project.config)?;
    let wanted = |row: &store::IndexRow| {
        let made_by = IndexRecipe::read(row.recipe.as_deref()).unwrap_or_else(|| in_use.clone());
        made_by == recipe && row.embedder.as_ref().is_none_or(|known| *known == embedder)
    };
    let rows = store.indexes()?;
    // The one in use goes before another of the same kind.
    let known = rows
        .iter()
        .find(|row| row.in_use && wanted(row))
        .or_else(|| rows.iter().find(|row| wanted(row)));
    let index = match known {
        Some(row) => row.id,
        None => store.new_index(&recipe.json(), &embedder)?,
    };
    fill(project, &mut store, index, &recipe, &encoder, stop, on_event)?;
    Ok(index)
}

/// Takes an index into use, after bringing it up to date with the documents.
///
/// # Errors
/// As [`build`], and when there is no such index or its embedder is gone or has changed: the one in
/// use then stays.
pub fn switch(
    project: &Project,
    cache: &Cache,
    index: IndexId,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(IndexEvent),
) -> Result<IndexRecipe> {
    let mut store = Store::open(&project.state()?)?;
    store.look_at(index)?;
    let recipe = IndexRecipe::in_use(&store, &project.config)?;
    let encoder = recipe.encoder(project, cache)?;
    store.use_embedder(&embedder_of(&encoder))?;
    fill(project, &mut store, index, &recipe, &encoder, stop, on_event)?;
    store.use_index(index)?;
    Ok(recipe)
}

/// Cuts and embeds what the index lacks.
fn fill(
    project: &Project,
    store: &mut Store,
    index: IndexId,
    recipe: &IndexRecipe,
    encoder: &Encoder,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(IndexEvent),
) -> Result<()> {
    let per_document = index_cost(store)?.seconds_per_document;
    store.look_at(index)?;
    let lacking =
        store.indexes()?.into_iter().find(|row| row.id == index).map_or(0, |row| row.lacking);
    on_event(IndexEvent::Begun { documents: lacking, seconds: per_document * lacking as f64 });
    let mut done = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let batch = store.unindexed(BATCH)?;
        if batch.is_empty() {
            break;
        }
        done += batch.len();
        store.index_documents(embed(project, recipe, encoder, batch)?)?;
        on_event(IndexEvent::Done(done));
    }
    Ok(store.commit_index()?)
}

/// The documents with their chunks and vectors.
fn embed(
    project: &Project,
    recipe: &IndexRecipe,
    encoder: &Encoder,
    documents: Vec<Unindexed>,
) -> Result<Vec<(Unindexed, Vec<NewChunk>)>> {
    let mut texts = Vec::new();
    let mut cut_up = Vec::with_capacity(documents.len());
    for document in documents {
        let blocks = blocks(project, &document)?;
        let (chunks, embedded) =
            cut(&recipe.chunks(), document.title.as_deref(), &document.text, &blocks);
        texts.extend(embedded);
        cut_up.push((document, chunks));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut vectors = encoder.embed(&texts)?.into_iter();
    for (_, chunks) in &mut cut_up {
        chunks.iter_mut().for_each(|chunk| chunk.vector = vectors.next());
    }
    Ok(cut_up)
}

/// What a document's text is made of: as it was written down, or else as its file tells while it is
/// the same.
fn blocks(project: &Project, document: &Unindexed) -> Result<Vec<Block>> {
    if let Some(json) = &document.structure_json
        && let Ok(blocks) = serde_json::from_str(json)
    {
        return Ok(blocks);
    }
    let path = project.root.join(&document.path);
    let bytes = text::load(&path).ok().filter(|bytes| hash_bytes(bytes) == document.sha256);
    let read = bytes.and_then(|bytes| text::read(&path, &bytes).ok());
    match read.filter(|read| read.text == document.text) {
        Some(read) => Ok(read.blocks),
        None => Err(Error::NoStructure(document.path.clone())),
    }
}
