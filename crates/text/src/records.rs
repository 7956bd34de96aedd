//! CSV and JSON: every row or object becomes a block of its own that names its fields.
//!
//! A row that says `Country: Chile` can be embedded, found and read without its header, so rows
//! need no header repeated when they are cut apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Block, BlockKind, Document, Error, Format, MAX_TEXT, Receipt};

/// Reads delimited rows. The delimiter is the one of `, ; tab |` that cuts the first lines most
/// evenly; the first row names the columns unless it looks like data.
pub(crate) fn read_csv(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut writer = Writer::new(Format::Csv);
    let mut columns: Option<Vec<String>> = None;
    let mut last = (1, 1);
    for record in reader.records() {
        let record = record.map_err(|error| Error::Malformed {
            format: Format::Csv,
            line: error.position().map_or(0, |p| p.line() as usize),
            field: None,
            message: error.to_string(),
        })?;
        let line = record.position().map_or(0, |p| p.line() as usize);
        let lines = record.iter().map(|cell| cell.matches('\n').count()).sum::<usize>();
        last = (line, lines);
        let Some(names) = &columns else {
            let names: Vec<String> = record.iter().map(fold).collect();
            if is_header(&names) {
                columns = Some(names);
            } else {
                columns = Some(Vec::new());
                writer.row(
                    record.iter().enumerate().map(|(at, cell)| (column_name(&[], at), fold(cell))),
                )?;
            }
            continue;
        };
        writer.row(
            record.iter().enumerate().map(|(at, cell)| (column_name(names, at), fold(cell))),
        )?;
    }
    // A quote that is never closed swallows the rest of the file into one cell.
    if last.1 > 0 && text.matches('"').count() % 2 == 1 {
        let message = "a quote is opened and never closed".to_string();
        return Err(Error::Malformed { format: Format::Csv, line: last.0, field: None, message });
    }
    // A file of nothing but a header still has words in it.
    if writer.blocks.is_empty()
        && let Some(names) = columns
    {
        writer.row(std::iter::once(("columns".to_string(), names.join(", "))))?;
    }
    writer.finish()
}

/// Reads one JSON value a line; nested keys are joined with dots.
pub(crate) fn read_jsonl(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut writer = Writer::new(Format::Jsonl);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Json = serde_json::from_str(line).map_err(|error| Error::Malformed {
            format: Format::Jsonl,
            line: number + 1,
            field: None,
            message: format!("one JSON value a line was expected: {error}"),
        })?;
        let mut fields = Vec::new();
        flatten("", value, &mut fields);
        writer.row(fields)?;
    }
    writer.finish()
}

/// Reads one JSON value: the objects of a list are rows, wherever in the value the list stands;
/// keys around it are its heading.
pub(crate) fn read_json(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Json = serde_json::from_str(text).map_err(|error| Error::Malformed {
        format: Format::Json,
        line: error.line(),
        field: None,
        message: format!("a JSON value was expected: {error}"),
    })?;
    let mut writer = Writer::new(Format::Json);
    write_value(&mut writer, &mut Vec::new(), value)?;
    writer.finish()
}

fn write_value(writer: &mut Writer, path: &mut Vec<String>, value: Json) -> Result<(), Error> {
    match value {
        Json::List(items) if items.iter().any(|item| matches!(item, Json::Object(_))) => {
            items.into_iter().try_for_each(|item| {
                let mut fields = Vec::new();
                flatten("", item, &mut fields);
                writer.row_under(path, fields)
            })
        }
        Json::Object(entries) => {
            let (rows, fields): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|(_, value)| holds_rows(value));
            let mut flat = Vec::new();
            fields.into_iter().for_each(|(name, value)| flatten(&name, value, &mut flat));
            writer.row_under(path, flat)?;
            for (name, value) in rows {
                path.push(name);
                write_value(writer, path, value)?;
                path.pop();
            }
            Ok(())
        }
        value => {
            let mut fields = Vec::new();
            flatten("", value, &mut fields);
            writer.row_under(path, fields)
        }
    }
}

/// Whether a list of objects stands in a value, at any depth.
fn holds_rows(value: &Json) -> bool {
    match value {
        Json::Scalar(_) => false,
        Json::List(items) => items.iter().any(|item| matches!(item, Json::Object(_))),
        Json::Object(entries) => entries.iter().any(|(_, value)| holds_rows(value)),
    }
}

/// A JSON value whose keys keep the order of the file, which is the order a reader expects.
enum Json {
    Scalar(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Scalar(String::new()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Scalar(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Scalar(value.trim().replace("\r\n", "\n").replace("\n\n", "\n")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    object.push(entry);
                }
                Ok(Json::Object(object))
            }
        }
        deserializer.deserialize_any(Values)
    }
}

/// Depth is bounded by the JSON parser's own limit of 128.
fn flatten(key: &str, value: Json, fields: &mut Vec<(String, String)>) {
    let joined =
        |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
    match value {
        Json::Scalar(text) => fields.push((key.to_string(), text)),
        Json::Object(entries) => {
            entries.into_iter().for_each(|(name, value)| flatten(&joined(&name), value, fields));
        }
        Json::List(items) if items.iter().all(|item| matches!(item, Json::Scalar(_))) => {
            let texts = items
                .into_iter()
                .map(|item| if let Json::Scalar(text) = item { text } else { String::new() });
            fields.push((key.to_string(), texts.collect::<Vec<_>>().join(", ")));
        }
        Json::List(items) => {
            for (at, item) in items.into_iter().enumerate() {
                flatten(&joined(&(at + 1).to_string()), item, fields);
            }
        }
    }
}

