//! Waiting for documents to change.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::Result;
use crate::ingest::IngestOptions;
use crate::project::{Project, STATE};

/// How long nothing must change before changes are ingested: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// The longest wait before changes are ingested, even while more arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the stop flag is read.
const GLANCE: Duration = Duration::from_millis(100);

/// Watches the folders and files that documents come from. Pages of the web are not watched.
pub struct Watch {
    changes: Receiver<notify::Result<notify::Event>>,
    /// Ends the watching when it is dropped.
    _watcher: RecommendedWatcher,
    /// The project's state folder: it changes with every ingestion, which is no reason for another.
    state: PathBuf,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// A source that does not exist, a system that cannot watch (as when its limit of watched
    /// folders is reached).
    pub fn new(project: &Project, options: &IngestOptions) -> Result<Self> {
        let (sender, changes) = channel();
        let mut watcher = notify::recommended_watcher(sender)?;
        for root in options.watched(project)? {
            watcher.watch(&root, RecursiveMode::Recursive)?;
        }
        Ok(Watch { changes, _watcher: watcher, state: project.root.join(STATE) })
    }

    /// Waits until something has changed and is quiet again; false when it was told to stop.
    ///
    /// # Errors
    /// The system can no longer watch.
    pub fn wait(&mut self, stop: &AtomicBool) -> Result<bool> {
        let mut first: Option<Instant> = None;
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match self.changes.recv_timeout(GLANCE) {
                Ok(event) => {
                    if self.concerns(&event?) {
                        last = Instant::now();
                        first.get_or_insert(last);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
            if first.is_some_and(|first| last.elapsed() >= QUIET || first.elapsed() >= PATIENCE) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn concerns(&self, event: &notify::Event) -> bool {
        let own = |path: &PathBuf| path.starts_with(&self.state) || is_hidden(path);
        // Reading a file is an event, too.
        !matches!(event.kind, EventKind::Access(_))
            && (event.need_rescan() || event.paths.is_empty() || !event.paths.iter().all(own))
    }
}

/// Hidden files are no documents. Ignore files count nevertheless: they decide what is ingested.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with('.') && !name.ends_with("ignore"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_seen_and_stopping_too() {
        let folder = tempfile::tempdir().unwrap();
        Project::init(folder.path()).unwrap();
        let project = Project::open(folder.path()).unwrap();
        let options = IngestOptions::default();
        let mut watch = Watch::new(&project, &options).unwrap();
        let stop = AtomicBool::new(false);

        let documents = project.root.join("documents");
        fs::create_dir(documents.join("deep")).unwrap();
        fs::write(documents.join("deep/a.md"), "one").unwrap();
        assert!(watch.wait(&stop).unwrap());
        fs::remove_file(documents.join("deep/a.md")).unwrap();
        assert!(watch.wait(&stop).unwrap());

        // What is read or hidden is no change: waiting goes on until it is told to stop.
        fs::write(documents.join(".draft.swp"), "x").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(QUIET * 3);
                stop.store(true, Ordering::Relaxed);
            });
            assert!(!watch.wait(&stop).unwrap());
        });
    }
}
