//! reStructuredText: the file is its own canonical text, so only the blocks have to be found.
//!
//! Sections (by their underlines), lists, literal blocks and the two kinds of tables are recognised
//! as the docutils specification defines them. Everything else is a paragraph.

use std::ops::Range;

use crate::blocks::{Outline, cover};
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// Reads reStructuredText.
pub(crate) fn read(text: String) -> Result<Document, Error> {
    let mut reader =
        Reader { lines: lines(&text), text: &text, styles: Vec::new(), ..Reader::default() };
    reader.read();
    let (title, tables, blocks) = (reader.title, reader.tables, reader.blocks);
    let blocks = cover(&text, blocks);
    let receipt = Receipt { tables, ..Receipt::default() };
    Ok(Document {
        format: Format::Rst,
        title,
        language: None,
        text,
        blocks,
        pages: Vec::new(),
        receipt,
    })
}

/// The span of every line, without its line break.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let start = at;
            at += line.len();
            start..start + line.trim_end().len()
        })
        .collect()
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    lines: Vec<Range<usize>>,
    outline: Outline,
    blocks: Vec<Block>,
    title: Option<String>,
    tables: usize,
    /// The styles of titles in the order of first use, which is their level: the mark of the line,
    /// and whether there is such a line above the title too.
    styles: Vec<(char, bool)>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while at < self.lines.len() {
            at = match self.line(at) {
                "" => at + 1,
                _ => self.section(at).or_else(|| self.table(at)).unwrap_or_else(|| self.block(at)),
            };
        }
    }

    fn line(&self, at: usize) -> &str {
        self.lines.get(at).map_or("", |span| &self.text[span.clone()])
    }

    /// Takes in a title with its lines if one begins at line `at`. Returns the line behind it.
    fn section(&mut self, at: usize) -> Option<usize> {
        let over = adornment(self.line(at));
        let (title, mark, end) = match over {
            Some(mark) if adornment(self.line(at + 2)) == Some(mark) => (at + 1, mark, at + 3),
            None => (at, adornment(self.line(at + 1))?, at + 2),
            Some(_) => return None,
        };
        let heading = self.line(title).trim().to_owned();
        let width = self.line(end - 1).chars().count();
        // An underline that is too short is text, such as `...` under a line of prose.
        if heading.is_empty()
            || (width < heading.chars().count() && width < 4)
            || adornment(&heading).is_some()
        {
            return None;
        }
        let style = (mark, over.is_some());
        let level = self.styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.styles.push(style);
            self.styles.len() - 1
        });
        let level = level.min(5) as u8 + 1;
        self.outline.enter(level, &heading);
        self.title.get_or_insert(heading);
        self.push(BlockKind::Heading { level }, at, end);
        Some(end)
    }

    /// Takes in a table drawn with `+---+` or `=== ===` if one begins at line `at`. Returns the
    /// line behind it.
    fn table(&mut self, at: usize) -> Option<usize> {
        let first = self.line(at);
        let is_grid = is_grid_rule(first);
        if !is_grid && !is_simple_rule(first) {
            return None;
        }
        let indent = indent_of(first);
        let mut end = at + 1;
        let mut header = None;
        let mut rules = 1;
        while end < self.lines.len() {
            let line = self.line(end);
            let is_rule = if is_grid { is_grid_rule(line) } else { is_simple_rule(line) };
            // Rows of a grid touch; between the rules of the other kind there may be blank lines.
            if is_grid && !(is_rule || line.trim_start().starts_with('|'))
                || indent_of(line) < indent && !line.is_empty()
            {
                break;
            }
            end += 1;
            if is_rule {
                rules += 1;
                let divides = !is_grid || line.contains('=');
                let more = !self.line(end).is_empty();
                if divides && header.is_none() && more {
                    header = Some(end);
                } else if !is_grid {
                    break;
                }
            }
        }
        if rules < 2 {
            return None;
        }
        self.tables += 1;
        let start = self.lines[at].start;
        let header_end = header.map_or(start, |line| self.lines[line - 1].end);
        self.push(BlockKind::Table { header: start..header_end }, at, end);
        Some(end)
    }

    /// Takes in what else begins at line `at`: a paragraph, a list or indented lines. Returns the
    /// line behind it.
    fn block(&mut self, at: usize) -> usize {
        let first = self.line(at);
        let indent = indent_of(first);
        let is_list = is_item(first.trim_start());
        let is_literal = indent > 0 && at > 0 && self.before(at).ends_with("::");
        let mut end = at + 1;
        let mut blank = false;
        while end < self.lines.len() {
            let line = self.line(end);
            if line.is_empty() {
                blank = true;
            } else {
                let deeper = indent_of(line) > indent;
                let goes_on = match (is_list, is_literal) {
                    (true, _) => {
                        deeper
                            || (indent_of(line) == indent && is_item(line.trim_start()))
                            || !blank
                    }
                    (_, true) => indent_of(line) >= indent,
                    _ => !blank,
                };
                let is_section = adornment(self.line(end + 1)).is_some() && !deeper && blank;
                if !goes_on || is_section || (blank && indent_of(line) < indent) {
                    break;
                }
                blank = false;
            }
            end += 1;
        }
        let kind = match (is_list, is_literal) {
            (true, _) => BlockKind::List,
            (_, true) => BlockKind::Code,
            _ => BlockKind::Paragraph,
        };
        self.push(kind, at, end);
        end
    }

    /// The last line before `at` that is not blank.
    fn before(&self, at: usize) -> &str {
        (0..at).rev().map(|at| self.line(at)).find(|line| !line.is_empty()).unwrap_or("")
    }

    fn push(&mut self, kind: BlockKind, from: usize, to: usize) {
        let span = self.lines[from].start..self.lines[to.min(self.lines.len()) - 1].end;
        self.blocks.push(Block { span, kind, heading_path: self.outline.path() });
    }
}

