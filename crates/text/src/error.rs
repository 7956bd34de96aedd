//! What can be wrong with one file.

use std::time::Duration;

use crate::Format;

/// Why a file could not be read as a document.
///
/// An error concerns the one file that was passed in, so messages do not repeat its path: the
/// caller, who knows it, puts it in front.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to hand over the bytes.
    #[error("cannot be read: {source}")]
    Unreadable {
        /// The system's own words.
        #[from]
        source: std::io::Error,
    },
    /// No bytes, or nothing but white space.
    #[error("is empty")]
    Empty,
    /// Larger than [`crate::MAX_BYTES`], or grows past [`crate::MAX_TEXT`] when read.
    #[error("is too large: {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// What was found, in bytes.
        bytes: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// A known format that is not read, such as a picture or an archive.
    #[error("is {name}, which is not read")]
    Unsupported {
        /// The format with its article, such as "a picture (png)".
        name: &'static str,
    },
    /// Bytes that are no text in any encoding we recognise.
    #[error("is not text: byte {offset} is {byte:#04x}")]
    Binary {
        /// Where the first telling byte stands.
        offset: usize,
        /// The byte.
        byte: u8,
    },
    /// Text in an unknown encoding, or UTF-8 that is broken.
    #[error("is not valid UTF-8 at byte {offset}, and no other encoding is certain enough")]
    InvalidUtf8 {
        /// The first byte that is not UTF-8.
        offset: usize,
    },
    /// Bytes that do not fit the encoding announced by the file itself.
    #[error("says it is {name}, but is not")]
    Encoding {
        /// The encoding's name.
        name: &'static str,
    },
    /// Pages without a text layer: pictures, most often scans.
    #[error("holds no text on its {pages} page(s); scanned pages need text recognition first")]
    NoText {
        /// Number of pages looked at.
        pages: usize,
    },
    /// Needs a password.
    #[error("is encrypted and needs a password")]
    Encrypted,
    /// A line breaks the rules of its format.
    #[error("line {line}: {source}")]
    Malformed {
        /// The format whose rules are broken.
        format: Format,
        /// Line number, from 1.
        line: usize,
        /// What was expected and what was found.
        source: Cause,
    },
    /// A container whose parts cannot be read: cut short, or not what it seems.
    #[error("is {name}, but damaged: {}{source}", part.as_ref().map(|part| format!("{part}: ")).unwrap_or_default())]
    Damaged {
        /// What it seems to be with its article, such as "a Word document (docx)".
        name: &'static str,
        /// The part concerned, where it is not the container as a whole.
        part: Option<String>,
        /// What is wrong with it.
        source: Cause,
    },
    /// A part of a container that grows without end when it is unpacked.
    #[error("its part {part} grows to more than {limit} bytes when it is unpacked")]
    Expands {
        /// The name of the part inside the container.
        part: String,
        /// The most that is unpacked, in bytes.
        limit: u64,
    },
    /// The format's parser gave up.
    #[error("is not a readable {format} file: {source}")]
    Parser {
        /// The format that was tried.
        format: Format,
        /// Why.
        source: Cause,
    },
}

/// What a parser or a reader says of the file; the message of the [`Error`] ends with it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a reader finds wrong by itself, where no parser has an error for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a quote is opened and never closed")]
    OpenQuote,
    #[error("{expected} was expected: {source}")]
    Json { expected: &'static str, source: serde_json::Error },
    #[error("no header line was found")]
    NoHeaderLine,
    #[error("it is missing")]
    MissingPart,
    #[error("it holds {found} files, at most {most} are looked at")]
    TooManyParts { found: usize, most: usize },
    #[error("it names no package document")]
    NoPackageDocument,
    #[error("none of its pages can be read")]
    NoReadablePage,
    #[error("the parser failed on it")]
    ParserPanicked,
    #[error("given up after {} seconds", .0.as_secs())]
    TimeLimit(Duration),
}
