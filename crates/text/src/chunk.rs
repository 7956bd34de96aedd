//! Cutting a document into chunks along its structure.

use std::ops::Range;

use crate::Document;

/// A contiguous piece of a document, small enough to embed and to put in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the document's canonical text.
    pub span: Range<usize>,
    /// The header rows of the table that `span` continues, when they stand before it.
    pub header: Option<Range<usize>>,
    /// Headings common to all content of the chunk, outermost first.
    pub heading_path: Vec<String>,
    /// Size by the [`Sizer`] used, repeated header included.
    pub tokens: usize,
}

impl Chunk {
    /// The chunk as it is read: the table header where one continues, then the bytes of the span.
    pub fn text(&self, document: &str) -> String {
        match &self.header {
            Some(header) => {
                format!("{}\n{}", document[header.clone()].trim_end(), &document[self.span.clone()])
            }
            None => document[self.span.clone()].to_string(),
        }
    }
}

/// Measures text in the unit in which chunks are limited.
pub trait Sizer {
    /// The number of tokens in `text`.
    fn tokens(&self, text: &str) -> usize;
}

/// Estimates tokens from words, with no model at hand: a word of up to eight letters counts as one token, a
/// longer one as one for every eight letters begun, and a punctuation mark or an ideograph as one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words;

/// Limits for [`chunk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// No chunk is larger, unless a table's header alone is.
    pub max_tokens: usize,
    /// A section smaller than this is joined with the next one.
    pub min_tokens: usize,
}

impl Default for ChunkOptions {
    /// 200 tokens fit the 256 of the small sentence encoders with their headings; under 40 there is too little
    /// to judge a passage by.
    fn default() -> Self {
        ChunkOptions { max_tokens: 200, min_tokens: 40 }
    }
}

/// Cuts `document` into chunks: in order, without overlap, covering all its blocks.
///
/// A chunk starts at a heading where it can and never ends with one; tables are cut between rows and keep
/// their header; running text is cut between sentences.
pub fn chunk(document: &Document, options: &ChunkOptions, sizer: &dyn Sizer) -> Vec<Chunk> {
    let _ = (document, options, sizer);
    unimplemented!()
}

impl Sizer for Words {
    fn tokens(&self, _text: &str) -> usize {
        unimplemented!()
    }
}
