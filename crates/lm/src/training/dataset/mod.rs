//! Training examples from JSON Lines files.
//!
//! A file holds one JSON object a line, in one of three forms, recognised from its first readable
//! row:
//!
//! | form | fields |
//! |---|---|
//! | chat (OpenAI fine-tuning) | `messages`: `[{"role", "content"}, …]`, the last one from the assistant |
//! | alpaca | `instruction`, `input` (may be missing or empty), `output` |
//! | prompt / completion | `prompt`, `completion` |
//!
//! Every form may carry `id` and `group` (text or a number); other fields are ignored. Reading
//! never stops at the first fault: [`read_examples`] returns every example, or every fault of the
//! file with line, field, what was found and what was expected.

mod example;
mod fault;
mod form;
mod render;
mod show;

use std::path::Path;

pub use example::Example;
pub use fault::{DatasetErrors, RowError};
pub use form::Form;
pub use render::render_examples;
pub use show::show;

use fault::{Row, describe};

/// Reads every example of a JSON Lines file.
///
/// Blank lines and a byte order mark are skipped. Memory: the file and its examples.
///
/// # Errors
/// All faults of the file at once: unreadable, empty, invalid UTF-8, malformed JSON (with column),
/// missing or mistyped field, unknown role, last message not from the assistant, empty completion,
/// rows of mixed form.
pub fn read_examples(path: &Path) -> Result<Vec<Example>, DatasetErrors> {
    match std::fs::read(path) {
        Ok(bytes) => parse_examples(path, &bytes),
        Err(error) => {
            Err(DatasetErrors::file(path, "file", error.to_string(), "a readable JSON Lines file"))
        }
    }
}

/// [`read_examples`] over bytes already in memory; `path` only names the source in errors.
///
/// # Errors
/// As [`read_examples`].
pub fn parse_examples(path: &Path, bytes: &[u8]) -> Result<Vec<Example>, DatasetErrors> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut errors = Vec::new();
    let mut examples = Vec::new();
    let mut first: Option<(Form, usize)> = None;
    for (index, raw) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if raw.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line = index + 1;
        let mut row = Row::new(path, line, &mut errors);
        let Some(object) = parse_row(raw, &mut row) else { continue };
        let Some(form) = Form::of(&object) else {
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            let found = if keys.is_empty() {
                "no fields".to_owned()
            } else {
                format!("fields {}", describe::clip(&keys.join(", ")))
            };
            row.fault("row", found, Form::EXPECTED);
            continue;
        };
        let (agreed, first_line) = *first.get_or_insert((form, line));
        if form != agreed {
            row.fault(
                "row",
                format!("the {form} form"),
                format!("the {agreed} form, as in line {first_line}"),
            );
            continue;
        }
        examples.extend(form.example(&object, &mut row));
    }
    if errors.is_empty() && examples.is_empty() {
        return Err(DatasetErrors::file(
            path,
            "file",
            "no rows".to_owned(),
            "at least one JSON object",
        ));
    }
    if errors.is_empty() { Ok(examples) } else { Err(DatasetErrors { errors }) }
}

