//! The threads that compute: one pool for all operators, started once.
//!
//! A thread outside the pool that asks for work, such as an engine's or a server's, waits until the
//! pool has done it. So no more threads compute than the pool has, however many requests there are.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::{Error, Result};

/// Environment variable that says how many threads compute.
const VARIABLE: &str = "TUNESMITH_THREADS";

/// The thread pool's own variable, which counts where nothing else is said.
const POOL_VARIABLE: &str = "RAYON_NUM_THREADS";

/// How many threads may be asked for.
pub const THREADS: RangeInclusive<usize> = 1..=1024;

/// Starts the threads that compute, before anything is computed, and returns their number: `asked`,
/// else `TUNESMITH_THREADS`, else `RAYON_NUM_THREADS`, else one for each physical core that the
/// process may use. Two threads of one core share its arithmetic, so more gain nothing.
///
/// # Errors
/// [`Error::Option`] for a number out of [`THREADS`]; [`Error::Thread`] when the threads have been
/// started already or the operating system refuses them.
pub fn start_threads(asked: Option<usize>) -> Result<usize> {
    let ours = std::env::var_os(VARIABLE).map(|text| text.to_string_lossy().into_owned());
    let pools = std::env::var(POOL_VARIABLE).ok();
    let threads = match chosen(asked, ours.as_deref(), pools.as_deref())? {
        Some(threads) => threads,
        None => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            // Counts processors that the process is bound to, and its group's share of processor
            // time.
            let most = std::thread::available_parallelism().map_or(1, usize::from);
            default_threads(Path::new("/sys/devices/system/cpu"), &status, most)
        }
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|at| format!("compute-{at}"));
    let started = pool.build_global();
    started.map_err(|error| Error::Thread { source: std::io::Error::other(error) })?;
    Ok(threads)
}

/// Runs `work` on one of the threads that compute. What it computes on several of them starts at
/// once there; from another thread each piece of it would be handed over and waited for, which
/// takes as long as a small search.
///
/// Nothing in `work` may wait for a thread that computes itself, as there is one fewer meanwhile.
pub fn on_computing_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// How many threads compute.
pub fn computing_threads() -> usize {
    rayon::current_num_threads()
}

/// The number that somebody asked for.
fn chosen(asked: Option<usize>, ours: Option<&str>, pools: Option<&str>) -> Result<Option<usize>> {
    if let Some(threads) = asked {
        return if THREADS.contains(&threads) {
            Ok(Some(threads))
        } else {
            Err(refused("threads", threads))
        };
    }
    if let Some(text) = ours {
        let threads = text.trim().parse().ok().filter(|threads| THREADS.contains(threads));
        return threads.map(Some).ok_or_else(|| refused(VARIABLE, format_args!("`{text}`")));
    }
    // The pool ignores what it does not understand, and so do we.
    Ok(pools.and_then(|text| text.parse().ok()).filter(|threads| THREADS.contains(threads)))
}

fn refused(name: &'static str, found: impl std::fmt::Display) -> Error {
    let reason =
        format!("expected a number from {} to {}, found {found}", THREADS.start(), THREADS.end());
    Error::Option { name, reason }
}

/// Physical cores among the processors that `status` (as Linux writes it of a process) allows, at
/// most `most`; `most` where `processors`, a folder for each of them, does not tell.
fn default_threads(processors: &Path, status: &str, most: usize) -> usize {
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores: BTreeSet<String> = allowed
        .map(ranges)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|n| core(processors, n))
        .collect();
    if cores.is_empty() { most } else { cores.len().min(most) }
}

/// `0-3,8` as ranges; what is no number is left out.
fn ranges(list: &str) -> Vec<RangeInclusive<usize>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).collect()
}

/// What the processors of a core have in common: the list of them. `None` where there is no such
/// processor.
fn core(processors: &Path, number: usize) -> Option<String> {
    let folder = processors.join(format!("cpu{number}/topology"));
    let lists = ["core_cpus_list", "thread_siblings_list"];
    lists.iter().find_map(|list| std::fs::read_to_string(folder.join(list)).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Processors by their lists of siblings.
    fn topology(file: &str, siblings: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, list) in siblings.iter().enumerate() {
            let topology = folder.path().join(format!("cpu{number}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            std::fs::write(topology.join(file), format!("{list}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn work_runs_among_the_threads_that_compute() {
        assert_eq!(rayon::current_thread_index(), None);
        let at = || rayon::current_thread_index();
        // Among them already, it stays where it is.
        assert!(on_computing_thread(|| at().is_some() && at() == on_computing_thread(at)));
    }

    #[test]
    fn a_thread_for_each_physical_core_that_the_process_may_use() {
        let two_threads_a_core = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];
        for file in ["core_cpus_list", "thread_siblings_list"] {
            let folder = topology(file, &two_threads_a_core);
            let threads = |allowed: &str, most: usize| {
                let status = format!(
                    "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems:\t0\n"
                );
                default_threads(folder.path(), &status, most)
            };
            assert_eq!(threads("0-7", 8), 4);
            // Processors that could be added to the machine count as allowed.
            assert_eq!(threads("0-127", 8), 4);
            assert_eq!(threads("0,4", 2), 1);
            assert_eq!(threads("1-2,5", 3), 2);
            // A share of processor time.
            assert_eq!(threads("0-7", 3), 3);
        }
    }

    #[test]
    fn where_cores_are_not_told_every_processor_counts() {
        let none = topology("other", &["0", "1"]);
        assert_eq!(default_threads(none.path(), "Cpus_allowed_list:\t0-1\n", 2), 2);
        let two = topology("core_cpus_list", &["0", "1"]);
        assert_eq!(default_threads(two.path(), "", 5), 5);
        assert_eq!(default_threads(two.path(), "Cpus_allowed_list:\tnone\n", 5), 5);
    }

    #[test]
    fn the_nearest_setting_counts_and_a_bad_one_is_refused() {
        assert_eq!(chosen(Some(3), Some("x"), Some("5")).unwrap(), Some(3));
        assert_eq!(chosen(None, Some(" 4 "), Some("5")).unwrap(), Some(4));
        assert_eq!(chosen(None, None, Some("5")).unwrap(), Some(5));
        assert_eq!(chosen(None, None, Some("0")).unwrap(), None);
        assert_eq!(chosen(None, None, None).unwrap(), None);
        let refused = |asked, ours| chosen(asked, ours, None).unwrap_err().to_string();
        assert_eq!(refused(Some(0), None), "threads: expected a number from 1 to 1024, found 0");
        for text in ["0", "", "two", "-1", "1025", "99999999999999999999"] {
            let expected =
                format!("TUNESMITH_THREADS: expected a number from 1 to 1024, found `{text}`");
            assert_eq!(refused(None, Some(text)), expected);
        }
    }
}
