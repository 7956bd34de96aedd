//! Plain text: paragraphs between blank lines.

use crate::blocks::cover;
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// Reads plain text. Without marks there is no telling a heading from a short line, so there are none.
pub(crate) fn read(text: String) -> Result<Document, Error> {
    let blocks = paragraphs(&text, 0);
    let blocks = cover(&text, blocks);
    Ok(Document {
        format: Format::Plain,
        title: None,
        text,
        blocks,
        pages: Vec::new(),
        receipt: Receipt::default(),
    })
}

/// The paragraphs of `text[from..]`.
pub(crate) fn paragraphs(text: &str, from: usize) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut start = from;
    let mut at = from;
    let mut end_paragraph = |start: usize, end: usize| {
        if !text[start..end].trim().is_empty() {
            blocks.push(Block { span: start..end, kind: BlockKind::Paragraph, heading_path: Vec::new() });
        }
    };
    for line in text[from..].split_inclusive('\n') {
        if line.trim().is_empty() {
            end_paragraph(start, at);
            start = at + line.len();
        }
        at += line.len();
    }
    end_paragraph(start, at);
    blocks
}
