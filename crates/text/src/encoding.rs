//! From bytes to characters: what encoding is this, and how sure are we?

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use crate::Error;

/// How many bytes of a page are searched for its own statement of its encoding.
const DECLARATION_WITHIN: usize = 2048;

/// Decodes a text file.
///
/// In this order: a byte order mark; with `declared`, the encoding that the page names itself;
/// UTF-8; and windows-1252 (which contains latin-1) when the bytes make sense in it. UTF-8 comes
/// back byte for byte, its byte order mark included, so that spans of the result are spans of the
/// file.
pub(crate) fn decode(bytes: &[u8], declared: bool) -> Result<String, Error> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        if encoding == UTF_8 {
            return utf8(bytes);
        }
        return strictly(encoding, &bytes[mark..]);
    }
    if let Some(offset) = bytes.iter().position(|&b| b == 0) {
        return Err(Error::Binary { offset, byte: 0 });
    }
    if declared
        && let Some(encoding) = declared_encoding(bytes)
        && encoding != UTF_8
        && let Ok(text) = strictly(encoding, bytes)
    {
        return Ok(text);
    }
    match utf8(bytes) {
        Err(Error::InvalidUtf8 { .. }) if is_windows_1252(bytes) => strictly(WINDOWS_1252, bytes),
        other => other,
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::InvalidUtf8 { offset: error.valid_up_to() })?;
    // Control characters that no editor writes. More than one in a hundred means data that happens
    // to be valid UTF-8.
    let control =
        |b: &u8| b.is_ascii_control() && !matches!(b, b'\t'..=b'\r' | 0x08 | 0x1a | 0x1b | 0x7f);
    match bytes.iter().position(control) {
        Some(offset) if bytes.iter().filter(|&b| control(b)).count() * 100 > bytes.len() => {
            Err(Error::Binary { offset, byte: bytes[offset] })
        }
        _ => Ok(text.to_string()),
    }
}

fn strictly(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, Error> {
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(|text| text.into_owned())
        .ok_or(Error::Encoding { name: encoding.name() })
}

/// The encoding named in `<meta charset=…>` or `<?xml encoding=…?>`.
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head =
        String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_WITHIN)]).to_ascii_lowercase();
    ["charset=", "encoding="].iter().find_map(|key| {
        let value = &head[head.find(key)? + key.len()..];
        let value = value.trim_start_matches(['"', '\'', ' ']);
        let end = value
            .find(|c: char| !c.is_ascii_alphanumeric() && !"-_:.".contains(c))
            .unwrap_or(value.len());
        Encoding::for_label(&value.as_bytes()[..end])
    })
}

/// Whether bytes that are not UTF-8 read as western European text in windows-1252.
///
/// Any bytes decode as windows-1252, so the text has to make sense: no whole UTF-8 sequence (the
/// file would be damaged UTF-8), no undefined byte, at most two fifths of the characters outside
/// ASCII (Cyrillic or Greek text in its own encoding is nearly all high bytes), and nine tenths of
/// these letters inside words or marks in daily use.
fn is_windows_1252(bytes: &[u8]) -> bool {
    if bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii()) {
        return false;
    }
    let letter = |b: u8| {
        matches!(b, 0xc0..=0xff | 0x8a | 0x8c | 0x8e | 0x9a | 0x9c | 0x9e | 0x9f)
            && b != 0xd7
            && b != 0xf7
    };
    let in_word = |b: Option<&u8>| b.is_some_and(|&b| b.is_ascii_alphabetic() || letter(b));
    let (mut high, mut sensible) = (0, 0);
    for (at, &byte) in bytes.iter().enumerate().filter(|(_, b)| !b.is_ascii()) {
        high += 1;
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + 1);
        sensible += usize::from(match byte {
            0x81 | 0x8d | 0x8f | 0x90 | 0x9d => return false,
            // Words of one letter: à, å, é, è, í, ó, ö, ú, and their capitals.
            0xe0 | 0xe5 | 0xe8 | 0xe9 | 0xed | 0xf3 | 0xf6 | 0xfa | 0xc0 | 0xc5 | 0xc8 | 0xc9
            | 0xcd => true,
            _ if letter(byte) => in_word(before) || in_word(after),
            // Euro, dots, quotes, dashes, bullet, trade mark, guillemets, and the signs of latin-1
            // in daily use.
            0x80 | 0x82 | 0x84 | 0x85 | 0x8b | 0x91..=0x97 | 0x99 | 0x9b => true,
            0xa0
            | 0xa1
            | 0xa3
            | 0xa7
            | 0xa9
            | 0xab
            | 0xad
            | 0xae
            | 0xb0..=0xb5
            | 0xb7
            | 0xba..=0xbf
            | 0xd7 => true,
            _ => false,
        });
    }
    let printed = bytes.iter().filter(|b| !b.is_ascii_whitespace()).count();
    let are_few = high * 5 <= printed * 2;
    let make_sense = sensible * 10 >= high * 9;
    are_few && make_sense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_marks_decide() {
        assert_eq!(decode(b"\xfe\xff\0H\0i", false).unwrap(), "Hi");
        assert_eq!(decode(b"\xff\xfeH\0i\0", false).unwrap(), "Hi");
        assert_eq!(decode(b"\xef\xbb\xbfHi", false).unwrap(), "\u{feff}Hi");
        assert!(matches!(decode(b"\xfe\xff\xd8\0\0i", false), Err(Error::Encoding { .. })));
    }

    #[test]
    fn a_page_may_name_its_encoding() {
        let page = b"<meta charset=\"koi8-r\"><p>\xf0\xf2\xe9\xf7\xe5\xf4</p>";
        assert!(decode(page, true).unwrap().contains("ПРИВЕТ"));
        assert!(decode(page, false).is_err());
        // A wrong or unknown statement is not believed.
        assert_eq!(
            decode("<meta charset=nonsense>é".as_bytes(), true).unwrap(),
            "<meta charset=nonsense>é"
        );
    }

    #[test]
    fn windows_1252_only_when_it_makes_sense() {
        assert_eq!(decode(b"caf\xe9 \x93quoted\x94 \x80 5", false).unwrap(), "café “quoted” € 5");
        // Cyrillic in windows-1251, a broken UTF-8 file, and noise.
        assert!(matches!(
            decode(b"\xcf\xf0\xe8\xe2\xe5\xf2, \xec\xe8\xf0", false),
            Err(Error::InvalidUtf8 { offset: 0 })
        ));
        assert!(matches!(
            decode(b"na\xc3\xafve and caf\xe9", false),
            Err(Error::InvalidUtf8 { offset: 14 })
        ));
        assert!(matches!(decode(b"text \x81 text", false), Err(Error::InvalidUtf8 { offset: 5 })));
    }

    #[test]
    fn binary_is_named_with_its_first_telling_byte() {
        assert!(matches!(decode(b"ab\0cd", false), Err(Error::Binary { offset: 2, byte: 0 })));
        assert!(matches!(
            decode(b"a\x01\x02\x03", false),
            Err(Error::Binary { offset: 1, byte: 1 })
        ));
    }
}
