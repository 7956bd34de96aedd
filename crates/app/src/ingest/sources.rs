//! What there is to ingest: files below folders, files that match a pattern, and pages of the web.

use std::fs;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use crate::error::{Error, Result};
use crate::project::Project;

/// The name of files that say, like `.gitignore`, what is not ingested.
pub(crate) const IGNORE_FILE: &str = ".tunesmithignore";

/// Where documents come from.
#[derive(Debug)]
pub(crate) enum DocumentSource {
    /// All files below a folder, or one file.
    Path(PathBuf),
    /// The files below `base` that match.
    Pattern { written: PathBuf, base: PathBuf, matcher: GlobMatcher },
    /// A page of the web.
    Page(String),
}

/// One thing to be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// A file, by its absolute path.
    File(PathBuf),
    /// An address.
    Page(String),
}

impl Item {
    /// The name of the document in the store.
    pub(crate) fn name(&self, project: &Project) -> String {
        match self {
            Item::File(path) => project.name_of(path),
            Item::Page(address) => address.clone(),
        }
    }
}

impl DocumentSource {
    /// Reads what a user wrote; a relative path starts at `base`. What exists is taken as a path,
    /// even if its name looks like a pattern.
    ///
    /// # Errors
    /// [`Error::MissingDocuments`] for a path that does not exist and is no pattern,
    /// [`Error::Pattern`].
    pub(crate) fn parse(base: &Path, written: &Path) -> Result<Self> {
        if let Some(address) = written.to_str()
            && is_address(address)
        {
            return Ok(DocumentSource::Page(address.to_owned()));
        }
        let path = base.join(written);
        if let Ok(path) = fs::canonicalize(&path) {
            return Ok(DocumentSource::Path(path));
        }
        if !is_pattern(written) {
            return Err(Error::MissingDocuments(path));
        }
        let fixed: PathBuf =
            path.components().take_while(|part| !is_pattern(Path::new(part))).collect();
        let fixed = fs::canonicalize(&fixed).map_err(|_| Error::MissingDocuments(fixed))?;
        let rest: PathBuf =
            path.components().skip_while(|part| !is_pattern(Path::new(part))).collect();
        if rest.components().any(|part| part == Component::ParentDir) {
            return Err(Error::MissingDocuments(path));
        }
        let matcher = GlobBuilder::new(&rest.to_string_lossy())
            .literal_separator(true)
            .build()
            .map_err(|source| Error::Pattern { pattern: written.to_owned(), source })?
            .compile_matcher();
        Ok(DocumentSource::Pattern { written: written.to_owned(), base: fixed, matcher })
    }

    /// Whether a stored document of this name would have come from this source.
    pub(crate) fn covers(&self, project: &Project, name: &str) -> bool {
        match self {
            DocumentSource::Page(address) => address == name,
            _ if is_address(name) => false,
            DocumentSource::Path(root) => project.path(Path::new(name)).starts_with(root),
            DocumentSource::Pattern { base, matcher, .. } => project
                .path(Path::new(name))
                .strip_prefix(base)
                .is_ok_and(|rest| matcher.is_match(rest)),
        }
    }

    /// The folder or file it looks into.
    pub(crate) fn into_root(self) -> Option<PathBuf> {
        match self {
            DocumentSource::Path(root) | DocumentSource::Pattern { base: root, .. } => Some(root),
            DocumentSource::Page(_) => None,
        }
    }

    /// What the source holds now, which may be nothing. Hidden files, `tunesmith.toml` and what
    /// ignore files name are left out. A single file that the user names is always taken.
    pub(crate) fn items(&self, project: &Project, ignoring: bool) -> Result<Vec<Item>> {
        let (root, matcher) = match self {
            DocumentSource::Page(address) => return Ok(vec![Item::Page(address.clone())]),
            DocumentSource::Path(path) if path.is_file() => {
                return Ok(vec![Item::File(path.clone())]);
            }
            DocumentSource::Path(path) => (path, None),
            DocumentSource::Pattern { base, matcher, .. } => (base, Some(matcher)),
        };
        let mut walk = WalkBuilder::new(root);
        walk.standard_filters(ignoring).hidden(true);
        if ignoring {
            walk.add_custom_ignore_filename(IGNORE_FILE);
        }
        let mut items = Vec::new();
        for entry in walk.build() {
            let entry = entry?;
            let own = entry.path() == project.root.join(crate::project::config::FILE);
            let matches = matcher.is_none_or(|matcher| {
                entry.path().strip_prefix(root).is_ok_and(|rest| matcher.is_match(rest))
            });
            if matches && !own && entry.file_type().is_some_and(|kind| kind.is_file()) {
                items.push(Item::File(entry.into_path()));
            }
        }
        Ok(items)
    }

