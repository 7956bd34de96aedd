//! Markdown: CommonMark with tables, footnotes and front matter.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::blocks::{Outline, cover};
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// Reads Markdown with tables, footnotes and YAML front matter.
pub(crate) fn read(text: String) -> Result<Document, Error> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    // A byte order mark would hide a heading on the first line from the parser.
    let start = text.len() - text.trim_start_matches('\u{feff}').len();
    let shift = |range: Range<usize>| range.start + start..range.end + start;

    let mut reader = Reader::default();
    for (event, range) in Parser::new_ext(&text[start..], options).into_offset_iter() {
        reader.event(event, shift(range), &text);
    }
    let tables = reader.tables;
    let title = reader.front_matter_title.or(reader.first_heading);
    let blocks = cover(&text, reader.blocks);
    let receipt = Receipt { tables, ..Receipt::default() };
    Ok(Document {
        format: Format::Markdown,
        title,
        language: None,
        text,
        blocks,
        pages: Vec::new(),
        receipt,
    })
}

#[derive(Default)]
struct Reader {
    outline: Outline,
    blocks: Vec<Block>,
    tables: usize,
    /// Open containers; blocks are those at depth 0.
    depth: usize,
    /// Text of the heading being read.
    heading: Option<String>,
    in_front_matter: bool,
    first_heading: Option<String>,
    front_matter_title: Option<String>,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, range: Range<usize>, text: &str) {
        match event {
            Event::Start(tag) => {
                if self.depth == 0 {
                    self.start_block(&tag, range, text);
                }
                self.depth += 1;
            }
            Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.end_block(end, range);
                }
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut self.heading {
                    heading.push_str(&part);
                } else if self.in_front_matter {
                    self.front_matter_title = part.lines().find_map(|line| {
                        let title = line.strip_prefix("title:")?.trim().trim_matches(['"', '\'']);
                        (!title.is_empty()).then(|| title.to_string())
                    });
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut self.heading {
                    heading.push(' ');
                }
            }
            _ => {}
        }
    }

    fn start_block(&mut self, tag: &Tag<'_>, range: Range<usize>, text: &str) {
        let kind = match tag {
            Tag::Heading { .. } => {
                self.heading = Some(String::new());
                return;
            }
            Tag::MetadataBlock(_) => {
                self.in_front_matter = true;
                BlockKind::Paragraph
            }
            Tag::List(_) => BlockKind::List,
            Tag::Table(_) => {
                self.tables += 1;
                BlockKind::Table { header: two_lines(text, &range) }
            }
            Tag::CodeBlock(_) => BlockKind::Code,
            Tag::HtmlBlock if text[range.clone()].to_ascii_lowercase().contains("<table") => {
                self.tables += 1;
                BlockKind::Table { header: range.start..range.start }
            }
            _ => BlockKind::Paragraph,
        };
        self.blocks.push(Block { span: range, kind, heading_path: self.outline.path() });
    }

    fn end_block(&mut self, end: TagEnd, range: Range<usize>) {
        self.in_front_matter = false;
        if let (TagEnd::Heading(level), Some(heading)) = (end, self.heading.take()) {
            let level = level_number(level);
            self.outline.enter(level, &heading);
            if self.first_heading.is_none() && !heading.trim().is_empty() {
                self.first_heading = Some(heading.trim().to_string());
            }
            let kind = BlockKind::Heading { level };
            self.blocks.push(Block { span: range, kind, heading_path: self.outline.path() });
        }
    }
}

/// A pipe table's header: its first line and the line of dashes.
fn two_lines(text: &str, range: &Range<usize>) -> Range<usize> {
    let end = text[range.clone()]
        .match_indices('\n')
        .nth(1)
        .map_or(range.end, |(at, _)| range.start + at);
    range.start..end
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(document: &Document) -> String {
        document
            .blocks
            .iter()
            .map(|b| {
                format!("{:?} {:?} {:?}\n", b.kind, b.heading_path, &document.text[b.span.clone()])
            })
            .collect()
    }

    #[test]
    fn blocks_of_a_page() {
        let page = "---\ntitle: \"A page\"\n---\n\n# One *and* only\n\nText\nmore.\n\n## Two\n\n- a\n  - b\n- c\n\n\
                    | x | y |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\n```rust\nfn f() {}\n```\n\n> quoted\n> # not a section\n\n\
                    # Three\n\n<table>\n<tr><td>raw</td></tr>\n</table>\n\n[link]: http://example.org\n\n---\n";
        let document = read(page.to_string()).unwrap();
        assert_eq!(document.title.as_deref(), Some("A page"));
        assert_eq!(document.receipt.tables, 2);
        insta::assert_snapshot!(outline(&document));
    }

    #[test]
    fn a_byte_order_mark_does_not_hide_the_first_heading() {
        let document = read("\u{feff}# Title\n\ntext".to_string()).unwrap();
        assert_eq!(document.title.as_deref(), Some("Title"));
        assert_eq!(&document.text[document.blocks[0].span.clone()], "# Title");
    }
}