/// The mark that a line consists of, if it is one that underlines titles.
fn adornment(line: &str) -> Option<char> {
    let mark = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() >= 2 && line.chars().all(|c| c == mark)).then_some(mark)
}

fn is_grid_rule(line: &str) -> bool {
    let line = line.trim();
    line.len() > 2
        && line.starts_with('+')
        && line.ends_with('+')
        && line.chars().all(|c| "+-=".contains(c))
}

fn is_simple_rule(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("==") && line.contains(' ') && line.chars().all(|c| c == '=' || c == ' ')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether a line begins an item: `- `, `* `, `+ `, `1. `, `(a) ` or `#. `.
fn is_item(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(' ') else { return false };
    match mark {
        "-" | "*" | "+" | "•" => true,
        mark => {
            let inner = mark.strip_prefix('(').unwrap_or(mark);
            let label = inner.strip_suffix([')', '.']).unwrap_or("");
            label == "#"
                || (!label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
                || (label.len() == 1 && label.bytes().all(|b| b.is_ascii_alphabetic()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Vec<(String, Vec<String>, String)> {
        let document = read(text.to_owned()).unwrap();
        let blocks = document.blocks.iter();
        blocks
            .map(|b| {
                (
                    format!("{:?}", b.kind),
                    b.heading_path.clone(),
                    document.text[b.span.clone()].to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn sections_by_the_order_of_their_marks() {
        let text = "=====\nDucks\n=====\n\nAbout\nducks.\n\nFood\n----\n\nSeeds.\n\nPonds\n~~~~~\n\nWater.\n\nHomes\n-----\nNests.\n";
        let found = outline(text);
        let paths: Vec<String> =
            found.iter().map(|(_, path, text)| format!("{} | {text}", path.join(" > "))).collect();
        assert_eq!(
            paths,
            [
                "Ducks | =====\nDucks\n=====",
                "Ducks | About\nducks.",
                "Ducks > Food | Food\n----",
                "Ducks > Food | Seeds.",
                "Ducks > Food > Ponds | Ponds\n~~~~~",
                "Ducks > Food > Ponds | Water.",
                "Ducks > Homes | Homes\n-----",
                "Ducks > Homes | Nests.",
            ]
        );
        assert_eq!(read(text.to_owned()).unwrap().title.as_deref(), Some("Ducks"));
    }

    #[test]
    fn lists_literal_blocks_and_tables() {
        let text = "Run this::\n\n    make\n\n    make test\n\n- one\n  goes on\n\n- two\n\nThen\n\n+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n\n\
            === ===\nc   d\n=== ===\n3   4\n\n5   6\n=== ===\n\nend...\n";
        let found = outline(text);
        let kinds: Vec<&str> =
            found.iter().map(|(kind, ..)| kind.split(' ').next().unwrap()).collect();
        assert_eq!(
            kinds,
            ["Paragraph", "Code", "List", "Paragraph", "Table", "Table", "Paragraph"]
        );
        assert_eq!(found[1].2, "make\n\n    make test");
        assert_eq!(found[2].2, "- one\n  goes on\n\n- two");
        let document = read(text.to_owned()).unwrap();
        let headers: Vec<&str> = document
            .blocks
            .iter()
            .filter_map(|block| match &block.kind {
                BlockKind::Table { header } => Some(&document.text[header.clone()]),
                _ => None,
            })
            .collect();
        assert_eq!(headers, ["+---+---+\n| a | b |\n+===+===+", "=== ===\nc   d\n=== ==="]);
    }

    #[test]
    fn any_text_is_covered() {
        for text in [
            "",
            "==",
            "==\n==",
            "==\n\n==",
            "a\n..",
            "+-+\n",
            "=== ===",
            "\n\n- \n",
            "::\n\n x",
            " x\n- y\nz\n=\n",
        ] {
            let document = read(text.to_owned()).unwrap();
            let covered: usize = document
                .blocks
                .iter()
                .map(|b| text[b.span.clone()].split_whitespace().count())
                .sum();
            assert_eq!(covered, text.split_whitespace().count(), "{text:?}");
        }
    }
}
