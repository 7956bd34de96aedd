//! A file as a document: one canonical text, and the blocks it is made of.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CommonMark with tables.
    Markdown,
    /// Plain text.
    Plain,
    /// HTML of any age.
    Html,
    /// PDF with a text layer.
    Pdf,
    /// Delimited rows: comma, semicolon, tab or bar.
    Csv,
    /// One JSON value a line.
    Jsonl,
    /// One JSON value.
    Json,
    /// reStructuredText.
    Rst,
    /// Source code and settings in any language.
    Code,
    /// A Word document.
    Docx,
    /// A PowerPoint presentation.
    Pptx,
    /// An Excel workbook.
    Xlsx,
    /// An electronic book.
    Epub,
    /// An email.
    Email,
}

impl Format {
    /// Every format, in the order of display.
    pub const ALL: [Format; 14] = [
        Format::Markdown,
        Format::Plain,
        Format::Html,
        Format::Pdf,
        Format::Csv,
        Format::Jsonl,
        Format::Json,
        Format::Rst,
        Format::Code,
        Format::Docx,
        Format::Pptx,
        Format::Xlsx,
        Format::Epub,
        Format::Email,
    ];

    /// The name stored and shown, such as `markdown`: the variant's own in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Markdown => "markdown",
            Format::Plain => "plain",
            Format::Html => "html",
            Format::Pdf => "pdf",
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
            Format::Json => "json",
            Format::Rst => "rst",
            Format::Code => "code",
            Format::Docx => "docx",
            Format::Pptx => "pptx",
            Format::Xlsx => "xlsx",
            Format::Epub => "epub",
            Format::Email => "email",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or(UnknownFormat)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no [`Format`] has; its message lists the names there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}", Format::ALL.map(Format::as_str).join(", "))]
pub struct UnknownFormat;

/// A file that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What the file turned out to be.
    pub format: Format,
    /// The document's own title, if it has one.
    pub title: Option<String>,
    /// ISO 639-1 code of the language it is written in, where there is enough running text to tell.
    pub language: Option<&'static str>,
    /// The canonical text, which every span points into. For Markdown, reStructuredText, source
    /// code and plain text in UTF-8 it is the file itself, byte for byte (a byte order mark
    /// included); for the other formats it is what was extracted.
    pub text: String,
    /// The text's blocks in order. They do not overlap and together cover everything but white
    /// space.
    pub blocks: Vec<Block>,
    /// Byte offset in `text` at which each page or slide starts; PDF and PPTX only.
    pub pages: Vec<usize>,
    /// What reading found.
    pub receipt: Receipt,
}

impl Document {
    /// The page (from 1) on which byte `offset` of the canonical text stands; `None` without pages.
    pub fn page_of(&self, offset: usize) -> Option<usize> {
        match self.pages.partition_point(|&start| start <= offset) {
            0 => None,
            page => Some(page),
        }
    }
}

/// A structural unit of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Bytes of the canonical text, white space at both ends left out.
    pub span: Range<usize>,
    /// What it is.
    pub kind: BlockKind,
    /// The headings it stands under, outermost first. A heading's own path ends with itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heading_path: Vec<String>,
}

/// What a block is, as far as cutting it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// A heading of level 1 to 6.
    Heading {
        /// 1 is the outermost.
        level: u8,
    },
    /// Running text.
    Paragraph,
    /// A list with all its items.
    List,
    /// A table, one row a line.
    Table {
        /// Bytes of the header row(s) inside the canonical text; empty without a header.
        header: Range<usize>,
    },
    /// Preformatted lines.
    Code,
    /// One record of a CSV or JSONL file, fields named.
    Row,
}

/// What reading a file found, told to the user file by file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Pages or slides, for formats that have them.
    pub pages: usize,
    /// Pages without text among them.
    pub empty_pages: usize,
    /// Tables found.
    pub tables: usize,
    /// Characters (not bytes) of canonical text.
    pub characters: usize,
    /// Chunks cut from it; 0 until someone cuts and fills it in.
    pub chunks: usize,
    /// Seconds that reading took.
    pub seconds: f64,
    /// What the file holds and was not read, such as an attachment, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
