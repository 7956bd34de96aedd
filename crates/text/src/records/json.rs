//! JSON, as one value or one value a line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::writer::Rows;
use crate::error::Fault;
use crate::{Document, Error, Format};

/// Reads one JSON value a line; nested keys are joined with dots.
pub(crate) fn read_jsonl(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut rows = Rows::new(Format::Jsonl);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Json = serde_json::from_str(line).map_err(|source| Error::Malformed {
            format: Format::Jsonl,
            line: number + 1,
            source: Fault::Json { expected: "one JSON value a line", source }.into(),
        })?;
        let mut fields = Vec::new();
        flatten("", value, &mut fields);
        rows.row(fields)?;
    }
    rows.finish()
}

/// Reads one JSON value. The objects of a list are rows, wherever in the value the list stands; the
/// keys around the list are their headings.
pub(crate) fn read_json(text: &str) -> Result<Document, Error> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Json = serde_json::from_str(text).map_err(|source| Error::Malformed {
        format: Format::Json,
        line: source.line(),
        source: Fault::Json { expected: "a JSON value", source }.into(),
    })?;
    let mut rows = Rows::new(Format::Json);
    write_value(&mut rows, &mut Vec::new(), value)?;
    rows.finish()
}

fn write_value(rows: &mut Rows, path: &mut Vec<String>, value: Json) -> Result<(), Error> {
    match value {
        Json::List(items) if items.iter().any(|item| matches!(item, Json::Object(_))) => {
            items.into_iter().try_for_each(|item| {
                let mut fields = Vec::new();
                flatten("", item, &mut fields);
                rows.row_under(path, fields)
            })
        }
        Json::Object(entries) => {
            let (lists, fields): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|(_, value)| holds_rows(value));
            let mut flat = Vec::new();
            fields.into_iter().for_each(|(name, value)| flatten(&name, value, &mut flat));
            rows.row_under(path, flat)?;
            for (name, value) in lists {
                path.push(name);
                write_value(rows, path, value)?;
                path.pop();
            }
            Ok(())
        }
        value => {
            let mut fields = Vec::new();
            flatten("", value, &mut fields);
            rows.row_under(path, fields)
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

/// Adds the fields of a value, each key joined to those around it with dots. The recursion is
/// bounded by the JSON parser's own limit of 128.
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

#[cfg(test)]
mod tests {
    use super::*;

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
