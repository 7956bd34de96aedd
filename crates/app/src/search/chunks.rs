//! What is embedded: documents cut into chunks, each with the place it stands in.

use store::{ChunkId, Metadata, NewChunk, NewDocument, Store};
use text::{Block, ChunkOptions, Document, Receipt, Words};

use crate::error::Result;
use crate::project::config::Chunks;

/// A document that waits for its vectors.
pub(crate) struct Pending {
    pub(crate) document: NewDocument,
    /// What is embedded for each chunk.
    pub(crate) texts: Vec<String>,
    pub(crate) receipt: Receipt,
}

/// Cuts a document into chunks.
pub(crate) fn prepare(
    limits: &Chunks,
    name: String,
    sha256: String,
    document: Document,
) -> Pending {
    let (chunks, texts) = cut(limits, document.title.as_deref(), &document.text, &document.blocks);
    let receipt = Receipt { chunks: chunks.len(), ..document.receipt };
    let document = NewDocument {
        path: name,
        metadata: Metadata::default(),
        sha256,
        format: document.format.to_string(),
        title: document.title,
        text: document.text,
        receipt_json: serde_json::to_string(&receipt).unwrap_or_default(),
        structure_json: serde_json::to_string(&document.blocks).ok(),
        chunks,
    };
    Pending { document, texts, receipt }
}

/// Cuts a text into chunks; beside them what is embedded for each.
pub(crate) fn cut(
    limits: &Chunks,
    title: Option<&str>,
    text: &str,
    blocks: &[Block],
) -> (Vec<NewChunk>, Vec<String>) {
    let options = ChunkOptions { max_tokens: limits.max_tokens, min_tokens: limits.min_tokens };
    let chunks = text::chunk(text, blocks, &options, &Words);
    let texts = chunks
        .iter()
        .map(|chunk| embedded(title, &chunk.heading_path, &chunk.text(text)))
        .collect();
    let chunks = chunks.into_iter().map(|chunk| NewChunk {
        span: chunk.span,
        header: chunk.header,
        heading_path: chunk.heading_path,
        text_for_index: None,
        vector: None,
    });
    (chunks.collect(), texts)
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

/// What is embedded for a chunk: where it stands, then what it says. A paragraph often does not
/// repeat what it is about.
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
