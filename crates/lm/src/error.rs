//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file or a text was refused: an error of the library that read it, or a sentence.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Whatever can go wrong between a model file and an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not what its format promises: truncated, inconsistent or hostile.
    #[error("{}: not a valid {format} file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `GGUF`, `safetensors`, `config.json`, …
        format: &'static str,
        /// What is wrong, with the offset or the name where it is known; the parser's own error
        /// where it found it.
        #[source]
        reason: Cause,
    },
    /// A valid file that asks for something this engine does not do.
    #[error("{}: {what} is not supported", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is missing, for example ``architecture `mamba` ``.
        what: String,
    },
    /// The file lacks a tensor that its architecture needs.
    #[error("{}: no tensor named `{name}`", path.display())]
    MissingTensor {
        /// The file or folder.
        path: PathBuf,
        /// Hugging Face name of the tensor.
        name: String,
    },
    /// A tensor's shape contradicts the configuration.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Hugging Face name of the tensor.
        name: String,
        /// What the configuration implies.
        expected: Vec<usize>,
        /// What the file holds.
        found: Vec<usize>,
    },
    /// A model whose parts are each readable but contradict each other or cannot be used; the cause
    /// says how.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// [`Error::Config`], [`Error::Shape`], [`Error::Tokenizer`] or [`Error::Template`].
        source: Box<Error>,
    },
    /// A configuration value that no model can have.
    #[error("model configuration: {0}")]
    Config(String),
    /// The tokenizer could not be built or could not encode.
    #[error("tokenizer: {0}")]
    Tokenizer(#[source] Cause),
    /// The chat template could not be compiled or rendered.
    #[error("chat template: {message}")]
    Template {
        /// What the template engine or the template itself said.
        message: String,
        /// The engine's error, where there is one.
        #[source]
        source: Option<Box<minijinja::Error>>,
    },
    /// An example whose completion leaves nothing to train on.
    #[error("line {line}: the example leaves no trainable token: {reason}")]
    NoTrainableToken {
        /// Line of the example in its file, 1-based; 0 when it came from elsewhere.
        line: usize,
        /// Why nothing is left.
        reason: String,
    },
    /// More tokens than a limit allows.
    #[error("{what}: {tokens} tokens, but at most {limit} fit")]
    TooLong {
        /// What is too long, for example `prompt` or `example on line 7`.
        what: String,
        /// Its length in tokens.
        tokens: usize,
        /// The limit in tokens.
        limit: usize,
    },
    /// A token id outside the model's vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocabulary}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Number of rows of the embedding.
        vocabulary: usize,
    },
    /// A forward pass over no tokens at all.
    #[error("there are no tokens to run the model on")]
    NoTokens,
    /// An adapter, a cache or a gradient buffer made for another model.
    #[error("the {what} does not fit this model: {reason}")]
    Mismatch {
        /// `adapter`, `key-value cache` or `gradient buffer`.
        what: &'static str,
        /// How it differs.
        reason: String,
    },
    /// A training pack whose parts contradict each other.
    #[error("training pack: {0}")]
    Pack(String),
    /// A dataset file with faults; all of them.
    #[error(transparent)]
    Dataset(#[from] crate::DatasetErrors),
    /// Training would not fit into memory.
    #[error(
        "training needs {} MiB more ({} MiB for the adapter and its optimiser, {} MiB for activations), but only {} \
         MiB are free; a smaller pack_tokens, max_length or rank lowers the need",
        mib(*needed), mib(*adapter), mib(*activations), mib(*available)
    )]
    Memory {
        /// Bytes needed beyond the loaded model.
        needed: u64,
        /// Bytes free.
        available: u64,
        /// Bytes of adapter, gradient and moments.
        adapter: u64,
        /// Bytes of the largest pack's activations.
        activations: u64,
    },
    /// A loss or gradient that is no number any more.
    #[error(
        "training diverged in step {step} (loss {loss}, gradient norm {gradient_norm}); lower the learning rate"
    )]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// Its mean loss.
        loss: f64,
        /// Its gradient norm; 0 in an evaluation.
        gradient_norm: f64,
    },
    /// A checkpoint that cannot be resumed from here.
    #[error("{}: cannot resume: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Its version, or how its run differs from this one.
        reason: String,
    },
    /// An adapter folder that cannot be written or does not fit the model.
    #[error("adapter {}: {reason}", path.display())]
    Adapter {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An engine has as many requests waiting as it may.
    #[error("{waiting} requests are waiting already; try again shortly")]
    Busy {
        /// How many may wait.
        waiting: usize,
    },
    /// Work that nobody waited for any more was left off.
    #[error("cancelled")]
    Cancelled,
    /// An engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
    /// A thread could not be started.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An option outside its range.
    #[error("{name}: {reason}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What is allowed and what was given.
        reason: String,
    },
}

impl Error {
    /// Names the model file where the error itself does not, for `map_err`.
    pub(crate) fn of_model(path: &Path) -> impl FnOnce(Self) -> Self + '_ {
        move |error| match error {
            Self::Config(_) | Self::Shape { .. } | Self::Tokenizer(_) | Self::Template { .. } => {
                Self::Model { path: path.to_owned(), source: Box::new(error) }
            }
            named => named,
        }
    }

    /// An [`Error::Malformed`] at `path`, for `map_err`.
    pub(crate) fn malformed<'a, C: Into<Cause>>(
        path: &'a Path,
        format: &'static str,
    ) -> impl Fn(C) -> Self + 'a {
        move |cause| Self::Malformed { path: path.to_owned(), format, reason: cause.into() }
    }

    /// An [`Error::Tokenizer`], for `map_err`.
    pub(crate) fn tokenizer(cause: impl Into<Cause>) -> Self {
        Self::Tokenizer(cause.into())
    }

    /// An [`Error::Io`] at `path`, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

impl From<minijinja::Error> for Error {
    fn from(source: minijinja::Error) -> Self {
        Self::Template { message: source.to_string(), source: Some(Box::new(source)) }
    }
}

/// Bytes in MiB, rounded up.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