struct Writer {
    format: Format,
    text: String,
    blocks: Vec<Block>,
}

impl Writer {
    fn new(format: Format) -> Self {
        Writer { format, text: String::new(), blocks: Vec::new() }
    }

    /// Writes a row, one line a field; empty fields are left out, and rows of nothing else too.
    fn row(&mut self, fields: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        self.row_under(&[], fields)
    }

    fn row_under(
        &mut self,
        path: &[String],
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Error> {
        let start = self.text.len();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            if !name.is_empty() {
                self.text.push_str(&name);
                self.text.push_str(": ");
            }
            self.text.push_str(&value);
            self.text.push('\n');
        }
        let span = crate::blocks::trimmed(&self.text, start..self.text.len());
        if !span.is_empty() {
            self.blocks.push(Block { span, kind: BlockKind::Row, heading_path: path.to_vec() });
            self.text.push('\n');
        }
        if self.text.len() > MAX_TEXT {
            return Err(Error::TooLarge { bytes: self.text.len() as u64, limit: MAX_TEXT as u64 });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Document, Error> {
        if self.blocks.is_empty() {
            return Err(Error::Empty);
        }
        self.text.truncate(self.text.trim_end().len());
        Ok(Document {
            format: self.format,
            title: None,
            language: None,
            text: self.text,
            blocks: self.blocks,
            pages: Vec::new(),
            receipt: Receipt::default(),
        })
    }
}

/// White space, line breaks included, folded to single spaces.
fn fold(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn column_name(names: &[String], at: usize) -> String {
    match names.get(at) {
        Some(name) if !name.is_empty() => name.clone(),
        _ => format!("column {}", at + 1),
    }
}

/// A header has no empty and no repeated name, and no cell that is a number.
fn is_header(names: &[String]) -> bool {
    let filled: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
    let distinct: std::collections::HashSet<_> = filled.iter().collect();
    !filled.is_empty()
        && distinct.len() == filled.len()
        && filled.len() * 2 > names.len()
        && filled.iter().all(|name| name.parse::<f64>().is_err())
}

fn delimiter(text: &str) -> u8 {
    let score = |mark: u8| {
        let counts: Vec<usize> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(20)
            .map(|line| line.bytes().filter(|&b| b == mark).count())
            .collect();
        let first = counts.first().copied().unwrap_or(0);
        let even = counts.iter().filter(|&&count| count == first && count > 0).count();
        (even, first)
    };
    let best = *b",;\t|".iter().rev().max_by_key(|&&mark| score(mark)).unwrap_or(&b',');
    if score(best).1 == 0 { b',' } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_their_fields() {
        let document = read_csv("name;town\nAnn;\"Bonn; am\nRhein\"\n;\nBob;Köln;extra\n").unwrap();
        assert_eq!(
            document.text,
            "name: Ann\ntown: Bonn; am Rhein\n\nname: Bob\ntown: Köln\ncolumn 3: extra"
        );
        assert_eq!(document.blocks.len(), 2);
    }

    #[test]
    fn a_first_row_of_numbers_is_data() {
        assert_eq!(
            read_csv("1,2\n3,4\n").unwrap().text,
            "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4"
        );
    }

    #[test]
    fn an_open_quote_is_named_with_its_line() {
        let error = read_csv("a,b\n1,2\n3,\"four\n5,6\n7,8\n").unwrap_err();
        assert!(matches!(error, Error::Malformed { line: 3, .. }), "{error}");
    }

    #[test]
    fn json_lines_are_flattened() {
        let document =
            read_jsonl("{\"id\":7,\"a\":{\"b\":\"x\",\"c\":[1,\"y\"]},\"n\":null}\n\n\"bare\"\n")
                .unwrap();
        assert_eq!(document.text, "id: 7\na.b: x\na.c: 1, y\n\nbare");
    }

    #[test]
    fn objects_in_lists_are_rows() {
        let of = |text: &str| read_json(text).unwrap();
        assert_eq!(of("[{\"a\":1},{\"a\":{\"b\":2}}]").text, "a: 1\n\na.b: 2");
        let nested =
            of("{\"name\":\"pond\",\"size\":[3,4],\"life\":{\"ducks\":[{\"kg\":1},{\"kg\":2}]}}");
        assert_eq!(nested.text, "name: pond\nsize: 3, 4\n\nkg: 1\n\nkg: 2");
        assert_eq!(nested.blocks[2].heading_path, ["life", "ducks"]);
        assert_eq!(of("\"alone\"").text, "alone");
        assert!(matches!(read_json("{\n\"a\":}").unwrap_err(), Error::Malformed { line: 2, .. }));
        assert!(matches!(read_json("[]"), Err(Error::Empty)));
        assert!(read_json(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read_jsonl("{\"a\":1}\n{\"a\":}\n").unwrap_err();
        assert!(matches!(error, Error::Malformed { line: 2, .. }), "{error}");
        let deep = "[".repeat(100_000);
        assert!(read_jsonl(&deep).is_err());
    }
}
