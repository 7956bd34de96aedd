//! Presentations: a slide is a page, its title a heading, its notes a paragraph behind it.

use super::ooxml::{main_part, relationships, title};
use crate::office::package::Package;
use crate::office::xml::{Element, Event, Xml, XmlError};
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

/// DrawingML has nine levels of lists, from 0.
const DEEPEST_LEVEL: usize = 8;

/// Reads a presentation, slides in the order in which they are shown.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    let mut package = Package::open(bytes, "a PowerPoint presentation (pptx)")?;
    let main = main_part(&mut package, "ppt/presentation.xml")?;
    let mut writer = Writer::default();
    for slide in slides(&mut package, &main)? {
        writer.start_page();
        let text = package.required(&slide)?;
        let shapes = shapes(&text).map_err(|error| package.broken(&slide, error))?;
        write_slide(&mut writer, &shapes);
        let notes = relationships(&mut package, &slide)?
            .into_values()
            .find(|(kind, _)| kind == "notesSlide");
        if let Some((_, notes)) = notes
            && let Some(text) = package.text(&notes)?
        {
            let shapes = self::shapes(&text).map_err(|error| package.broken(&notes, error))?;
            write_notes(&mut writer, &shapes);
        }
        if writer.len() > MAX_TEXT {
            return Err(Error::TooLarge { bytes: writer.len() as u64, limit: MAX_TEXT as u64 });
        }
    }
    if let Some(title) = title(&mut package)? {
        writer.set_title(&title);
    }
    writer.finish(Format::Pptx)
}

/// The parts of the slides.
fn slides(package: &mut Package<'_>, main: &str) -> Result<Vec<String>, Error> {
    let parts = relationships(package, main)?;
    let text = package.required(main)?;
    let mut slides = Vec::new();
    let mut events = Xml::new(&text);
    while let Some(event) = events.next().map_err(|error| package.broken(main, error))? {
        if let Event::Start(element) = event
            && element.name() == "sldId"
            && let Some((_, slide)) = element.qualified("r:id").and_then(|id| parts.get(&id))
        {
            slides.push(slide.clone());
        }
    }
    Ok(slides)
}

/// One shape of a slide that holds text.
#[derive(Debug, Default)]
struct Shape {
    role: Role,
    content: Vec<Content>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Role {
    Title,
    /// The place of the main text, whose paragraphs are shown as a list.
    Body,
    /// Date, number and footer, which every slide repeats.
    Furniture,
    #[default]
    Free,
}

#[derive(Debug)]
enum Content {
    Paragraph(Paragraph),
    Table(Vec<Vec<Cell>>),
}

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    level: usize,
    /// The paragraph says itself whether it has a bullet or a number.
    marked: Option<bool>,
}

#[derive(Debug, Default)]
struct Cell {
    text: String,
    /// The cell is covered by one that was merged over it.
    covered: bool,
}

/// The shapes of a slide or of its notes, groups opened, in their order.
fn shapes(text: &str) -> Result<Vec<Shape>, XmlError> {
    let mut reader = ShapeReader::default();
    let mut events = Xml::new(text);
    while let Some(event) = events.next()? {
        match event {
            // What older programs are to show instead of the element before it.
            Event::Start(element) if element.name() == "Fallback" => events.skip()?,
            Event::Start(element) => reader.start(&element),
            Event::Text(text) => reader.text(&text),
            Event::End(end) => reader.end(end.name()),
        }
    }
    Ok(reader.shapes)
}

/// What is open while a slide is read.
#[derive(Default)]
struct ShapeReader {
    shapes: Vec<Shape>,
    shape: Shape,
    paragraph: Option<Paragraph>,
    /// The rows of the table that is open.
    table: Option<Vec<Vec<Cell>>>,
    /// Inside an element whose text is shown.
    in_text: bool,
}

