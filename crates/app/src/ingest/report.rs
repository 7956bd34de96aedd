//! What an ingestion did, file by file.

use serde::Serialize;
use text::Receipt;

/// What became of one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// The document's name in the store.
    pub path: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: FileOutcome,
}

/// What became of a file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum FileOutcome {
    /// Read and stored.
    Stored {
        /// What reading found.
        receipt: Receipt,
        /// Whether an older version was replaced.
        replaced: bool,
    },
    /// The same content is stored already.
    Unchanged,
    /// The file is gone, and so is the document.
    Deleted,
    /// The file could not be read.
    Failed {
        /// Why.
        reason: String,
        /// Whether an older version was taken out of the store, because the file no longer says
        /// what it said.
        withdrawn: bool,
    },
}

/// What an ingestion did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IngestReport {
    /// One entry for each file, in the order in which they were handled.
    pub files: Vec<FileReport>,
    /// Seconds it took.
    pub seconds: f64,
    /// Seconds of these spent on turning chunks into vectors.
    pub embed_seconds: f64,
    /// Whether it was stopped before the end; what is stored stays stored.
    pub interrupted: bool,
}

impl IngestReport {
    /// Files that were read and stored.
    pub fn stored(&self) -> usize {
        self.count(|outcome| matches!(outcome, FileOutcome::Stored { .. }))
    }

    /// Files whose content was stored already.
    pub fn unchanged(&self) -> usize {
        self.count(|outcome| matches!(outcome, FileOutcome::Unchanged))
    }

    /// Documents whose file is gone.
    pub fn deleted(&self) -> usize {
        self.count(|outcome| matches!(outcome, FileOutcome::Deleted))
    }

    /// Files that could not be read.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, FileOutcome::Failed { .. }))
    }

    /// Chunks of the files that were stored.
    pub fn chunks(&self) -> usize {
        let of = |file: &FileReport| match &file.outcome {
            FileOutcome::Stored { receipt, .. } => receipt.chunks,
            _ => 0,
        };
        self.files.iter().map(of).sum()
    }

    fn count(&self, matching: impl Fn(&FileOutcome) -> bool) -> usize {
        self.files.iter().filter(|file| matching(&file.outcome)).count()
    }
}
