//! Electronic books: the pages of the book in the order in which they are read.
//!
//! Reference: EPUB 3.3, W3C Recommendation.

use std::collections::HashMap;

use crate::error::Fault;
use crate::office::package::{Package, resolve};
use crate::office::xml::{Event, Xml, XmlError};
use crate::web::html;
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

const CONTAINER: &str = "META-INF/container.xml";
const ENCRYPTION: &str = "META-INF/encryption.xml";

/// Reads a book without its table of contents.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    let mut package = Package::open(bytes, "an electronic book (epub)")?;
    let container = package.required(CONTAINER)?;
    let root = root_file(&container).map_err(|error| package.broken(CONTAINER, error))?;
    let root = root.ok_or_else(|| package.broken(CONTAINER, Fault::NoPackageDocument))?;
    let text = package.required(&root)?;
    let book = Book::read(&root, &text).map_err(|error| package.broken(&root, error))?;
    let encrypted = package.text(ENCRYPTION)?.unwrap_or_default();
    let encrypted =
        encrypted_parts(&encrypted).map_err(|error| package.broken(ENCRYPTION, error))?;
    let mut writer = Writer::default();
    for part in &book.spine {
        // Fonts are often scrambled; a page that is, is protected.
        if encrypted.contains(part) {
            return Err(Error::Encrypted);
        }
        let Some(page) = package.text(part)? else {
            return Err(package.broken(part, Fault::MissingPart));
        };
        writer = html::read_into(writer, &page)?;
        writer.close_all();
        if writer.len() > MAX_TEXT {
            return Err(Error::TooLarge { bytes: writer.len() as u64, limit: MAX_TEXT as u64 });
        }
    }
    writer.set_title(book.title.as_deref().unwrap_or_default());
    writer.finish(Format::Epub)
}

/// The package document that the container names first.
fn root_file(container: &str) -> Result<Option<String>, XmlError> {
    let mut events = Xml::new(container);
    while let Some(event) = events.next()? {
        if let Event::Start(element) = event
            && element.name() == "rootfile"
        {
            return Ok(element.attribute("full-path"));
        }
    }
    Ok(None)
}

fn encrypted_parts(text: &str) -> Result<Vec<String>, XmlError> {
    let mut parts = Vec::new();
    let mut events = Xml::new(text);
    while let Some(event) = events.next()? {
        if let Event::Start(element) = event
            && element.name() == "CipherReference"
        {
            parts.extend(element.attribute("URI").map(|uri| resolve("", &unescaped(&uri))));
        }
    }
    Ok(parts)
}

/// What the package document says.
#[derive(Default)]
struct Book {
    title: Option<String>,
    /// The parts to be read, in order.
    spine: Vec<String>,
}

impl Book {
    fn read(root: &str, text: &str) -> Result<Self, XmlError> {
        let mut book = Book::default();
        let mut pages = HashMap::new();
        let mut in_title = false;
        let mut events = Xml::new(text);
        while let Some(event) = events.next()? {
            match event {
                Event::Start(element) => match element.name() {
                    "title" if element.prefix() == "dc" && book.title.is_none() => {
                        in_title = true;
                        book.title = Some(String::new());
                    }
                    "item" => {
                        let is_page = element
                            .attribute("media-type")
                            .is_some_and(|kind| kind.contains("html"));
                        let is_contents = element.attribute("properties").is_some_and(|words| {
                            words.split_whitespace().any(|word| word == "nav")
                        });
                        if let (true, false, Some(id), Some(target)) = (
                            is_page,
                            is_contents,
                            element.attribute("id"),
                            element.attribute("href"),
                        ) {
                            pages.insert(id, resolve(root, &unescaped(&target)));
                        }
                    }
                    "itemref" => {
                        let page = element.attribute("idref").and_then(|id| pages.get(&id));
                        book.spine.extend(page.cloned());
                    }
                    _ => {}
                },
                Event::End(end) if end.name() == "title" => in_title = false,
                Event::Text(text) if in_title => book.title.get_or_insert_default().push_str(&text),
                _ => {}
            }
        }
        Ok(book)
    }
}

/// An address with its `%20` and the like resolved, as far as they make text.
fn unescaped(address: &str) -> String {
    let mut bytes = Vec::with_capacity(address.len());
    let mut rest = address.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::office::package::tests::packed;

    fn book(encryption: &str) -> Vec<u8> {
        let package = "<package xmlns:dc='d'><metadata><dc:title>A &amp; B</dc:title></metadata><manifest>\
            <item id='n' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/>\
            <item id='2' href='the%20end.xhtml' media-type='application/xhtml+xml'/>\
            <item id='1' href='text/one.xhtml' media-type='application/xhtml+xml'/>\
            <item id='c' href='c.css' media-type='text/css'/></manifest>\
            <spine><itemref idref='n'/><itemref idref='1'/><itemref idref='2'/></spine></package>";
        packed(&[
            ("mimetype", "application/epub+zip"),
            (
                CONTAINER,
                "<container><rootfiles><rootfile full-path='B/c.opf'/></rootfiles></container>",
            ),
            (ENCRYPTION, encryption),
            ("B/c.opf", package),
            ("B/nav.xhtml", "<html><body><p>contents</p></body></html>"),
            (
                "B/text/one.xhtml",
                "<html><head><title>I</title></head><body><h1>One</h1><p>First.</body></html>",
            ),
            (
                "B/the end.xhtml",
                "<html><head><title>II</title></head><body><h1>Two</h1><p>Last.</p></body></html>",
            ),
        ])
    }

    #[test]
    fn pages_come_in_reading_order() {
        let document = read(&book("<encryption/>")).unwrap();
        assert_eq!(document.title.as_deref(), Some("A & B"));
        assert_eq!(document.text, "# One\n\nFirst.\n\n# Two\n\nLast.");
        assert_eq!(document.blocks[3].heading_path, ["Two"]);
    }

    #[test]
    fn a_page_that_stops_in_the_middle_ends_there() {
        let pages =
            ["<html><h1>One<pre>", "<html><p>Two<ul><li>a<table><tr><td>b", "<html><p>Three"];
        let mut writer = Writer::default();
        for page in pages {
            writer = html::read_into(writer, page).unwrap();
            writer.close_all();
        }
        let document = writer.finish(Format::Epub).unwrap();
        assert_eq!(document.text, "# One\n\nTwo\n\n- a\n\nb\n\nThree");
    }

    #[test]
    fn a_protected_book_is_refused_and_scrambled_fonts_are_not() {
        let of = |part: &str| {
            book(&format!(
                "<encryption><CipherData><CipherReference URI='{part}'/></CipherData></encryption>"
            ))
        };
        assert!(matches!(read(&of("B/the%20end.xhtml")), Err(Error::Encrypted)));
        assert!(read(&of("B/font.otf")).is_ok());
    }

    #[test]
    fn escapes_in_addresses() {
        assert_eq!(unescaped("a%20b%C3%A9%"), "a bé%");
        assert_eq!(unescaped("%ff"), "%ff");
    }
}
