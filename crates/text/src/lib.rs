//! From bytes to documents, and from documents to chunks.
//!
//! [`read`] turns the bytes of a file into a [`Document`]: one canonical text and the blocks it is
//! made of. [`Format`] lists what is read. [`chunk`] cuts a document into pieces small enough to
//! embed and to put in a prompt. Every piece is a byte span of the canonical text, so a citation
//! can be checked.
//!
//! A bad file is one [`Error`], never a crash: sizes, nesting and time are bounded.
//!
//! Where to look: `detect` tells the format, and a folder for each family of formats reads it:
//! `verbatim` (files that are their own text), `records`, `web`, `office`, `pdf`. What most readers
//! share is `writer` (text and blocks, in the order of the file) and `blocks` (the promises that
//! every document's blocks keep). `chunk` cuts.

mod blocks;
mod chunk;
mod detect;
mod document;
mod encoding;
mod error;
mod language;
mod office;
mod pdf;
mod records;
mod verbatim;
mod web;
mod writer;

use std::path::Path;
use std::time::Instant;

pub use chunk::{Chunk, ChunkOptions, Sizer, Words, chunk};
pub use document::{Block, BlockKind, Document, Format, Receipt, UnknownFormat};
pub use error::{Cause, Error};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;
/// The largest canonical text that is made from one file, in bytes.
pub const MAX_TEXT: usize = 64 << 20;

/// How many bytes at the beginning of a text are looked at to tell its format before decoding.
const HEAD: usize = 16 << 10;

/// Takes the bytes of a file.
///
/// # Errors
/// [`Error::TooLarge`] for a file larger than [`MAX_BYTES`], which is not read;
/// [`Error::Unreadable`].
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::metadata(path)?.len();
    check_size(bytes)?;
    Ok(std::fs::read(path)?)
}

/// Reads a file's bytes as a document.
///
/// The content decides the format. The extension of `path` decides only where content cannot, since
/// Markdown, CSV and plain text look alike. `path` itself is not opened.
///
/// # Errors
/// [`Error`]: what is wrong with this one file.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Document, Error> {
    read_nested(path, bytes, 0)
}

/// Reads a file that is an attachment inside `depth` messages, one inside the other.
fn read_nested(path: &Path, bytes: &[u8], depth: usize) -> Result<Document, Error> {
    let started = Instant::now();
    check_size(bytes.len() as u64)?;
    let mut document = match detect::kind(path, bytes)? {
        detect::Kind::Pdf => pdf::read(bytes)?,
        detect::Kind::Docx => office::docx::read(bytes)?,
        detect::Kind::Pptx => office::pptx::read(bytes)?,
        detect::Kind::Xlsx => office::xlsx::read(bytes)?,
        detect::Kind::Epub => office::epub::read(bytes)?,
        detect::Kind::Text => read_text(path, bytes, depth)?,
    };
    document.language = language::detect(&document.text, &document.blocks);
    document.receipt.characters = document.text.chars().count();
    document.receipt.seconds = started.elapsed().as_secs_f64();
    Ok(document)
}

fn read_text(path: &Path, bytes: &[u8], depth: usize) -> Result<Document, Error> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]);
    let begins_as = detect::text_format(path, &head).ok();
    // The parts of a message have encodings of their own.
    if begins_as == Some(Format::Email) {
        return web::email::read(bytes, depth, read_nested);
    }
    // A page may name its encoding.
    let text = encoding::decode(bytes, begins_as == Some(Format::Html))?;
    if text.chars().all(|c| c.is_whitespace() || c == '\u{feff}') {
        return Err(Error::Empty);
    }
    if text.len() > MAX_TEXT {
        return Err(Error::TooLarge { bytes: text.len() as u64, limit: MAX_TEXT as u64 });
    }
    match detect::text_format(path, &text)? {
        Format::Markdown => verbatim::markdown::read(text),
        Format::Html => web::html::read(&text),
        Format::Csv => records::read_csv(&text),
        Format::Jsonl => records::read_jsonl(&text),
        Format::Email => web::email::read(text.as_bytes(), depth, read_nested),
        Format::Json => records::read_json(&text),
        Format::Rst => verbatim::rst::read(text),
        Format::Code => verbatim::code::read(text),
        _ => verbatim::plain::read(text),
    }
}

fn check_size(bytes: u64) -> Result<(), Error> {
    if bytes > MAX_BYTES { Err(Error::TooLarge { bytes, limit: MAX_BYTES }) } else { Ok(()) }
}
