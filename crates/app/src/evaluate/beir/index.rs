//! Indexing a collection, as [`ingest`](crate::ingest::ingest) would index files.

use std::collections::HashMap;
use std::path::Path;

use lm::Encoder;
use store::Store;

use super::collection::{BeirCollection, CorpusRow};
use crate::error::Result;
use crate::models::hash_bytes;
use crate::progress::Progress;
use crate::project::config::Chunks;
use crate::search::chunks::{Pending, prepare};

/// Documents embedded at a time.
const BATCH: usize = 128;

/// Documents have been embedded and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Documents looked at so far.
    pub documents: usize,
    /// Documents in all.
    pub of: usize,
}

/// Stores the documents that are not there yet, cut to `limits`.
///
/// # Errors
/// The store's and the encoder's own; [`crate::Error::Interrupted`].
pub(super) fn index(
    store: &mut Store,
    encoder: &Encoder,
    collection: &BeirCollection,
    limits: &Chunks,
    progress: &mut Progress<'_, Indexed>,
) -> Result<()> {
    let corpus = &collection.corpus;
    let known: HashMap<String, String> =
        store.documents()?.into_iter().map(|row| (row.path, row.sha256)).collect();
    let mut done = 0;
    for batch in corpus.chunks(BATCH) {
        progress.check()?;
        let fresh = batch.iter().filter_map(|row| {
            let hash = hash_bytes(format!("{limits:?}\n{}\n{}", row.title, row.text).as_bytes());
            (known.get(&row.id) != Some(&hash)).then(|| cut(row, hash, limits)).flatten()
        });
        let mut fresh: Vec<Pending> = fresh.collect();
        let texts: Vec<&str> =
            fresh.iter().flat_map(|pending| &pending.texts).map(String::as_str).collect();
        let mut vectors = encoder.embed(&texts)?.into_iter();
        for chunk in fresh.iter_mut().flat_map(|pending| &mut pending.document.chunks) {
            chunk.vector = vectors.next();
        }
        done += batch.len();
        if !fresh.is_empty() {
            store.put_documents(fresh.into_iter().map(|pending| pending.document))?;
            progress.report(Indexed { documents: done, of: corpus.len() });
        }
    }
    Ok(store.commit_index()?)
}

/// A row's document in chunks; `None` for one without any text, in which there is nothing to find.
fn cut(row: &CorpusRow, hash: String, limits: &Chunks) -> Option<Pending> {
    let (title, text) = (row.title.trim(), row.text.trim());
    let whole = if text.is_empty() { title } else { text };
    let mut document = text::read(Path::new("row.txt"), whole.as_bytes()).ok()?;
    document.title = (!title.is_empty()).then(|| title.to_owned());
    Some(prepare(limits, row.id.clone(), hash, document))
}