/// Decodes one line as a JSON object, or reports why it is none.
fn parse_row(raw: &[u8], row: &mut Row<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(error) => {
            let column = error.valid_up_to() + 1;
            let byte = raw.get(error.valid_up_to()).copied().unwrap_or_default();
            row.fault_at(column, "row", format!("invalid UTF-8 (byte 0x{byte:02x})"), "UTF-8 text");
            return None;
        }
    };
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(object)) => Some(object),
        Ok(other) => {
            row.fault("row", describe::value(&other), "one JSON object on each line");
            None
        }
        Err(error) => {
            row.fault_at(
                error.column(),
                "row",
                format!("malformed JSON ({})", describe::cause(&error)),
                "one JSON object on each line",
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::language::Role;

    fn parse(text: &str) -> Result<Vec<Example>, DatasetErrors> {
        parse_examples(Path::new("pairs.jsonl"), text.as_bytes())
    }

    fn faults(text: &str) -> Vec<String> {
        parse(text).unwrap_err().errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_chat_rows_with_id_and_group() {
        let text = concat!(
            "\u{feff}{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"},",
            "{\"role\":\"assistant\",\"content\":\"Hello\"}],\"id\":7,\"group\":\"a\"}\r\n\n",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"Bye\"},{\"role\":\"assistant\",\"content\":\"Ciao\"}]}\n"
        );
        let examples = parse(text).unwrap();
        assert_eq!(examples.len(), 2);
        assert_eq!(examples[0].messages.len(), 3);
        assert_eq!(examples[0].messages[0].role, Role::System);
        assert_eq!(examples[0].id.as_deref(), Some("7"));
        assert_eq!(examples[0].group.as_deref(), Some("a"));
        assert_eq!(examples[1].line, 3);
        assert_eq!(examples[1].messages[1].content, "Ciao");
    }

    #[test]
    fn reads_alpaca_and_prompt_completion() {
        let examples = parse(concat!(
            "{\"instruction\":\"Translate\",\"input\":\"chat\",\"output\":\"cat\"}\n",
            "{\"instruction\":\"Say hi\",\"input\":\"\",\"output\":\"hi\"}\n",
            "{\"instruction\":\"Say ho\",\"output\":\"ho\"}\n"
        ))
        .unwrap();
        assert_eq!(examples[0].messages[0].content, "Translate\n\nchat");
        assert_eq!(examples[1].messages[0].content, "Say hi");
        assert_eq!(examples[2].messages[1].content, "ho");
        let examples = parse("{\"prompt\":\"1+1=\",\"completion\":\"2\"}").unwrap();
        assert_eq!(examples[0].messages[0].role, Role::User);
        assert_eq!(examples[0].messages[1].role, Role::Assistant);
    }

    #[test]
    fn reports_every_fault_with_its_place() {
        let text = concat!(
            "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}\n",
            "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}\n",
            "{\"messages\":[{\"role\":\"bot\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"  \"}]}\n",
            "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"user\",\"content\":3}]}\n",
            "{\"messages\":[]}\n",
            "{\"messages\":\"hello\"}\n",
            "{\"prompt\":\"p\",\"completion\":\"c\"}\n",
            "{\"text\":\"p\"}\n",
            "[1,2]\n",
        );
        assert_eq!(
            faults(text),
            [
                "pairs.jsonl:2:42: row: found malformed JSON (EOF while parsing a list), expected one JSON object on each line",
                "pairs.jsonl:3: messages[0].role: found \"bot\", expected one of system, user, assistant",
                "pairs.jsonl:3: messages[1].content: found \"  \", expected a completion that is not empty",
                "pairs.jsonl:4: messages[1].content: found the number 3, expected text",
                "pairs.jsonl:4: messages[1].role: found \"user\", expected assistant, as the last message is what is learnt",
                "pairs.jsonl:5: messages: found an empty array, expected at least one user message and the assistant's answer",
                "pairs.jsonl:6: messages: found \"hello\", expected an array of {role, content}",
                "pairs.jsonl:7: row: found the prompt/completion form, expected the chat form, as in line 1",
                "pairs.jsonl:8: row: found fields text, expected messages, or instruction and output, or prompt and completion",
                "pairs.jsonl:9: row: found an array of 2, expected one JSON object on each line",
            ]
        );
    }

    #[test]
    fn reports_missing_and_mistyped_fields_of_the_short_forms() {
        assert_eq!(
            faults("{\"instruction\":\"i\",\"input\":1}\n{\"instruction\":\"\",\"output\":\"\"}"),
            [
                "pairs.jsonl:1: input: found the number 1, expected text",
                "pairs.jsonl:1: output: found nothing, expected text",
                "pairs.jsonl:2: instruction: found \"\", expected an instruction that is not empty",
                "pairs.jsonl:2: output: found \"\", expected a completion that is not empty",
            ]
        );
        assert_eq!(
            faults("{\"prompt\":null,\"completion\":\"c\",\"id\":[]}"),
            [
                "pairs.jsonl:1: prompt: found null, expected text",
                "pairs.jsonl:1: id: found an empty array, expected text or a number",
            ]
        );
    }

    #[test]
    fn reports_invalid_utf8_with_its_column_and_empty_or_missing_files() {
        let error = parse_examples(Path::new("x.jsonl"), b"{\"prompt\":\"\xff\"}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.jsonl:1:12: row: found invalid UTF-8 (byte 0xff), expected UTF-8 text"
        );
        assert_eq!(
            faults(" \n\n"),
            ["pairs.jsonl: file: found no rows, expected at least one JSON object"]
        );
        let error = read_examples(Path::new("does/not/exist.jsonl")).unwrap_err();
        assert!(error.to_string().starts_with("does/not/exist.jsonl: file: found "), "{error}");
    }

    #[test]
    fn a_system_message_stands_first_or_nowhere() {
        assert_eq!(
            faults(concat!(
                "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"system\",\"content\":\"s\"},",
                "{\"role\":\"assistant\",\"content\":\"a\"}]}"
            )),
            [
                "pairs.jsonl:1: messages[1].role: found \"system\" after other messages, expected it first"
            ]
        );
    }
}
