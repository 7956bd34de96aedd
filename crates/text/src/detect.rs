//! What a file is, by its content first and its name second.

use std::path::Path;

use crate::verbatim::code;
use crate::web::email;
use crate::{Error, Format};

/// How the bytes are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its pages are in a container of their own.
    Pdf,
    /// A zip archive with a Word document in it.
    Docx,
    /// One with a presentation.
    Pptx,
    /// One with a workbook.
    Xlsx,
    /// One with an electronic book.
    Epub,
    /// Characters; which of the text formats is decided by [`text_format`] after decoding.
    Text,
}

/// The header of a PDF may stand anywhere in its first kilobyte.
const PDF_HEADER_WITHIN: usize = 1024;
/// Comments and declarations before the document type of a page that are passed over.
const MAX_PROLOGUE: usize = 64;

/// First bytes of formats that are known and not read.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or encrypted Microsoft Office file (OLE2)"),
    (b"{\\rtf", "a rich text file (rtf)"),
    (b"%!PS", "a PostScript file"),
    (b"\x89PNG", "a picture (png)"),
    (b"\xff\xd8\xff", "a picture (jpeg)"),
    (b"GIF8", "a picture (gif)"),
    (b"RIFF", "a sound, picture or video (riff)"),
    (b"II*\0", "a picture (tiff)"),
    (b"MM\0*", "a picture (tiff)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)"),
    (b"\xfd7zXZ", "a compressed file (xz)"),
    (b"7z\xbc\xaf", "an archive (7z)"),
    (b"Rar!", "an archive (rar)"),
    (b"\x7fELF", "a program (elf)"),
    (b"MZ\x90", "a program (exe)"),
    (b"SQLite format 3\0", "a database (sqlite)"),
    (b"GGUF", "model weights (gguf)"),
    (b"PAR1", "a table (parquet)"),
];

/// Extensions of formats that look like text and are not read.
const TEXT_BUT_NOT_READ: &[(&[&str], &str)] = &[
    (&["mbox"], "a mailbox (mbox; single messages are read as eml)"),
    (&["xml", "svg"], "an XML file"),
    (&["ipynb"], "a notebook (ipynb)"),
    (
        &["docx", "pptx", "xlsx", "epub", "odt", "ods", "odp", "doc", "xls", "ppt"],
        "an office file by its name only",
    ),
    (&["pdf"], "a PDF by its name only"),
];

/// Looks at the first bytes; names the format where it is one that is not read.
pub(crate) fn kind(path: &Path, bytes: &[u8]) -> Result<Kind, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if bytes[..bytes.len().min(PDF_HEADER_WITHIN)].windows(5).any(|w| w == b"%PDF-")
        && !is_text_before_pdf(bytes)
    {
        return Ok(Kind::Pdf);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return zip_content(path, bytes);
    }
    match MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => Err(Error::Unsupported { name }),
        None => Ok(Kind::Text),
    }
}

/// Whether a text merely mentions `%PDF-`: it stands inside a line.
fn is_text_before_pdf(bytes: &[u8]) -> bool {
    let at = bytes.windows(5).position(|w| w == b"%PDF-").unwrap_or(0);
    at > 0 && !matches!(bytes[at - 1], b'\n' | b'\r' | 0) && bytes[..at].is_ascii()
}

/// Tells what is in a zip archive by the names of its parts, which stand near its beginning and its
/// end; by the file's own name where the archive is cut short.
fn zip_content(path: &Path, bytes: &[u8]) -> Result<Kind, Error> {
    const NEAR: usize = 1 << 16;
    let ends = [&bytes[..bytes.len().min(NEAR)], &bytes[bytes.len().saturating_sub(NEAR)..]];
    let has = |name: &[u8]| ends.iter().any(|part| part.windows(name.len()).any(|w| w == name));
    if has(b"application/epub+zip") {
        Ok(Kind::Epub)
    } else if has(b"opendocument") {
        Err(Error::Unsupported { name: "an OpenDocument file (odt, ods, odp)" })
    } else if has(b"word/") {
        Ok(Kind::Docx)
    } else if has(b"ppt/") {
        Ok(Kind::Pptx)
    } else if has(b"xl/workbook.bin") {
        Err(Error::Unsupported { name: "a binary Excel workbook (xlsb)" })
    } else if has(b"xl/") {
        Ok(Kind::Xlsx)
    } else {
        match extension(path).as_str() {
            "docx" => Ok(Kind::Docx),
            "pptx" => Ok(Kind::Pptx),
            "xlsx" => Ok(Kind::Xlsx),
            "epub" => Ok(Kind::Epub),
            _ => Err(Error::Unsupported { name: "an archive (zip)" }),
        }
    }
}

