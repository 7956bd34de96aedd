//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// For so long a project in use is waited for: a question may come while a changed document is being ingested.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// The project lock. The operating system releases it with the process, however that ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting some seconds for it, and writes this process's id into the file, for the one that comes second to report.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if asked.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).map_err(io)?;
                    return Err(Error::Locked { pid: holder.trim().parse().unwrap_or(0) });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Lock { _file: file })
    }
}
