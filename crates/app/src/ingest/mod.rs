//! Bytes -> document -> chunks -> vectors -> store.
//!
//! Only what changed since the last time is touched, files that vanished are deleted, and one bad
//! file never stops the others.

mod belonging;
mod fetch;
pub mod report;
mod sources;
pub mod watch;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use store::Metadata;

pub(crate) use self::belonging::Belonging;
pub use self::report::{FileOutcome, FileReport, IngestReport};

use self::belonging::modified;
use crate::Progress;
use crate::error::{IoContext, Result};
use crate::ingest::fetch::{Fetcher, Missing};
use crate::ingest::sources::{DocumentSource, Item};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::search::chunks::{Pending, prepare};
use crate::search::index_cost::record_ingestion;
use crate::search::knowledge::Knowledge;

/// Chunks embedded in one batch: enough to sort by length and to keep all cores busy, few enough
/// to stop soon.
const BATCH: usize = 64;

/// What happens during [`ingest`].
#[derive(Clone, Debug)]
pub enum IngestEvent {
    /// The files are known.
    Found {
        /// How many.
        files: usize,
    },
    /// A file is done.
    File(FileReport),
}

/// What to ingest, and how far to go for it.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// Folders, files, patterns such as `notes/**/*.md`, and addresses of the web, relative to the
    /// folder the program runs in; none means those of the configuration.
    pub paths: Vec<PathBuf>,
    /// Take in what `.gitignore`, `.ignore` and `.tunesmithignore` name, too.
    pub include_ignored: bool,
    /// Fetch pages from private and loopback addresses, too.
    pub allow_private: bool,
}

impl IngestOptions {
    /// Where documents come from.
    fn sources(&self, project: &Project) -> Result<Vec<DocumentSource>> {
        if self.paths.is_empty() {
            let config = &project.config;
            let others = config.collections.iter().flat_map(|collection| &collection.documents);
            let all = config.documents.iter().chain(others);
            return all.map(|path| DocumentSource::parse(&project.root, path)).collect();
        }
        let here = std::env::current_dir().context("open", Path::new("."))?;
        self.paths.iter().map(|path| DocumentSource::parse(&here, path)).collect()
    }

    /// The folders and files in which a change may concern a document.
    pub(crate) fn watched(&self, project: &Project) -> Result<Vec<PathBuf>> {
        Ok(self.sources(project)?.into_iter().filter_map(DocumentSource::into_root).collect())
    }
}

/// Ingests documents.
///
/// # Errors
/// A source that does not exist or never held a file, nothing named at all: nothing is changed
/// then. Errors of single files are in the report.
pub fn ingest(
    project: &Project,
    knowledge: &mut Knowledge,
    options: &IngestOptions,
    progress: &mut Progress<'_, IngestEvent>,
) -> Result<IngestReport> {
    let start = Instant::now();
    let sources = options.sources(project)?;
    let stored = stored(knowledge)?;
    let items = sources::items(project, &sources, !options.include_ignored, stored.keys())?;
    progress.report(IngestEvent::Found { files: items.len() });
    let mut work = Ingestion {
        project,
        fetcher: Fetcher::new(options.allow_private),
        belonging: Belonging::new(project),
        stored,
        described: Vec::new(),
        knowledge,
        report: IngestReport::default(),
        pending: Vec::new(),
        progress,
    };
    let mut seen = HashSet::new();
    for item in items {
        if work.progress.check().is_err() {
            work.report.interrupted = true;
            break;
        }
        let name = item.name(project);
        seen.insert(name.clone());
        work.item(name, item)?;
    }
    work.flush()?;
    work.knowledge.store.describe_documents(&work.described)?;
    if !work.report.interrupted {
        work.delete_vanished(&sources, &seen)?;
    }
    let Ingestion { knowledge, mut report, .. } = work;
    knowledge.store.commit_index()?;
    report.seconds = start.elapsed().as_secs_f64();
    if report.stored() > 0 {
        record_ingestion(&mut knowledge.store, report.seconds, report.chunks())?;
    }
    Ok(report)
}

/// What is stored of a document.
struct StoredDocument {
    /// SHA-256 of its content.
    sha256: String,
    metadata: Metadata,
}

/// What is stored, by the documents' names.
fn stored(knowledge: &Knowledge) -> Result<HashMap<String, StoredDocument>> {
    let rows = knowledge.store.documents()?.into_iter();
    Ok(rows
        .map(|row| (row.path, StoredDocument { sha256: row.sha256, metadata: row.metadata }))
        .collect())
}

