//! Which collection a document belongs to, by the configuration.

use std::path::Path;

use store::Metadata;

use crate::ingest::sources::DocumentSource;
use crate::project::Project;
use crate::project::config::{Collection, DOCUMENTS};

/// The collections of a project with the sources they claim.
pub(crate) struct Belonging<'a> {
    project: &'a Project,
    /// In order of the configuration: the first that covers a document claims it.
    collections: Vec<(DocumentSource, &'a Collection)>,
}

impl<'a> Belonging<'a> {
    pub(crate) fn new(project: &'a Project) -> Self {
        let all = project.config.collections.iter();
        let sources = all
            .flat_map(|collection| collection.documents.iter().map(move |path| (path, collection)));
        // A path that does not exist holds no document. Ingesting would have reported it.
        let parsed = sources
            .filter_map(|(path, of)| Some((DocumentSource::parse(&project.root, path).ok()?, of)));
        Belonging { project, collections: parsed.collect() }
    }

    /// What a document can be filtered by. `modified` is in seconds since 1970.
    pub(crate) fn metadata(&self, name: &str, modified: Option<i64>) -> Metadata {
        let claims =
            |(source, _): &&(DocumentSource, &Collection)| source.covers(self.project, name);
        let of = self.collections.iter().find(claims).map(|(_, collection)| *collection);
        let mut tags = of.map(|collection| collection.tags.clone()).unwrap_or_default();
        tags.sort();
        tags.dedup();
        Metadata {
            collection: of.map_or(DOCUMENTS, |collection| &collection.name).to_owned(),
            tags,
            modified,
            language: self.project.config.retrieval.language.clone(),
        }
    }
}

/// When a file was last changed, in seconds since 1970, where the system knows.
pub(super) fn modified(path: &Path) -> Option<i64> {
    let time = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs().cast_signed())
}