/// The format of decoded text: HTML shows itself, the rest goes by the extension, plain text by
/// default.
pub(crate) fn text_format(path: &Path, text: &str) -> Result<Format, Error> {
    let extension = extension(path);
    if looks_like_html(text) {
        return Ok(Format::Html);
    }
    if extension == "eml" || email::begins_like_one(text) {
        return Ok(Format::Email);
    }
    if let Some((_, name)) =
        TEXT_BUT_NOT_READ.iter().find(|(names, _)| names.contains(&extension.as_str()))
    {
        return Err(Error::Unsupported { name });
    }
    Ok(match extension.as_str() {
        "md" | "markdown" | "mdown" | "mkd" => Format::Markdown,
        "html" | "htm" | "xhtml" | "shtml" => Format::Html,
        "csv" | "tsv" | "tab" => Format::Csv,
        "jsonl" | "ndjson" => Format::Jsonl,
        "json" => Format::Json,
        "rst" | "rest" => Format::Rst,
        _ if code::is_code(&file_name(path), text) => Format::Code,
        _ => Format::Plain,
    })
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether text begins with a document type or an `html` element, after comments and declarations.
fn looks_like_html(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    for _ in 0..MAX_PROLOGUE {
        let skipped = if rest.starts_with("<!--") {
            rest.find("-->").map(|end| end + 3)
        } else if rest.starts_with("<?xml") {
            rest.find("?>").map(|end| end + 2)
        } else {
            None
        };
        match skipped {
            Some(end) => rest = rest[end..].trim_start(),
            None => break,
        }
    }
    let starts =
        |tag: &str| rest.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    starts("<!doctype html") || starts("<html>") || starts("<html ") || starts("<html\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_before_the_name() {
        let kind = |bytes: &[u8]| kind(Path::new("a"), bytes);
        assert_eq!(kind(b"%PDF-1.7\n").unwrap(), Kind::Pdf);
        assert_eq!(kind(b"\nThe header is %PDF-1.7").unwrap(), Kind::Text);
        assert!(matches!(kind(b""), Err(Error::Empty)));
        let named = |bytes: &[u8]| match kind(bytes) {
            Err(Error::Unsupported { name }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(named(b"\x89PNG\r\n"), "a picture (png)");
        assert_eq!(kind(b"PK\x03\x04....word/document.xml").unwrap(), Kind::Docx);
        assert_eq!(kind(b"PK\x03\x04....mimetypeapplication/epub+zip").unwrap(), Kind::Epub);
        assert_eq!(named(b"PK\x03\x04 something"), "an archive (zip)");
    }

    #[test]
    fn html_shows_itself() {
        let format = |name: &str, text: &str| text_format(Path::new(name), text).unwrap();
        assert_eq!(
            format("a.txt", "<?xml version='1'?>\n<!-- c -->\n<HTML lang=en>"),
            Format::Html
        );
        assert_eq!(format("a.md", "<table><tr>"), Format::Markdown);
        assert_eq!(format("README", "hello"), Format::Plain);
        assert_eq!(format("a.TSV", "a\tb"), Format::Csv);
        assert_eq!(format("a.eml", "From: x"), Format::Email);
        assert_eq!(format("a.txt", "From: x\nDate: today\n\ntext"), Format::Email);
        assert_eq!(format("main.rs", "fn main() {}"), Format::Code);
        assert!(text_format(Path::new("a.svg"), "<svg/>").is_err());
    }
}