    /// As the user wrote it, or where it is.
    fn written(&self) -> PathBuf {
        match self {
            DocumentSource::Path(path) | DocumentSource::Pattern { written: path, .. } => {
                path.clone()
            }
            DocumentSource::Page(address) => address.into(),
        }
    }
}

/// Everything that the sources hold, in order and each once.
///
/// # Errors
/// [`Error::NoFiles`] for a source that holds nothing now and that nothing `stored` came from: most
/// likely a typing error. A source that stored documents came from has become empty, and they will
/// be deleted.
pub(crate) fn items<'a>(
    project: &Project,
    sources: &[DocumentSource],
    ignoring: bool,
    stored: impl Iterator<Item = &'a String> + Clone,
) -> Result<Vec<Item>> {
    if sources.is_empty() {
        return Err(Error::NothingToIngest);
    }
    let mut items = Vec::new();
    for source in sources {
        let found = source.items(project, ignoring)?;
        if found.is_empty() && !stored.clone().any(|name| source.covers(project, name)) {
            return Err(Error::NoFiles(source.written()));
        }
        items.extend(found);
    }
    items.sort();
    items.dedup();
    Ok(items)
}

/// Whether a name is an address of the web.
pub(crate) fn is_address(name: &str) -> bool {
    let starts = |scheme: &str| {
        name.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    starts("http://") || starts("https://")
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A project with files of these names.
    fn project(names: &[&str]) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        Project::init(folder.path()).unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        let project = Project::open(folder.path()).unwrap();
        (folder, project)
    }

    fn names(project: &Project, written: &str, ignoring: bool) -> Vec<String> {
        let source = DocumentSource::parse(&project.root, Path::new(written)).unwrap();
        let items = items(project, &[source], ignoring, [].iter()).unwrap();
        items.iter().map(|item| item.name(project)).collect()
    }

    #[test]
    fn folders_files_and_patterns() {
        let (_folder, project) =
            project(&["d/a.md", "d/b.txt", "d/deep/c.md", "d/.hidden/x.md", "d/[1].md"]);
        assert_eq!(names(&project, "d", true), ["d/[1].md", "d/a.md", "d/b.txt", "d/deep/c.md"]);
        assert_eq!(names(&project, "d/*.md", true), ["d/[1].md", "d/a.md"]);
        assert_eq!(names(&project, "d/**/*.md", true), ["d/[1].md", "d/a.md", "d/deep/c.md"]);
        assert_eq!(names(&project, "d/{a,b}.*", true), ["d/a.md", "d/b.txt"]);
        // It exists, so it is no pattern.
        assert_eq!(names(&project, "d/[1].md", true), ["d/[1].md"]);
        assert_eq!(
            names(&project, ".", true).iter().filter(|name| name.ends_with(".toml")).count(),
            0
        );
    }

    #[test]
    fn ignore_files_are_respected_unless_asked_otherwise() {
        let (_folder, project) = project(&["d/a.md", "d/draft.md", "d/old/b.md", "d/c.md"]);
        fs::write(project.root.join("d").join(IGNORE_FILE), "draft*\nold/\n").unwrap();
        fs::write(project.root.join("d/.ignore"), "c.md\n").unwrap();
        assert_eq!(names(&project, "d", true), ["d/a.md"]);
        assert_eq!(names(&project, "d/draft.md", true), ["d/draft.md"]);
        assert_eq!(names(&project, "d", false).len(), 4);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (_folder, project) = project(&["d/a.md"]);
        let parse = |written: &str| DocumentSource::parse(&project.root, Path::new(written));
        assert!(matches!(parse("e"), Err(Error::MissingDocuments(_))));
        assert!(matches!(parse("e/*.md"), Err(Error::MissingDocuments(_))));
        assert!(matches!(parse("d/[.md"), Err(Error::Pattern { .. })));
        let none = [parse("d/*.pdf").unwrap()];
        assert!(matches!(items(&project, &none, true, [].iter()), Err(Error::NoFiles(_))));
        // Something came from there: now it is gone.
        assert_eq!(items(&project, &none, true, ["d/b.pdf".to_owned()].iter()).unwrap(), []);
        assert!(matches!(items(&project, &[], true, [].iter()), Err(Error::NothingToIngest)));
    }

    #[test]
    fn a_source_knows_what_came_from_it() {
        let (_folder, project) = project(&["d/a.md"]);
        let covers = |written: &str, name: &str| {
            DocumentSource::parse(&project.root, Path::new(written)).unwrap().covers(&project, name)
        };
        assert!(
            covers("d", "d/gone.md")
                && !covers("d", "e/gone.md")
                && !covers("d", "https://x.org/d")
        );
        assert!(covers("d/*.md", "d/gone.md") && !covers("d/*.md", "d/gone.txt"));
        assert!(
            covers("https://x.org/d", "https://x.org/d") && !covers("https://x.org/d", "d/a.md")
        );
    }
}
