//! A zip archive of parts, as office formats and electronic books are, unpacked within bounds.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::Fault;
use crate::{Cause, Error, encoding};

/// An archive with more files than this is refused.
const MAX_PARTS: usize = 20_000;
/// The most that one part may grow to, in bytes. A text of [`MAX_TEXT`](crate::MAX_TEXT) fits with
/// its mark-up.
const MAX_PART: u64 = 128 << 20;
/// The most that all parts of a package that are unpacked may grow to, in bytes.
const MAX_UNPACKED: u64 = 384 << 20;

/// A zip archive whose parts are read by name.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// What it seems to be, for errors.
    name: &'static str,
    /// Bytes unpacked so far.
    unpacked: u64,
}

impl<'a> Package<'a> {
    /// Opens an archive; `name` is what it seems to be, such as "a Word document (docx)".
    pub(crate) fn open(bytes: &'a [u8], name: &'static str) -> Result<Self, Error> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(name, error))?;
        if archive.len() > MAX_PARTS {
            let fault = Fault::TooManyParts { found: archive.len(), most: MAX_PARTS };
            return Err(Error::Damaged { name, part: None, source: fault.into() });
        }
        Ok(Package { archive, name, unpacked: 0 })
    }

    /// A part as text, `None` where there is none of this name.
    pub(crate) fn text(&mut self, part: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.bytes(part)? else { return Ok(None) };
        let mut text = encoding::decode(&bytes, true).map_err(|error| self.broken(part, error))?;
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Some(text))
    }

    /// A part as text, an error where there is none of this name.
    pub(crate) fn required(&mut self, part: &str) -> Result<String, Error> {
        self.text(part)?.ok_or_else(|| self.broken(part, Fault::MissingPart))
    }

    /// The error of a part that cannot be read.
    pub(crate) fn broken(&self, part: &str, source: impl Into<Cause>) -> Error {
        Error::Damaged { name: self.name, part: Some(part.to_owned()), source: source.into() }
    }

    fn bytes(&mut self, part: &str) -> Result<Option<Vec<u8>>, Error> {
        let limit = MAX_PART.min(MAX_UNPACKED - self.unpacked);
        let mut bytes = Vec::new();
        // The archive's own statement of the size is not trusted.
        let read = match self.archive.by_name(part) {
            Ok(file) => file.take(limit + 1).read_to_end(&mut bytes),
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(self.name, error)),
        };
        let read = read.map_err(|error| self.broken(part, error))?;
        if read as u64 > limit {
            return Err(Error::Expands { part: part.to_owned(), limit });
        }
        self.unpacked += read as u64;
        Ok(Some(bytes))
    }

    /// Unpacks all parts once and keeps nothing, to check their sizes for a parser that has no
    /// bounds of its own.
    pub(crate) fn check_all(&mut self) -> Result<(), Error> {
        let mut left = MAX_UNPACKED;
        for at in 0..self.archive.len() {
            let file = self.archive.by_index(at).map_err(|error| damaged(self.name, error))?;
            let part = String::from_utf8_lossy(file.name_raw()).into_owned();
            let limit = MAX_PART.min(left);
            let read = std::io::copy(&mut file.take(limit + 1), &mut std::io::sink());
            let read = read.map_err(|error| self.broken(&part, error))?;
            if read > limit {
                return Err(Error::Expands { part, limit });
            }
            left -= read;
        }
        Ok(())
    }
}

fn damaged(name: &'static str, error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => Error::Encrypted,
        error => Error::Damaged { name, part: None, source: error.into() },
    }
}

/// The part that `target`, written in part `from`, points to. Targets are relative unless they
/// begin with `/`.
pub(crate) fn resolve(from: &str, target: &str) -> String {
    let target = target.split('#').next().unwrap_or("");
    let mut steps: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => from.split('/').collect(),
    };
    steps.pop();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// An archive of parts with their content.
    pub(crate) fn packed(parts: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in parts {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn parts_are_found_by_name() {
        let bytes = packed(&[("a/b.xml", "\u{feff}<b/>"), ("c", "text")]);
        let mut package = Package::open(&bytes, "an archive (zip)").unwrap();
        assert_eq!(package.text("a/b.xml").unwrap().as_deref(), Some("<b/>"));
        assert_eq!(package.text("d").unwrap(), None);
        let missing = package.required("d").unwrap_err().to_string();
        assert_eq!(missing, "is an archive (zip), but damaged: d: it is missing");
    }

    #[test]
    fn a_part_that_grows_without_end_is_refused() {
        let bytes = packed(&[("big", &"0".repeat(MAX_PART as usize + 1))]);
        assert!(bytes.len() < 1 << 20);
        let mut package = Package::open(&bytes, "an archive (zip)").unwrap();
        let error = package.text("big").unwrap_err();
        assert!(
            matches!(&error, Error::Expands { part, limit: MAX_PART } if part == "big"),
            "{error}"
        );
        assert!(matches!(package.check_all(), Err(Error::Expands { .. })));
    }

    #[test]
    fn a_cut_archive_is_damaged() {
        let bytes = packed(&[("a", "some text that is stored"), ("b", "more of it")]);
        for end in 0..bytes.len() {
            assert!(Package::open(&bytes[..end], "an archive (zip)").is_err(), "cut at {end}");
        }
    }

    #[test]
    fn targets_are_relative_to_the_part_that_names_them() {
        assert_eq!(resolve("ppt/slides/slide1.xml", "../notes/n1.xml"), "ppt/notes/n1.xml");
        assert_eq!(resolve("OEBPS/content.opf", "text/c1.xhtml#start"), "OEBPS/text/c1.xhtml");
        assert_eq!(resolve("word/document.xml", "/word/styles.xml"), "word/styles.xml");
        assert_eq!(resolve("a.xml", "../../../etc/passwd"), "etc/passwd");
    }
}
