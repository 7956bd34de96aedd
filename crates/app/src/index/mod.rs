//! Cutting and embedding the documents in another way, beside the way in use.
//!
//! What `tunesmith.toml` says about chunks and embedder is how the next index is made. The index in
//! use keeps answering until another one is complete and taken into use. It is kept afterwards, so
//! that one can go back to it.

mod comparison;

use lm::Encoder;
use store::{IndexId, IndexRow, NewChunk, Store, Unindexed};
use text::Block;

pub use self::comparison::{IndexComparison, SetComparison, compare};

use crate::Progress;
use crate::error::{Error, Result};
use crate::models::{Cache, hash_bytes};
use crate::project::Project;
use crate::search::chunks::cut;
use crate::search::index_cost::index_cost;
use crate::search::recipe::{IndexRecipe, embedder_of};

/// Documents cut, embedded and stored together: few enough to stop soon.
const BATCH: usize = 64;

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
    /// The number of documents that are done.
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
    progress: &mut Progress<'_, IndexEvent>,
) -> Result<IndexId> {
    let recipe = IndexRecipe::of(&project.config);
    let encoder = recipe.encoder(project, cache)?;
    let store = Store::open(&project.state()?)?;
    let mut indexer = Indexer { project, store, recipe, encoder };
    let index = match indexer.begun()? {
        Some(index) => index,
        None => indexer.begin()?,
    };
    indexer.fill(index, progress)?;
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
    progress: &mut Progress<'_, IndexEvent>,
) -> Result<IndexRecipe> {
    let mut store = Store::open(&project.state()?)?;
    store.look_at(index)?;
    let recipe = IndexRecipe::in_use(&store, &project.config)?;
    let encoder = recipe.encoder(project, cache)?;
    store.use_embedder(&embedder_of(&encoder))?;
    let mut indexer = Indexer { project, store, recipe, encoder };
    indexer.fill(index, progress)?;
    indexer.store.use_index(index)?;
    Ok(indexer.recipe)
}

/// Cuts and embeds the stored documents of a project by one recipe.
struct Indexer<'a> {
    project: &'a Project,
    store: Store,
    recipe: IndexRecipe,
    encoder: Encoder,
}

impl Indexer<'_> {
    /// Begins an index, empty so far.
    fn begin(&mut self) -> Result<IndexId> {
        Ok(self.store.new_index(&self.recipe.json(), &embedder_of(&self.encoder))?)
    }

    /// The index made by this recipe and encoder, complete or not; the one in use before others.
    fn begun(&self) -> Result<Option<IndexId>> {
        let in_use = IndexRecipe::in_use(&self.store, &self.project.config)?;
        let embedder = embedder_of(&self.encoder);
        let wanted = |row: &&IndexRow| {
            let made_by = IndexRecipe::read(row.recipe.as_deref());
            *made_by.as_ref().unwrap_or(&in_use) == self.recipe
                && row.embedder.as_ref().is_none_or(|known| *known == embedder)
        };
        let rows = self.store.indexes()?;
        let mut made = rows.iter().filter(wanted);
        let first = made.clone().find(|row| row.in_use).or_else(|| made.next());
        Ok(first.map(|row| row.id))
    }

    /// Cuts and embeds what the index lacks.
    fn fill(&mut self, index: IndexId, progress: &mut Progress<'_, IndexEvent>) -> Result<()> {
        let seconds_per_document = index_cost(&self.store)?.seconds_per_document;
        self.store.look_at(index)?;
        let row = self.store.indexes()?.into_iter().find(|row| row.id == index);
        let documents = row.map_or(0, |row| row.lacking);
        let seconds = seconds_per_document * documents as f64;
        progress.report(IndexEvent::Begun { documents, seconds });
        let mut done = 0;
        loop {
            progress.check()?;
            let batch = self.store.unindexed(BATCH)?;
            if batch.is_empty() {
                return Ok(self.store.commit_index()?);
            }
            done += batch.len();
            let embedded = self.embed(batch)?;
            self.store.index_documents(embedded)?;
            progress.report(IndexEvent::Done(done));
        }
    }

    /// The documents with their chunks and vectors.
    fn embed(&self, documents: Vec<Unindexed>) -> Result<Vec<(Unindexed, Vec<NewChunk>)>> {
        let mut texts = Vec::new();
        let mut cut_up = Vec::with_capacity(documents.len());
        for document in documents {
            let blocks = blocks(self.project, &document)?;
            let limits = self.recipe.chunks();
            let (chunks, embedded) =
                cut(&limits, document.title.as_deref(), &document.text, &blocks);
            texts.extend(embedded);
            cut_up.push((document, chunks));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut vectors = self.encoder.embed(&texts)?.into_iter();
        for (_, chunks) in &mut cut_up {
            chunks.iter_mut().for_each(|chunk| chunk.vector = vectors.next());
        }
        Ok(cut_up)
    }
}

/// The blocks of a document's text: as they were stored, else read again from its file, provided
/// that it has not changed.
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
