//! Retrieval measured on a collection in BEIR layout: `corpus.jsonl`, `queries.jsonl`,
//! `qrels/SPLIT.tsv` (Thakur et al., "BEIR", 2021). No project is needed. A project's own questions
//! are measured in [`super::retrieval`]; tuning the embedder on a collection is measured in
//! [`tuned`].

mod collection;
mod index;
mod options;
mod rankings;
mod report;
pub mod tuned;

use lm::Encoder;

use crate::error::Result;
use crate::progress::Progress;
use collection::{BeirCollection, read_qrels};
pub use index::Indexed;
pub use options::BeirOptions;
pub use report::{BeirReport, BeirRun};

/// Indexes a collection as [`ingest`](crate::ingest::ingest) would and measures BM25, vectors and
/// their fusion; a document ranks as its best chunk does.
///
/// # Errors
/// Files that are missing or malformed, with their line; the store's and the encoder's own;
/// [`crate::Error::Interrupted`].
pub fn measure(
    options: &BeirOptions<'_>,
    encoder: &Encoder,
    progress: &mut Progress<'_, Indexed>,
) -> Result<BeirReport> {
    let collection = BeirCollection::read(options.folder)?;
    let qrels = read_qrels(options.folder, options.split)?;
    let rankings = rankings::rank(&collection, options, &qrels, encoder, progress)?;
    if let Some(folder) = options.runs {
        report::write_runs(&rankings, folder)?;
    }
    let report = BeirReport::new(&rankings, &qrels);
    Ok(match options.reranker {
        Some(reranker) => report.with_reranker(&reranker.name),
        None => report,
    })
}
