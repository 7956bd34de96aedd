//! Emails: who wrote to whom and when, what the message says, and the files that came with it.

use std::path::Path;

use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::error::Fault;
use crate::web::html;
use crate::writer::Writer;
use crate::{Document, Error, Format, MAX_TEXT};

/// Messages inside messages are read down to this depth; their attachments at that depth are not.
const MAX_DEPTH: usize = 3;
/// At most this many attachments of one message are read.
const MAX_ATTACHMENTS: usize = 256;

/// Reads the bytes of an attachment as a document: its name, its bytes, and its depth.
pub(crate) type ReadAttachment = fn(&Path, &[u8], usize) -> Result<Document, Error>;

/// Reads a message with its attachments, itself an attachment of `depth` others. An attachment that
/// cannot be read is named in the receipt.
pub(crate) fn read(
    bytes: &[u8],
    depth: usize,
    read_attachment: ReadAttachment,
) -> Result<Document, Error> {
    let message = MessageParser::default().parse(bytes);
    let message = message.ok_or_else(|| Error::Parser {
        format: Format::Email,
        source: Fault::NoHeaderLine.into(),
    })?;
    let mut mail = Mail { writer: Writer::default(), warnings: Vec::new(), depth, read_attachment };
    mail.message(&message)?;
    mail.writer.set_title(message.subject().unwrap_or_default());
    let mut document = mail.writer.finish(Format::Email)?;
    document.receipt.warnings = mail.warnings;
    Ok(document)
}

/// Lines among which the header of a message must show itself.
const MAX_HEADER_LINES: usize = 200;

/// Whether text begins as a message does: with header lines, among them who sent it and one that
/// only messages have.
pub(crate) fn begins_like_one(text: &str) -> bool {
    const TELLING: [&str; 6] =
        ["date", "received", "message-id", "mime-version", "return-path", "delivered-to"];
    let (mut from, mut telling, mut lines) = (false, false, 0);
    for line in text.trim_start_matches('\u{feff}').lines().take(MAX_HEADER_LINES) {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) && lines > 0 {
            continue;
        }
        let Some((name, _)) = line.split_once(':') else { return false };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return false;
        }
        lines += 1;
        let name = name.to_ascii_lowercase();
        from |= name == "from";
        telling |= TELLING.contains(&name.as_str());
    }
    from && telling
}

struct Mail {
    writer: Writer,
    warnings: Vec<String>,
    /// How many messages this one is an attachment of.
    depth: usize,
    read_attachment: ReadAttachment,
}

impl Mail {
    fn message(&mut self, message: &Message<'_>) -> Result<(), Error> {
        self.header(message);
        for part in 0..message.text_body_count() {
            match message.text_part(part as u32).map(|part| &part.body) {
                // A message of HTML alone is its own text part.
                Some(PartType::Html(page)) => self.page(page)?,
                Some(PartType::Text(text)) => self.paragraphs(text),
                _ => {}
            }
        }
        for (at, part) in message.attachments().enumerate() {
            if at == MAX_ATTACHMENTS {
                self.warnings
                    .push(format!("only the first {MAX_ATTACHMENTS} attachments were read"));
                break;
            }
            self.attachment(part)?;
        }
        Ok(())
    }

