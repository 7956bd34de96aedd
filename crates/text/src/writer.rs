//! Writes the content of a page or an office file as Markdown-like text, and keeps its blocks.

use crate::blocks::{Outline, cover};
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// A list of so many items may be a menu; shorter ones cost little if they are kept.
const MENU_ITEMS: usize = 12;
/// A menu has at least so many letters inside links to one outside of them.
const MENU_LINKED_SHARE: usize = 20;
/// A paragraph of so many bytes is running text, after which a list of links may be what the page
/// is about.
const PROSE_BYTES: usize = 80;
/// Deeper lists are indented no further: it would say nothing and grow the text.
const DEEPEST_INDENT: usize = 8;
/// A cell that claims to span more columns is taken to span this many: no table is wider.
const MAX_SPAN: usize = 64;

/// Takes in what a file says, in its order, and builds the text and the blocks of a document.
#[derive(Default)]
pub(crate) struct Writer {
    text: String,
    blocks: Vec<Block>,
    /// Where each page starts.
    pages: Vec<usize>,
    outline: Outline,
    title: String,
    first_heading: Option<String>,
    tables_written: usize,
    /// Text since the last boundary; a line break in it is one that the file asks for.
    inline: String,
    heading: Option<u8>,
    preformatted: bool,
    /// Open lists; the number of the next item where they are numbered.
    lists: Vec<Option<usize>>,
    /// Where the list block being written starts.
    list_start: Option<usize>,
    /// What stands in the list block being written.
    list: ListContent,
    /// Inside a link.
    in_link: bool,
    /// A paragraph long enough to be running text has been written.
    prose_seen: bool,
    /// The next line is the first of its item.
    item_begins: bool,
    tables: Vec<Layer>,
}

#[derive(Default)]
struct ListContent {
    items: usize,
    /// Letters outside and inside of links.
    plain: usize,
    linked: usize,
}

impl ListContent {
    /// Whether the list is a menu outside any `nav` element: many items, and next to nothing but
    /// links.
    fn is_menu(&self) -> bool {
        self.items >= MENU_ITEMS && self.plain * MENU_LINKED_SHARE <= self.linked
    }
}

/// An open `table` element.
enum Layer {
    /// One that holds data.
    Data(Table),
    /// One that only places things on the page: it holds headings.
    Layout,
    /// One inside a cell of a data table; its text goes into that cell.
    Nested,
}

#[derive(Default)]
struct Table {
    /// Text outside of cells.
    caption: String,
    rows: Vec<Row>,
    cell_is_open: bool,
}

#[derive(Default)]
struct Row {
    cells: Vec<String>,
    /// All cells are header cells.
    is_header: bool,
}

