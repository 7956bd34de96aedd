//! Word documents: headings by their styles, numbered lists as Word counts them, tables, notes.

mod numbering;
mod styles;

use self::numbering::Numbering;
use self::styles::Styles;
use super::ooxml::{main_part, relationships, title};
use crate::office::package::Package;
use crate::office::xml::{Element, Event, Xml, XmlError};
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

/// Reads a Word document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    let mut package = Package::open(bytes, "a Word document (docx)")?;
    let main = main_part(&mut package, "word/document.xml")?;
    let parts = relationships(&mut package, &main)?;
    let mut part = |kind: &str| -> Result<Option<(String, String)>, Error> {
        let Some((_, name)) = parts.values().find(|(found, _)| found == kind) else {
            return Ok(None);
        };
        Ok(package.text(name)?.map(|text| (name.clone(), text)))
    };
    let styles = part("styles")?;
    let numbering = part("numbering")?;
    let notes = [("footnotes", "footnote"), ("endnotes", "endnote")]
        .into_iter()
        .filter_map(|(kind, element)| Some(part(kind).transpose()?.map(|part| (element, part))))
        .collect::<Result<Vec<_>, Error>>()?;

    let broken = |name: &str, error: XmlError| package.broken(name, error);
    let styles = match &styles {
        Some((name, text)) => Styles::read(text).map_err(|error| broken(name, error))?,
        None => Styles::default(),
    };
    let numbering = match &numbering {
        Some((name, text)) => Numbering::read(text).map_err(|error| broken(name, error))?,
        None => Numbering::default(),
    };
    let mut reader = Reader::new(styles, numbering);
    let document = package.required(&main)?;
    reader.body(&document).map_err(|error| error.of(&package, &main))?;
    for (element, (name, text)) in &notes {
        reader.notes(element, text).map_err(|error| error.of(&package, name))?;
    }
    let title = match reader.title.take() {
        Some(title) => Some(title),
        None => title(&mut package)?,
    };
    if let Some(title) = title {
        reader.writer.set_title(&title);
    }
    reader.writer.finish(Format::Docx)
}

/// The bit of `tblLook` that says that the first row is a header.
const FIRST_ROW_BIT: u32 = 0x20;
/// WordprocessingML has nine levels of lists, from 0.
const DEEPEST_LEVEL: usize = 8;
/// Headings have levels 1 to 6 here, as in Markdown and HTML.
const DEEPEST_HEADING: u8 = 6;
/// The outline level that Word gives running text; headings have 0 to 8.
const RUNNING_TEXT: u8 = 9;

/// Why a part could not be read.
enum Broken {
    Markup(XmlError),
    Other(Error),
}

impl Broken {
    fn of(self, package: &Package<'_>, part: &str) -> Error {
        match self {
            Broken::Markup(error) => package.broken(part, error),
            Broken::Other(error) => error,
        }
    }
}

impl From<XmlError> for Broken {
    fn from(error: XmlError) -> Self {
        Broken::Markup(error)
    }
}

/// What the properties of a paragraph say.
#[derive(Default)]
struct Properties {
    style: Option<String>,
    /// 0 is the outermost; 9 is running text.
    outline_level: Option<u8>,
    /// The list it belongs to; `0` takes it out of the list its style puts it in.
    list: Option<String>,
    list_level: Option<usize>,
}

struct Reader {
    writer: Writer,
    styles: Styles,
    numbering: Numbering,
    /// The text of the first paragraph in the style `Title`.
    title: Option<String>,
    /// The paragraph being read is that title.
    in_title: bool,
    paragraph: Properties,
    /// The writer has been told what the paragraph is.
    paragraph_has_begun: bool,
    /// Inside the properties of a paragraph, run, row or cell.
    in_properties: usize,
    /// Inside an element whose text is shown.
    in_text: bool,
    /// The mark of the note whose first paragraph has not begun.
    note: Option<String>,
    /// The lists that are open, outermost first.
    lists: Vec<String>,
    /// The open tables, outermost first. Their header rows are those that are marked; if none is,
    /// the first row where the table's look says so.
    tables: Vec<Table>,
}

