//! What every document's blocks keep: they are in order, do not overlap, and cover all of the text
//! but white space.

use std::ops::Range;

use crate::{Block, BlockKind};

/// `span` without the white space at its ends.
pub(crate) fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let inner = &text[span.clone()];
    let blank = |c: char| c.is_whitespace() || c == '\u{feff}';
    let start = span.start + (inner.len() - inner.trim_start_matches(blank).len());
    let end = start + text[start..span.end].trim_end_matches(blank).len();
    start..end
}

/// The headings that apply at a point of a document.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    open: Vec<(u8, String)>,
}

impl Outline {
    /// Enters the section of a heading, leaving all sections of its level and below.
    pub(crate) fn enter(&mut self, level: u8, heading: &str) {
        self.open.retain(|(open, _)| *open < level);
        self.open.push((level, heading.split_whitespace().collect::<Vec<_>>().join(" ")));
    }

    /// The open headings, outermost first.
    pub(crate) fn path(&self) -> Vec<String> {
        self.open.iter().map(|(_, heading)| heading.clone()).collect()
    }
}

/// Makes blocks keep these promises. Trims them and the headers of tables, drops empty ones and
/// those that begin inside an earlier one, and turns text that no block covers into paragraphs.
pub(crate) fn cover(text: &str, blocks: Vec<Block>) -> Vec<Block> {
    let mut covered = Vec::with_capacity(blocks.len());
    let mut at = 0;
    let mut path: Vec<String> = Vec::new();
    for mut block in blocks {
        block.span = trimmed(text, block.span);
        if block.span.is_empty() || block.span.start < at {
            continue;
        }
        // White space that was trimmed off a table is not part of its header either.
        if let BlockKind::Table { header } = &mut block.kind {
            header.start = header.start.clamp(block.span.start, block.span.end);
            header.end = header.end.clamp(header.start, block.span.end);
        }
        fill(text, at..block.span.start, &path, &mut covered);
        at = block.span.end;
        path.clone_from(&block.heading_path);
        covered.push(block);
    }
    fill(text, at..text.len(), &path, &mut covered);
    covered
}

/// Adds a paragraph for a gap between blocks, unless it is white space.
fn fill(text: &str, gap: Range<usize>, path: &[String], blocks: &mut Vec<Block>) {
    let span = trimmed(text, gap);
    if !span.is_empty() {
        blocks.push(Block { span, kind: BlockKind::Paragraph, heading_path: path.to_vec() });
    }
}
