//! Plain text: paragraphs between blank lines.

use crate::blocks::cover;
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// Reads plain text. Nothing tells a heading from a short line, so no block is a heading.
pub(crate) fn read(text: String) -> Result<Document, Error> {
    let blocks = paragraphs(&text);
    let blocks = cover(&text, blocks);
    Ok(Document {
        format: Format::Plain,
        title: None,
        language: None,
        text,
        blocks,
        pages: Vec::new(),
        receipt: Receipt::default(),
    })
}

fn paragraphs(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut end_paragraph = |start: usize, end: usize| {
        if !text[start..end].trim().is_empty() {
            blocks.push(Block {
                span: start..end,
                kind: BlockKind::Paragraph,
                heading_path: Vec::new(),
            });
        }
    };
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            end_paragraph(start, at);
            start = at + line.len();
        }
        at += line.len();
    }
    end_paragraph(start, at);
    blocks
}