#[derive(Default)]
struct Table {
    first_row_is_header: bool,
    rows: usize,
    row_is_header: bool,
    /// A cell has begun and its properties have not been read yet; the columns it spans.
    pending_cell: Option<usize>,
}

impl Reader {
    fn new(styles: Styles, numbering: Numbering) -> Self {
        Reader {
            writer: Writer::default(),
            styles,
            numbering,
            title: None,
            in_title: false,
            paragraph: Properties::default(),
            paragraph_has_begun: false,
            in_properties: 0,
            in_text: false,
            note: None,
            lists: Vec::new(),
            tables: Vec::new(),
        }
    }

    fn body(&mut self, text: &str) -> Result<(), Broken> {
        let mut events = Xml::new(text);
        while let Some(event) = events.next()? {
            self.event(event, &mut events)?;
        }
        self.close_lists(0);
        Ok(())
    }

    /// Reads foot- or endnotes: each a paragraph that begins with its mark.
    fn notes(&mut self, element: &str, text: &str) -> Result<(), Broken> {
        let mut events = Xml::new(text);
        while let Some(event) = events.next()? {
            match event {
                // Separators have a type, notes have none.
                Event::Start(start)
                    if start.name() == element && start.attribute("type").is_some() =>
                {
                    events.skip()?;
                }
                Event::Start(start) if start.name() == element => {
                    self.note = Some(format!("{}: ", mark(element, &start)));
                }
                event => self.event(event, &mut events)?,
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, events: &mut Xml<'_>) -> Result<(), Broken> {
        match event {
            Event::Start(element) if is_not_shown(&element) => events.skip()?,
            Event::Start(element) => self.start(&element),
            Event::End(end) => self.end(end.name()),
            Event::Text(text) if self.in_text => {
                self.writer.text(&text);
                if self.in_title {
                    self.title.get_or_insert_default().push_str(&text);
                }
                let bytes = self.writer.len();
                if bytes > MAX_TEXT {
                    let error = Error::TooLarge { bytes: bytes as u64, limit: MAX_TEXT as u64 };
                    return Err(Broken::Other(error));
                }
            }
            Event::Text(_) => {}
        }
        Ok(())
    }

    fn start(&mut self, element: &Element<'_>) {
        let value = || element.attribute("val");
        match element.name() {
            "p" => {
                self.start_pending_cell();
                self.end_paragraph();
                self.paragraph = Properties::default();
                self.paragraph_has_begun = false;
            }
            "r" if !self.paragraph_has_begun => self.start_paragraph(),
            "pPr" | "rPr" | "trPr" | "tcPr" | "tblPr" | "sectPr" => self.in_properties += 1,
            "pStyle" => self.paragraph.style = value(),
            "outlineLvl" => {
                self.paragraph.outline_level = value().and_then(|level| level.parse().ok())
            }
            "numId" => self.paragraph.list = value(),
            "ilvl" => self.paragraph.list_level = value().and_then(|level| level.parse().ok()),
            "t" => self.in_text = true,
            "tab" if self.in_properties == 0 => self.writer.text(" "),
            "br" | "cr" if self.in_properties == 0 => self.writer.line_break(),
            "noBreakHyphen" => self.writer.text("\u{2011}"),
            "footnoteReference" => self.writer.text(&mark("footnote", element)),
            "endnoteReference" => self.writer.text(&mark("endnote", element)),
            _ => self.start_in_table(element),
        }
    }

    fn start_in_table(&mut self, element: &Element<'_>) {
        let value = || element.attribute("val");
        match element.name() {
            "tbl" => {
                self.close_lists(0);
                self.writer.start_table();
                self.tables.push(Table::default());
            }
            "tblLook" => {
                let marked = element.attribute("firstRow").is_some_and(|v| is_on(Some(&v)));
                // Older files write the same as bits.
                let bits =
                    value().and_then(|bits| u32::from_str_radix(&bits, 16).ok()).unwrap_or(0);
                if let Some(table) = self.tables.last_mut() {
                    table.first_row_is_header = marked || bits & FIRST_ROW_BIT != 0;
                }
            }
            "tr" => {
                self.writer.start_row();
                if let Some(table) = self.tables.last_mut() {
                    table.row_is_header = table.first_row_is_header && table.rows == 0;
                    table.rows += 1;
                }
            }
            "tblHeader" => {
                if let Some(table) = self.tables.last_mut() {
                    table.row_is_header = is_on(value().as_deref());
                }
            }
            "tc" => {
                if let Some(table) = self.tables.last_mut() {
                    table.pending_cell = Some(1);
                }
            }
            "gridSpan" => {
                let span = value().and_then(|span| span.parse().ok()).unwrap_or(1);
                if let Some(cell) =
                    self.tables.last_mut().and_then(|table| table.pending_cell.as_mut())
                {
                    *cell = span;
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "pPr" => {
                self.in_properties = self.in_properties.saturating_sub(1);
                self.start_paragraph();
            }
            "rPr" | "trPr" | "tblPr" | "sectPr" => {
                self.in_properties = self.in_properties.saturating_sub(1)
            }
            "tcPr" => {
                self.in_properties = self.in_properties.saturating_sub(1);
                self.start_pending_cell();
            }
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => {
                self.start_pending_cell();
                self.close_lists(0);
                self.writer.end_cell();
            }
            "tbl" => {
                self.writer.end_table();
                self.tables.pop();
            }
            _ => {}
        }
    }

    fn start_pending_cell(&mut self) {
        if let Some(table) = self.tables.last_mut()
            && let Some(span) = table.pending_cell.take()
        {
            self.writer.start_cell(table.row_is_header, span);
        }
    }

    /// Called when a paragraph's properties are known and its text has not begun.
    fn start_paragraph(&mut self) {
        self.paragraph_has_begun = true;
        let style = self.styles.of(self.paragraph.style.as_deref());
        let heading = self
            .paragraph
            .outline_level
            .or(style.outline_level)
            .filter(|level| *level < RUNNING_TEXT);
        let list =
            self.paragraph.list.as_deref().or(style.list.as_deref()).filter(|list| *list != "0");
        let level = self.paragraph.list_level.or(style.list_level).unwrap_or(0).min(DEEPEST_LEVEL);
        if style.is_title || heading.is_some() {
            let level = heading.unwrap_or(0);
            self.in_title = style.is_title && self.title.is_none();
            self.close_lists(0);
            self.writer.start_heading((level + 1).min(DEEPEST_HEADING));
        } else if let Some(list) = list.map(str::to_owned) {
            self.start_item(&list, level);
        } else {
            self.close_lists(0);
        }
        if let Some(note) = self.note.take() {
            self.writer.text(&note);
        }
    }

    fn start_item(&mut self, list: &str, level: usize) {
        let number = self.numbering.count(list, level);
        self.close_lists(level + 1);
        // Another list at the same level begins anew.
        if self.lists.len() == level + 1 && self.lists[level] != list {
            self.close_lists(level);
        }
        while self.lists.len() <= level {
            let number = if self.lists.len() == level { number } else { None };
            self.writer.start_list(number);
            self.lists.push(list.to_owned());
        }
        self.writer.start_item();
    }

    fn end_paragraph(&mut self) {
        self.in_title = false;
        self.writer.end_heading();
    }

    fn close_lists(&mut self, depth: usize) {
        while self.lists.len() > depth {
            self.writer.end_list();
            self.lists.pop();
        }
    }
}

/// Deleted and moved text, codes of fields, and what stands there a second time for older programs.
fn is_not_shown(element: &Element<'_>) -> bool {
    matches!(element.name(), "del" | "moveFrom" | "Fallback" | "instrText" | "delText")
        || element.name().ends_with("PrChange")
}

/// How a note is referred to, and how it begins.
fn mark(element: &str, start: &Element<'_>) -> String {
    let id = start.attribute("id").unwrap_or_default();
    if element == "endnote" { format!("[^e{id}]") } else { format!("[^{id}]") }
}

/// A switch is on unless it says otherwise.
fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("0" | "false" | "off"))
}

#[cfg(test)]
mod tests;
