//! Presentations: a slide is a page, its title a heading, its notes a paragraph behind it.

use super::ooxml::{main_part, relationships, title};
use crate::office::package::Package;
use crate::office::xml::{Element, Event, Xml, XmlError};
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

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
    let mut shapes: Vec<Shape> = Vec::new();
    let mut open = Shape::default();
    let mut paragraph: Option<Paragraph> = None;
    let mut table: Option<Vec<Vec<Cell>>> = None;
    let mut in_text = false;
    let mut events = Xml::new(text);
    while let Some(event) = events.next()? {
        match event {
            Event::Start(element) => match element.name() {
                "Fallback" => events.skip()?,
                "sp" | "graphicFrame" => open = Shape::default(),
                "ph" => open.role = role(&element),
                "tbl" => table = Some(Vec::new()),
                "tr" => table.iter_mut().for_each(|rows| rows.push(Vec::new())),
                "tc" => {
                    let on = |name: &str| {
                        matches!(element.attribute(name).as_deref(), Some("1" | "true"))
                    };
                    let covered = on("hMerge") || on("vMerge");
                    if let Some(row) = table.as_mut().and_then(|rows| rows.last_mut()) {
                        row.push(Cell { text: String::new(), covered });
                    }
                }
                "p" => paragraph = Some(Paragraph::default()),
                "pPr" => {
                    if let Some(paragraph) = &mut paragraph {
                        let level =
                            element.attribute("lvl").and_then(|n| n.parse().ok()).unwrap_or(0);
                        paragraph.level = usize::min(level, 8);
                    }
                }
                "buNone" => {
                    paragraph.iter_mut().for_each(|paragraph| paragraph.marked = Some(false))
                }
                "buChar" | "buAutoNum" | "buBlip" => {
                    paragraph.iter_mut().for_each(|paragraph| paragraph.marked = Some(true));
                }
                "t" => in_text = true,
                "br" => paragraph.iter_mut().for_each(|paragraph| paragraph.text.push('\n')),
                _ => {}
            },
            Event::Text(text) if in_text => {
                paragraph.iter_mut().for_each(|paragraph| paragraph.text.push_str(&text));
            }
            Event::Text(_) => {}
            Event::End(end) => match end.name() {
                "t" => in_text = false,
                "p" => {
                    let Some(paragraph) = paragraph.take().filter(|p| !p.text.trim().is_empty())
                    else {
                        continue;
                    };
                    match table.as_mut().and_then(|rows| rows.last_mut()?.last_mut()) {
                        Some(cell) => {
                            cell.text.push(' ');
                            cell.text.push_str(&paragraph.text);
                        }
                        None => open.content.push(Content::Paragraph(paragraph)),
                    }
                }
                "tbl" => open.content.extend(table.take().map(Content::Table)),
                "sp" | "graphicFrame" => shapes.push(std::mem::take(&mut open)),
                _ => {}
            },
        }
    }
    Ok(shapes)
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