/// One run of [`ingest`].
struct Ingestion<'a, 'p> {
    project: &'a Project,
    fetcher: Fetcher,
    belonging: Belonging<'a>,
    stored: HashMap<String, StoredDocument>,
    /// Unchanged documents whose metadata changed.
    described: Vec<(String, Metadata)>,
    knowledge: &'a mut Knowledge,
    report: IngestReport,
    pending: Vec<Pending>,
    progress: &'a mut Progress<'p, IngestEvent>,
}

impl Ingestion<'_, '_> {
    fn item(&mut self, name: String, item: Item) -> Result<()> {
        match item {
            Item::File(path) => match text::load(&path) {
                Ok(bytes) => self.document(name, &path, &bytes, modified(&path)),
                Err(error) => self.unreadable(name, error.to_string()),
            },
            Item::Page(address) => match self.fetcher.get(&address) {
                Ok(page) => self.document(name, &page.file, &page.bytes, None),
                Err(Missing::Gone(reason)) => self.withdraw(name, reason),
                Err(Missing::Unreachable(reason)) => self.unreadable(name, reason),
            },
        }
    }

    /// Takes in what a file or page holds; `path` helps to tell its format.
    fn document(
        &mut self,
        name: String,
        path: &Path,
        bytes: &[u8],
        modified: Option<i64>,
    ) -> Result<()> {
        let sha256 = hash_bytes(bytes);
        let metadata = self.belonging.metadata(&name, modified);
        if let Some(stored) = self.stored.get(&name)
            && stored.sha256 == sha256
        {
            let metadata = Metadata { language: stored.metadata.language.clone(), ..metadata };
            if stored.metadata != metadata {
                self.described.push((name.clone(), metadata));
            }
            self.done(name, FileOutcome::Unchanged);
            return Ok(());
        }
        match text::read(path, bytes) {
            Ok(document) => {
                let language = document.language.map_or(metadata.language, str::to_owned);
                let mut pending = prepare(&self.knowledge.recipe.chunks(), name, sha256, document);
                pending.document.metadata = Metadata { language, ..metadata };
                self.pending.push(pending);
                if self.pending.iter().map(|pending| pending.texts.len()).sum::<usize>() >= BATCH {
                    self.flush()?;
                }
                Ok(())
            }
            Err(error) => self.withdraw(name, error.to_string()),
        }
    }

    /// Takes a document out of the store whose file or page no longer says what is stored.
    fn withdraw(&mut self, name: String, reason: String) -> Result<()> {
        let withdrawn = self.knowledge.store.delete_document(&name)?;
        self.done(name, FileOutcome::Failed { reason, withdrawn });
        Ok(())
    }

    /// Reports a file or page that exists but could not be read. What is stored of it may still be
    /// true, so it stays.
    fn unreadable(&mut self, name: String, reason: String) -> Result<()> {
        self.done(name, FileOutcome::Failed { reason, withdrawn: false });
        Ok(())
    }

    /// Embeds what is pending in one batch and stores it.
    fn flush(&mut self) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let texts: Vec<&str> =
            pending.iter().flat_map(|pending| &pending.texts).map(String::as_str).collect();
        let mut vectors = self.knowledge.encoder.embed(&texts)?.into_iter();
        self.report.embed_seconds += start.elapsed().as_secs_f64();
        for Pending { document, .. } in &mut pending {
            for chunk in &mut document.chunks {
                chunk.vector = vectors.next();
            }
        }
        let mut done = Vec::with_capacity(pending.len());
        let documents = pending.into_iter().map(|Pending { document, receipt, .. }| {
            let replaced = self.stored.contains_key(&document.path);
            done.push((document.path.clone(), FileOutcome::Stored { receipt, replaced }));
            document
        });
        self.knowledge.store.put_documents(documents)?;
        for (name, outcome) in done {
            self.done(name, outcome);
        }
        Ok(())
    }

    /// Deletes documents that came from the sources and are no longer there.
    fn delete_vanished(
        &mut self,
        sources: &[DocumentSource],
        seen: &HashSet<String>,
    ) -> Result<()> {
        let vanished = |name: &&String| {
            !seen.contains(*name) && sources.iter().any(|source| source.covers(self.project, name))
        };
        let mut gone: Vec<String> = self.stored.keys().filter(vanished).cloned().collect();
        gone.sort();
        for name in gone {
            self.knowledge.store.delete_document(&name)?;
            self.done(name, FileOutcome::Deleted);
        }
        Ok(())
    }

    fn done(&mut self, path: String, outcome: FileOutcome) {
        let report = FileReport { path, outcome };
        self.progress.report(IngestEvent::File(report.clone()));
        self.report.files.push(report);
    }
}