    fn header(&mut self, message: &Message<'_>) {
        let date = message.date().map(|date| date.to_rfc822());
        let lines = [
            ("From", message.from().map(people)),
            ("To", message.to().map(people)),
            ("Cc", message.cc().map(people)),
            ("Date", date),
            ("Subject", message.subject().map(str::to_owned)),
        ];
        for (name, value) in lines {
            if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
                self.writer.text(&format!("{name}: {value}"));
                self.writer.line_break();
            }
        }
        self.writer.end_paragraph();
    }

    fn page(&mut self, page: &str) -> Result<(), Error> {
        let writer = std::mem::take(&mut self.writer);
        self.writer = html::read_into(writer, page)?;
        self.writer.close_all();
        self.check_size()
    }

    /// Writes text between blank lines as paragraphs, its lines kept.
    fn paragraphs(&mut self, text: &str) {
        for line in text.lines() {
            if line.trim().is_empty() {
                self.writer.end_paragraph();
            } else {
                self.writer.text(line);
                self.writer.line_break();
            }
        }
        self.writer.end_paragraph();
    }

    fn attachment(&mut self, part: &MessagePart<'_>) -> Result<(), Error> {
        let name = part.attachment_name().unwrap_or("without a name").to_owned();
        if self.depth == MAX_DEPTH {
            self.warnings.push(format!(
                "attachment {name}: it lies {MAX_DEPTH} messages deep, and was not read"
            ));
            return Ok(());
        }
        match (self.read_attachment)(Path::new(&name), part.contents(), self.depth + 1) {
            Ok(document) => {
                self.writer.start_heading(2);
                self.writer.text(&format!("Attachment: {name}"));
                self.writer.end_heading();
                let warnings = document
                    .receipt
                    .warnings
                    .iter()
                    .map(|warning| format!("attachment {name}: {warning}"));
                self.warnings.extend(warnings);
                self.writer.append(document);
                self.check_size()
            }
            Err(error) => {
                self.warnings.push(format!("attachment {name}: {error}"));
                Ok(())
            }
        }
    }

    fn check_size(&self) -> Result<(), Error> {
        let bytes = self.writer.len();
        if bytes > MAX_TEXT {
            Err(Error::TooLarge { bytes: bytes as u64, limit: MAX_TEXT as u64 })
        } else {
            Ok(())
        }
    }
}

fn people(address: &Address<'_>) -> String {
    let people = address.iter().filter_map(|person| match (person.name(), person.address()) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (name, address) => name.or(address).map(str::to_owned),
    });
    people.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTIPART: &str = "From: Ann <ann@example.org>\nTo: b@example.org, Cee <c@example.org>\nDate: Tue, 3 Mar 2026 10:00:00 +0100\n\
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\
        Content-Type: multipart/alternative; boundary=y\n\n--y\nContent-Type: text/plain; charset=iso-8859-1\n\
        Content-Transfer-Encoding: quoted-printable\n\nSch=F6n.\nNext line.\n\nNext part.\n--y\nContent-Type: text/html\n\n\
        <p>Twice said</p>\n--y--\n--x\nContent-Type: text/csv; name=a.csv\nContent-Disposition: attachment; filename=a.csv\n\n\
        name,kg\nwood,0.6\n--x\nContent-Type: image/png; name=p.png\nContent-Disposition: attachment; filename=p.png\n\
        Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--x--\n";

    #[test]
    fn a_message_with_its_attachments() {
        let document = read(MULTIPART.as_bytes(), 0, crate::read_nested).unwrap();
        assert_eq!(document.title.as_deref(), Some("Grüße"));
        assert_eq!(
            document.text,
            "From: Ann <ann@example.org>\nTo: b@example.org, Cee <c@example.org>\nDate: Tue, 3 Mar 2026 10:00:00 +0100\n\
             Subject: Grüße\n\nSchön.\nNext line.\n\nNext part.\n\n## Attachment: a.csv\n\nname: wood\nkg: 0.6"
        );
        assert_eq!(document.blocks.last().unwrap().heading_path, ["Attachment: a.csv"]);
        assert_eq!(
            document.receipt.warnings,
            ["attachment p.png: is a picture (png), which is not read"]
        );
    }

    #[test]
    fn a_page_alone_is_read_as_a_page() {
        let mail = "From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/html\n\n<h1>Head</h1><p>Text<script>no</script>";
        let document = read(mail.as_bytes(), 0, crate::read_nested).unwrap();
        assert_eq!(document.text, "From: a@example.org\n\n# Head\n\nText");
    }

    #[test]
    fn messages_in_messages_end_somewhere() {
        let mut mail =
            "From: a@example.org\nDate: Tue, 3 Mar 2026 10:00:00 +0100\n\nthe innermost".to_owned();
        for _ in 0..8 {
            mail = format!(
                "From: a@example.org\nMIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Disposition: attachment\n\n{mail}"
            );
        }
        let document = read(mail.as_bytes(), 0, crate::read_nested).unwrap();
        assert!(!document.text.contains("the innermost"));
        assert!(
            document.receipt.warnings[0].ends_with("messages deep, and was not read"),
            "{:?}",
            document.receipt
        );
    }

    #[test]
    fn what_begins_like_a_message() {
        assert!(begins_like_one(MULTIPART));
        assert!(!begins_like_one("From: here\nto there.\n"));
        assert!(!begins_like_one("Note: x\nFrom: y\n\nDate: z"));
    }
}
