//! From bytes to documents, and from documents to chunks.
//!
//! [`read`] turns the bytes of a Markdown, plain text, HTML, PDF, CSV or JSONL file into a [`Document`]: one
//! canonical text and the blocks it is made of. [`chunk`] cuts a document into pieces small enough to embed
//! and to put in a prompt. Every piece is a byte span of the canonical text, so a citation can be checked.
//!
//! One bad file is one [`Error`], never a crash: sizes, nesting and time are bounded.

mod chunk;
mod document;
mod error;

use std::path::Path;

pub use chunk::{Chunk, ChunkOptions, Sizer, Words, chunk};
pub use document::{Block, BlockKind, Document, Format, Receipt};
pub use error::Error;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 256 << 20;
/// The largest canonical text that is made from one file, in bytes.
pub const MAX_TEXT: usize = 64 << 20;

/// Takes the bytes of a file, refusing it unread when it is larger than [`MAX_BYTES`].
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    let _ = path;
    unimplemented!()
}

/// Reads a file's bytes as a document.
///
/// The content decides the format; the extension of `path` decides only where content cannot (Markdown, CSV
/// and plain text look alike). `path` itself is not opened.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Document, Error> {
    let _ = (path, bytes);
    unimplemented!()
}
