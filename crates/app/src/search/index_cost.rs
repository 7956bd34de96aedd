//! What it costs to index the documents of a project, from the time that ingestions took.

use store::Store;

use crate::Result;

/// What it cost to index the documents that are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IndexCost {
    /// Seconds for all of them.
    pub seconds: f64,
    /// Seconds for one, in the mean.
    pub seconds_per_document: f64,
}

/// The cost of the index: the time a chunk took in all ingestions, times the chunks stored now.
///
/// # Errors
/// Those of the store.
pub fn index_cost(store: &Store) -> Result<IndexCost> {
    let (seconds, chunks) = spent(store)?;
    let rows = store.documents()?;
    let stored: usize = rows.iter().map(|row| row.chunks).sum();
    let seconds = seconds / chunks.max(1) as f64 * stored as f64;
    Ok(IndexCost { seconds, seconds_per_document: seconds / rows.len().max(1) as f64 })
}

/// The setting that holds (seconds, chunks) of all ingestions.
const SPENT: &str = "ingestion";

fn spent(store: &Store) -> Result<(f64, usize)> {
    let json = store.setting(SPENT)?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

/// Adds an ingestion to the time that is known.
pub(crate) fn record_ingestion(store: &mut Store, seconds: f64, chunks: usize) -> Result<()> {
    let (seconds_before, chunks_before) = spent(store)?;
    let spent = serde_json::json!([seconds_before + seconds, chunks_before + chunks]);
    Ok(store.put_setting(SPENT, &spent.to_string())?)
}