impl Writer {
    /// Bytes written, or about to be.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.inline.len()
    }

    pub(crate) fn title_text(&mut self, text: &str) {
        self.title.push_str(text);
    }

    /// Sets the document's title, replacing what was said before.
    pub(crate) fn set_title(&mut self, title: &str) {
        title.clone_into(&mut self.title);
    }

    /// Begins a page or slide.
    pub(crate) fn start_page(&mut self) {
        self.close_all();
        // The next block is set off from the last one.
        self.pages.push(if self.text.is_empty() { 0 } else { self.text.len() + 2 });
    }

    pub(crate) fn set_link(&mut self, in_link: bool) {
        self.in_link = in_link;
    }

    pub(crate) fn text(&mut self, text: &str) {
        if !self.lists.is_empty() {
            let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
            *(if self.in_link { &mut self.list.linked } else { &mut self.list.plain }) += letters;
        }
        if self.preformatted {
            return self.inline.push_str(text);
        }
        for c in text.chars() {
            match c.is_whitespace() {
                true if self.inline.ends_with([' ', '\n']) => {}
                true => self.inline.push(' '),
                false => self.inline.push(c),
            }
        }
    }

    pub(crate) fn line_break(&mut self) {
        self.inline.push('\n');
    }

    pub(crate) fn start_heading(&mut self, level: u8) {
        self.end_paragraph();
        self.treat_table_as_layout();
        self.heading = Some(level);
    }

    pub(crate) fn end_heading(&mut self) {
        self.end_paragraph();
        self.heading = None;
    }

    pub(crate) fn start_preformatted(&mut self) {
        self.end_paragraph();
        self.preformatted = true;
    }

    pub(crate) fn end_preformatted(&mut self) {
        let plain_place =
            self.heading.is_none() && self.lists.is_empty() && self.open_table().is_none();
        if plain_place {
            let code = std::mem::take(&mut self.inline);
            let code = code.trim_matches(['\n', '\r']).trim_end();
            if !code.trim().is_empty() {
                self.block(BlockKind::Code, code);
            }
        } else {
            self.end_paragraph();
        }
        self.preformatted = false;
    }

    /// Begins a list, inside the one that is open if there is one. `number` is that of its first
    /// item if the list is numbered.
    pub(crate) fn start_list(&mut self, number: Option<usize>) {
        self.end_paragraph();
        self.lists.push(number);
    }

    pub(crate) fn end_list(&mut self) {
        self.end_paragraph();
        self.lists.pop();
        if self.lists.is_empty() {
            self.end_list_block();
        }
    }

    pub(crate) fn start_item(&mut self) {
        self.end_paragraph();
        self.item_begins = true;
    }

    pub(crate) fn start_table(&mut self) {
        self.end_paragraph();
        let layer =
            if self.open_table().is_some() { Layer::Nested } else { Layer::Data(Table::default()) };
        self.tables.push(layer);
    }

    pub(crate) fn start_row(&mut self) {
        self.end_paragraph();
        if let Some(Layer::Data(table)) = self.tables.last_mut() {
            table.rows.push(Row { cells: Vec::new(), is_header: true });
            table.cell_is_open = false;
        }
    }

    /// Begins a cell that spans so many columns, at most [`MAX_SPAN`].
    pub(crate) fn start_cell(&mut self, header: bool, span: usize) {
        self.end_paragraph();
        if let Some(Layer::Data(table)) = self.tables.last_mut() {
            if table.rows.is_empty() {
                table.rows.push(Row { cells: Vec::new(), is_header: true });
            }
            if let Some(row) = table.rows.last_mut() {
                row.is_header &= header;
                row.cells.push(String::new());
                row.cells.extend((1..span.min(MAX_SPAN)).map(|_| SPANNED.to_string()));
            }
            table.cell_is_open = true;
        }
    }

    pub(crate) fn end_cell(&mut self) {
        self.end_paragraph();
        if let Some(Layer::Data(table)) = self.tables.last_mut() {
            table.cell_is_open = false;
        }
    }

    pub(crate) fn end_table(&mut self) {
        self.end_paragraph();
        if let Some(Layer::Data(table)) = self.tables.pop() {
            self.write_table(table);
        }
    }

    /// Ends the paragraph, item line, heading or cell part that is being read.
    pub(crate) fn end_paragraph(&mut self) {
        let inline = std::mem::take(&mut self.inline);
        let lines: Vec<String> = inline.lines().map(fold).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return;
        }
        let begins = std::mem::take(&mut self.item_begins);
        if let Some(level) = self.heading {
            self.write_heading(level, &lines.join(" "));
        } else if let Some(table) = self.open_table() {
            table.append(&lines.join(" "), begins);
        } else if self.lists.is_empty() {
            self.block(BlockKind::Paragraph, &lines.join("\n"));
        } else {
            self.write_item(&lines, begins);
        }
    }

    /// Adds a document as a part of this one, under the headings that are open.
    pub(crate) fn append(&mut self, document: Document) {
        self.close_all();
        let start = self.separate();
        let outer = self.outline.path();
        self.text.push_str(document.text.trim_end());
        self.tables_written += document.receipt.tables;
        for mut block in document.blocks {
            block.span = block.span.start + start..block.span.end + start;
            if let BlockKind::Table { header } = &mut block.kind {
                *header = header.start + start..header.end + start;
            }
            block.heading_path.splice(0..0, outer.iter().cloned());
            self.blocks.push(block);
        }
    }

    /// Ends everything that is open, where a part of a file ends (perhaps in the middle). What
    /// follows still stands under the headings that were written.
    pub(crate) fn close_all(&mut self) {
        self.end_paragraph();
        while !self.tables.is_empty() {
            self.end_table();
        }
        self.lists.clear();
        self.end_list_block();
        self.heading = None;
        (self.preformatted, self.in_link, self.item_begins) = (false, false, false);
    }

    /// The document with its blocks and its receipt. What only the caller knows, such as warnings,
    /// is left for it to fill in.
    ///
    /// # Errors
    /// [`Error::NoText`] if nothing was written.
    pub(crate) fn finish(mut self, format: Format) -> Result<Document, Error> {
        self.close_all();
        if self.text.is_empty() {
            return Err(Error::NoText { pages: self.pages.len().max(1) });
        }
        let title =
            Some(fold(&self.title)).filter(|title| !title.is_empty()).or(self.first_heading);
        let blocks = cover(&self.text, self.blocks);
        let end = self.text.len();
        let mut pages = self.pages;
        pages.iter_mut().for_each(|start| *start = end.min(*start));
        let ends = pages.iter().skip(1).copied().chain([end]);
        let empty_pages = pages.iter().zip(ends).filter(|(start, end)| *start == end).count();
        let receipt = Receipt {
            pages: pages.len(),
            empty_pages,
            tables: self.tables_written,
            ..Receipt::default()
        };
        Ok(Document { format, title, language: None, text: self.text, blocks, pages, receipt })
    }

    /// The data table that text goes into now.
    fn open_table(&mut self) -> Option<&mut Table> {
        self.tables.iter_mut().rev().find_map(|layer| match layer {
            Layer::Data(table) => Some(table),
            _ => None,
        })
    }

    /// Called at a heading: the tables around it serve layout, so what they held so far is written
    /// as text.
    fn treat_table_as_layout(&mut self) {
        for at in 0..self.tables.len() {
            if let Layer::Data(table) = std::mem::replace(&mut self.tables[at], Layer::Layout) {
                self.write_cells(table);
            }
        }
    }

    fn block(&mut self, kind: BlockKind, content: &str) {
        self.end_list_block();
        self.prose_seen |= kind == BlockKind::Paragraph && content.len() >= PROSE_BYTES;
        let start = self.separate();
        self.text.push_str(content);
        let heading_path = self.outline.path();
        self.blocks.push(Block { span: start..self.text.len(), kind, heading_path });
    }

    /// Sets off what comes next by a blank line; where it begins.
    fn separate(&mut self) -> usize {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.len()
    }

    fn write_heading(&mut self, level: u8, heading: &str) {
        self.outline.enter(level, heading);
        if self.first_heading.is_none() {
            self.first_heading = Some(heading.to_string());
        }
        let marked = format!("{} {heading}", "#".repeat(level.into()));
        self.block(BlockKind::Heading { level }, &marked);
    }

    fn write_item(&mut self, lines: &[String], begins: bool) {
        match self.list_start {
            Some(_) => self.text.push('\n'),
            None => self.list_start = Some(self.separate()),
        }
        self.list.items += usize::from(begins);
        let indent = "  ".repeat(self.lists.len().saturating_sub(1).min(DEEPEST_INDENT));
        let mark = match self.lists.last_mut() {
            _ if !begins => "  ".to_string(),
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "- ".to_string(),
        };
        self.text.push_str(&indent);
        self.text.push_str(&mark);
        self.text.push_str(&lines.join(&format!("\n{indent}  ")));
    }

    fn end_list_block(&mut self) {
        let content = std::mem::take(&mut self.list);
        if let Some(start) = self.list_start.take() {
            if content.is_menu() && !self.prose_seen {
                return self.text.truncate(self.text[..start].trim_end().len());
            }
            let heading_path = self.outline.path();
            self.blocks.push(Block {
                span: start..self.text.len(),
                kind: BlockKind::List,
                heading_path,
            });
        }
    }

    fn write_table(&mut self, mut table: Table) {
        table.rows.retain(|row| row.cells.iter().any(|cell| !cell.is_empty() && cell != SPANNED));
        let width = table.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
        let used: Vec<usize> = (0..width)
            .filter(|&at| {
                table
                    .rows
                    .iter()
                    .any(|row| row.cells.get(at).is_some_and(|c| !c.is_empty() && c != SPANNED))
            })
            .collect();
        if used.len() < 2 {
            return self.write_cells(table);
        }
        if !table.caption.is_empty() {
            self.block(BlockKind::Paragraph, &table.caption);
        }
        let line = |row: &Row| {
            let cells: Vec<&str> = used
                .iter()
                .map(|&at| row.cells.get(at).map_or("", |c| if c == SPANNED { "" } else { c }))
                .collect();
            format!("| {} |", cells.join(" | "))
        };
        let headers = table.rows.iter().take_while(|row| row.is_header).count();
        let headers = if headers < table.rows.len() { headers } else { 0 };
        let mut lines: Vec<String> = table.rows.iter().map(line).collect();
        if headers > 0 {
            lines.insert(headers, format!("|{}", "---|".repeat(used.len())));
        }
        let header_bytes = match headers {
            0 => 0,
            headers => lines[..=headers].iter().map(|line| line.len() + 1).sum::<usize>() - 1,
        };
        self.tables_written += 1;
        self.block(BlockKind::Table { header: 0..0 }, &lines.join("\n"));
        if let Some(block) = self.blocks.last_mut() {
            block.kind =
                BlockKind::Table { header: block.span.start..block.span.start + header_bytes };
        }
    }

    /// Writes a table's content as paragraphs, cell by cell.
    fn write_cells(&mut self, table: Table) {
        let cells = table.rows.into_iter().flat_map(|row| row.cells);
        for content in std::iter::once(table.caption).chain(cells) {
            if !content.is_empty() && content != SPANNED {
                self.block(BlockKind::Paragraph, &content);
            }
        }
    }
}

/// Fills the columns that a cell reaches into. No file can write it, since control characters are
/// folded away.
const SPANNED: &str = "\u{1f}";

impl Table {
    /// Adds text to the open cell, set off when it is an item of a list in it.
    fn append(&mut self, text: &str, item: bool) {
        let cell = match self.rows.last_mut() {
            Some(row) if self.cell_is_open => {
                row.cells.iter_mut().rev().find(|cell| *cell != SPANNED)
            }
            _ => None,
        };
        let place = cell.unwrap_or(&mut self.caption);
        if !place.is_empty() {
            place.push_str(if item { "; " } else { " " });
        }
        place.push_str(&text.replace('|', "\\|"));
    }
}

/// Words joined by single spaces, control characters left out.
fn fold(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ")
}
