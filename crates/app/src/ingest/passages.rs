//! What is embedded: documents in chunks, each with the place it stands in.

use std::sync::atomic::{AtomicBool, Ordering};

use store::{ChunkId, Metadata, NewChunk, NewDocument, Store};
use text::{ChunkOptions, Document, Receipt, Words};

use super::BATCH;
use crate::config::Chunks;
use crate::error::{Error, Result};
use crate::knowledge::{Knowledge, embedder_of};
use crate::models::Cache;
use crate::project::Project;

/// A document that waits for its vectors.
pub(crate) struct Pending {
    pub(crate) document: NewDocument,
    /// What is embedded for each chunk.
    pub(crate) texts: Vec<String>,
    pub(crate) receipt: Receipt,
}

/// Cuts a document into chunks.
pub(crate) fn prepare(limits: &Chunks, name: String, sha256: String, document: Document) -> Pending {
    let options = ChunkOptions { max_tokens: limits.max_tokens, min_tokens: limits.min_tokens };
    let chunks = text::chunk(&document, &options, &Words);
    let texts = chunks
        .iter()
        .map(|chunk| embedded(document.title.as_deref(), &chunk.heading_path, &chunk.text(&document.text)))
        .collect();
    let receipt = Receipt { chunks: chunks.len(), ..document.receipt.clone() };
    let chunks = chunks
        .into_iter()
        .map(|chunk| NewChunk {
            span: chunk.span,
            header: chunk.header,
            heading_path: chunk.heading_path,
            text_for_index: None,
            vector: None,
        })
        .collect();
    let document = NewDocument {
        path: name,
        metadata: Metadata::default(),
        sha256,
        format: document.format.to_string(),
        title: document.title,
        text: document.text,
        receipt_json: serde_json::to_string(&receipt).unwrap_or_default(),
        chunks,
    };
    Pending { document, texts, receipt }
}

/// Every stored chunk as it is embedded.
pub(crate) fn passages(store: &Store) -> Result<Vec<(ChunkId, String)>> {
    let mut passages = Vec::new();
    for document in store.documents()? {
        let text = store.document_text(document.id, None)?.unwrap_or_default();
        for (id, chunk) in store.chunks(document.id)? {
            let said = chunk.text(&text).unwrap_or_default();
            passages.push((id, embedded(document.title.as_deref(), &chunk.heading_path, &said)));
        }
    }
    Ok(passages)
}

/// Embeds every stored chunk with the embedder of the configuration, and puts its vectors in place of another one's, all at once.
/// Returns how many there are. `on_progress` gets (chunks done, chunks).
///
/// # Errors
/// [`Error::Interrupted`], and the store's and the encoder's own: the old vectors are then still there.
pub fn reembed(
    project: &Project,
    cache: &Cache,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<usize> {
    let (mut store, encoder) = Knowledge::parts(project, cache)?;
    let passages = passages(&store)?;
    let mut vectors = Vec::with_capacity(passages.len());
    for batch in passages.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let texts: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
        vectors.extend(batch.iter().map(|(chunk, _)| *chunk).zip(encoder.embed(&texts)?));
        on_progress(vectors.len(), passages.len());
    }
    store.replace_vectors(&embedder_of(&encoder), &vectors)?;
    store.commit_index()?;
    Ok(vectors.len())
}

/// What is embedded for a chunk: where it stands, then what it says. A paragraph often does not repeat what it is about.
fn embedded(title: Option<&str>, heading_path: &[String], text: &str) -> String {
    let mut place: Vec<&str> = heading_path.iter().map(String::as_str).collect();
    if let Some(title) = title
        && place.first() != Some(&title)
    {
        place.insert(0, title);
    }
    // A chunk that starts with its heading says it already.
    if let Some(last) = place.last()
        && text.trim_start_matches(['#', ' ']).starts_with(last)
    {
        place.pop();
    }
    if place.is_empty() { text.to_owned() } else { format!("{}\n{text}", place.join(" > ")) }
}
