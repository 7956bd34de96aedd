//! One process writes at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// For so long a project in use is waited for: a question may come while a changed document is
/// being ingested.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// The project lock. The operating system releases it with the process, however that ends.
pub(crate) struct Lock {
    _file: File,
}

/// When a store keeps others from writing.
pub(crate) enum Hold {
    /// As long as it lives.
    Always { _lock: Lock },
    /// While it writes itself; where the lock lies.
    WhileWriting(PathBuf),
}

impl Lock {
    /// Takes the lock, waiting some seconds for it.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that still holds it then.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let asked = Instant::now();
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            if asked.elapsed() >= PATIENCE {
                let holder =
                    std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
                return Err(Error::Locked { pid: holder.trim().parse().unwrap_or(0) });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Takes the lock unless somebody holds it, and writes this process's id into the file, for the
    /// one that comes second to report.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        let io = |source| Error::io(path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Some(Lock { _file: file }))
    }
}