impl ShapeReader {
    fn start(&mut self, element: &Element<'_>) {
        match element.name() {
            "sp" | "graphicFrame" => self.shape = Shape::default(),
            "ph" => self.shape.role = role(element),
            "tbl" => self.table = Some(Vec::new()),
            "tr" => self.table.iter_mut().for_each(|rows| rows.push(Vec::new())),
            "tc" => {
                if let Some(row) = self.table.as_mut().and_then(|rows| rows.last_mut()) {
                    row.push(Cell { text: String::new(), covered: is_covered(element) });
                }
            }
            "p" => self.paragraph = Some(Paragraph::default()),
            "t" => self.in_text = true,
            name => {
                if let Some(paragraph) = &mut self.paragraph {
                    paragraph.start(name, element);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraph.as_mut().filter(|_| self.in_text) {
            paragraph.text.push_str(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tbl" => self.shape.content.extend(self.table.take().map(Content::Table)),
            "sp" | "graphicFrame" => self.shapes.push(std::mem::take(&mut self.shape)),
            _ => {}
        }
    }

    /// Adds the paragraph to the cell or shape it stands in, unless it is empty.
    fn end_paragraph(&mut self) {
        let paragraph = self.paragraph.take().filter(|p| !p.text.trim().is_empty());
        let Some(paragraph) = paragraph else { return };
        match self.table.as_mut().and_then(|rows| rows.last_mut()?.last_mut()) {
            Some(cell) => {
                cell.text.push(' ');
                cell.text.push_str(&paragraph.text);
            }
            None => self.shape.content.push(Content::Paragraph(paragraph)),
        }
    }
}

impl Paragraph {
    /// Takes in an element inside the paragraph that says how it is set.
    fn start(&mut self, name: &str, element: &Element<'_>) {
        match name {
            "pPr" => {
                let level = element.attribute("lvl").and_then(|n| n.parse().ok()).unwrap_or(0);
                self.level = usize::min(level, DEEPEST_LEVEL);
            }
            "buNone" => self.marked = Some(false),
            "buChar" | "buAutoNum" | "buBlip" => self.marked = Some(true),
            "br" => self.text.push('\n'),
            _ => {}
        }
    }
}

/// Whether a cell is covered by one that was merged over it.
fn is_covered(cell: &Element<'_>) -> bool {
    let on = |name: &str| matches!(cell.attribute(name).as_deref(), Some("1" | "true"));
    on("hMerge") || on("vMerge")
}

fn role(placeholder: &Element<'_>) -> Role {
    match placeholder.attribute("type").as_deref() {
        Some("title" | "ctrTitle") => Role::Title,
        Some("dt" | "ftr" | "sldNum" | "hdr") => Role::Furniture,
        Some("body" | "obj") | None => Role::Body,
        Some(_) => Role::Free,
    }
}

/// Writes the title first, wherever it stands, then the rest in order.
fn write_slide(writer: &mut Writer, shapes: &[Shape]) {
    for shape in shapes.iter().filter(|shape| shape.role == Role::Title) {
        for content in &shape.content {
            if let Content::Paragraph(paragraph) = content {
                writer.start_heading(1);
                writer.text(&paragraph.text);
                writer.end_heading();
            }
        }
    }
    for shape in shapes.iter().filter(|shape| matches!(shape.role, Role::Body | Role::Free)) {
        let paragraphs =
            shape.content.iter().filter(|c| matches!(c, Content::Paragraph(_))).count();
        let is_list = shape.role == Role::Body && paragraphs > 1;
        write_content(writer, &shape.content, is_list);
    }
}

/// Writes what is in the notes under a slide; the rest of their page repeats the slide.
fn write_notes(writer: &mut Writer, shapes: &[Shape]) {
    for shape in shapes.iter().filter(|shape| shape.role == Role::Body) {
        write_content(writer, &shape.content, false);
    }
}

fn write_content(writer: &mut Writer, content: &[Content], is_list: bool) {
    let mut depth = 0;
    let mut set_depth = |writer: &mut Writer, to: usize| {
        while depth > to {
            writer.end_list();
            depth -= 1;
        }
        while depth < to {
            writer.start_list(None);
            depth += 1;
        }
    };
    for content in content {
        match content {
            Content::Paragraph(paragraph) => {
                if paragraph.marked.unwrap_or(is_list || paragraph.level > 0) {
                    set_depth(writer, paragraph.level + 1);
                    writer.start_item();
                } else {
                    set_depth(writer, 0);
                }
                for (at, line) in paragraph.text.split('\n').enumerate() {
                    if at > 0 {
                        writer.line_break();
                    }
                    writer.text(line);
                }
                writer.end_paragraph();
            }
            Content::Table(rows) => {
                set_depth(writer, 0);
                write_table(writer, rows);
            }
        }
    }
    set_depth(writer, 0);
}

fn write_table(writer: &mut Writer, rows: &[Vec<Cell>]) {
    writer.start_table();
    for (at, row) in rows.iter().enumerate() {
        writer.start_row();
        for cell in row {
            // A cell that spans columns is followed by those it covers, so it counts as one.
            writer.start_cell(at == 0, 1);
            if !cell.covered {
                writer.text(&cell.text);
            }
            writer.end_cell();
        }
    }
    writer.end_table();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::package::tests::packed;

    fn shape(placeholder: &str, paragraphs: &[&str]) -> String {
        let paragraphs: String = paragraphs.iter().map(|p| format!("<a:p>{p}</a:p>")).collect();
        format!("<p:sp><p:nvSpPr>{placeholder}</p:nvSpPr><p:txBody>{paragraphs}</p:txBody></p:sp>")
    }

    fn presentation(slides: &[String]) -> Vec<u8> {
        let entries: String =
            (0..slides.len()).rev().map(|n| format!("<p:sldId id='{n}' r:id='r{n}'/>")).collect();
        let links: String = (0..slides.len())
            .map(|n| {
                format!("<Relationship Id='r{n}' Type='http://x/slide' Target='slides/s{n}.xml'/>")
            })
            .collect();
        let notes = shape("<p:ph type='body'/>", &["<a:r><a:t>Say hello.</a:t></a:r>"]);
        let mut parts = vec![
            ("ppt/presentation.xml".to_owned(), format!("<p:presentation>{entries}</p:presentation>")),
            ("ppt/_rels/presentation.xml.rels".to_owned(), format!("<Relationships>{links}</Relationships>")),
            (
                "ppt/slides/_rels/s0.xml.rels".to_owned(),
                "<Relationships><Relationship Id='n' Type='http://x/notesSlide' Target='../notes.xml'/></Relationships>".to_owned(),
            ),
            ("ppt/notes.xml".to_owned(), format!("<p:notes>{notes}</p:notes>")),
        ];
        let slide = |(n, slide): (usize, &String)| {
            (format!("ppt/slides/s{n}.xml"), format!("<p:sld>{slide}</p:sld>"))
        };
        parts.extend(slides.iter().enumerate().map(slide));
        let parts: Vec<(&str, &str)> =
            parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        packed(&parts)
    }

    #[test]
    fn slides_come_in_their_order_with_title_and_notes() {
        let first = shape(
            "<p:ph idx='1'/>",
            &["<a:r><a:t>one</a:t></a:r>", "<a:pPr lvl='1'/><a:r><a:t>two</a:t></a:r>"],
        ) + &shape("<p:ph type='title'/>", &["<a:r><a:t>Ducks</a:t></a:r>"])
            + &shape("<p:ph type='sldNum'/>", &["<a:r><a:t>7</a:t></a:r>"]);
        let table = "<p:graphicFrame><a:tbl><a:tr><a:tc gridSpan='2'><a:p><a:r><a:t>head</a:t></a:r></a:p></a:tc><a:tc hMerge='1'/></a:tr>\
            <a:tr><a:tc><a:p><a:r><a:t>a</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>b</a:t></a:r></a:p></a:tc></a:tr></a:tbl></p:graphicFrame>";
        let document = read(&presentation(&[first, table.to_owned()])).unwrap();
        assert_eq!(
            document.text,
            "| head |  |\n|---|---|\n| a | b |\n\n# Ducks\n\n- one\n  - two\n\nSay hello."
        );
        assert_eq!(
            (document.receipt.pages, document.receipt.empty_pages, document.receipt.tables),
            (2, 0, 1)
        );
        assert_eq!(document.page_of(document.text.find("hello").unwrap()), Some(2));
        assert_eq!(document.page_of(0), Some(1));
    }

    #[test]
    fn empty_slides_are_counted() {
        let text = shape("", &["<a:r><a:t>words</a:t></a:r>"]);
        let document = read(&presentation(&[String::new(), text, String::new()])).unwrap();
        // The notes of the last one shown keep it from being empty.
        assert_eq!((document.receipt.pages, document.receipt.empty_pages), (3, 1));
        assert!(matches!(
            read(&packed(&[("ppt/presentation.xml", "<a/>")])),
            Err(Error::NoText { .. })
        ));
    }
}
