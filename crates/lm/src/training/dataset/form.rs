//! The three forms a row may have, each turned into messages.

use std::fmt;

use serde_json::{Map, Value};

use super::example::Example;
use super::fault::{Row, describe};
use crate::language::{Message, Role};

/// How a file writes its examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `messages` with roles, as OpenAI's fine-tuning files.
    Chat,
    /// `instruction`, `input`, `output`.
    Alpaca,
    /// `prompt`, `completion`.
    PromptCompletion,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Chat => "chat",
            Form::Alpaca => "alpaca",
            Form::PromptCompletion => "prompt/completion",
        })
    }
}

impl Form {
    pub(super) const EXPECTED: &str =
        "messages, or instruction and output, or prompt and completion";

    /// The form a row's fields point to. One telling field is enough, so that a row lacking the
    /// other gets "output: found nothing" rather than "unknown form".
    pub(super) fn of(row: &Map<String, Value>) -> Option<Form> {
        if row.contains_key("messages") {
            Some(Form::Chat)
        } else if row.contains_key("instruction") {
            Some(Form::Alpaca)
        } else if row.contains_key("prompt") || row.contains_key("completion") {
            Some(Form::PromptCompletion)
        } else {
            None
        }
    }

    /// The row as an example, or `None` after reporting every fault in it.
    pub(super) fn example(self, object: &Map<String, Value>, row: &mut Row<'_>) -> Option<Example> {
        let messages = match self {
            Form::Chat => chat(object, row),
            Form::Alpaca => alpaca(object, row),
            Form::PromptCompletion => {
                let prompt = required(object, "prompt", "a prompt that is not empty", row);
                let completion = required(object, "completion", COMPLETION, row);
                pair(prompt, completion)
            }
        };
        let id = label(object, "id", row);
        let group = label(object, "group", row);
        Some(Example { messages: messages?, id: id?, group: group?, line: row.line() })
    }
}

const COMPLETION: &str = "a completion that is not empty";

fn chat(object: &Map<String, Value>, row: &mut Row<'_>) -> Option<Vec<Message>> {
    const WANTED: &str = "at least one user message and the assistant's answer";
    let value = object.get("messages");
    let Some(items) = value.and_then(Value::as_array) else {
        row.fault("messages", describe::field(value), "an array of {role, content}");
        return None;
    };
    let Some(last) = items.len().checked_sub(1) else {
        row.fault("messages", "an empty array", WANTED);
        return None;
    };
    // Every message is looked at, so that one row reports all its faults.
    let read: Vec<Option<Message>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| message(item, index, index == last, row))
        .collect();
    let messages: Vec<Message> = read.into_iter().collect::<Option<_>>()?;
    if !messages.iter().any(|message| message.role == Role::User) {
        row.fault("messages", "no user message", WANTED);
        return None;
    }
    Some(messages)
}

fn message(item: &Value, index: usize, last: bool, row: &mut Row<'_>) -> Option<Message> {
    let place = |field: &str| format!("messages[{index}].{field}");
    let Some(fields) = item.as_object() else {
        row.fault(
            format!("messages[{index}]"),
            describe::value(item),
            "an object with role and content",
        );
        return None;
    };
    let role = match fields.get("role").and_then(Value::as_str) {
        Some("system") => Some(Role::System),
        Some("user") => Some(Role::User),
        Some("assistant") => Some(Role::Assistant),
        _ => {
            let found = describe::field(fields.get("role"));
            row.fault(place("role"), found, "one of system, user, assistant");
            None
        }
    };
    let content = fields.get("content").and_then(Value::as_str);
    match content {
        None => row.fault(place("content"), describe::field(fields.get("content")), "text"),
        Some(text) if last && text.trim().is_empty() => {
            row.fault(place("content"), format!("{:?}", describe::clip(text)), COMPLETION);
            return None;
        }
        Some(_) => {}
    }
    match role {
        Some(Role::System) if index > 0 && !last => {
            row.fault(place("role"), "\"system\" after other messages", "it first");
            return None;
        }
        Some(role) if last && role != Role::Assistant => {
            let found = describe::field(fields.get("role"));
            row.fault(place("role"), found, "assistant, as the last message is what is learnt");
            return None;
        }
        _ => {}
    }
    Some(Message { role: role?, content: content?.to_owned() })
}

fn alpaca(object: &Map<String, Value>, row: &mut Row<'_>) -> Option<Vec<Message>> {
    let instruction = required(object, "instruction", "an instruction that is not empty", row);
    let input = match object.get("input") {
        None | Some(Value::Null) => Some(""),
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => {
            row.fault("input", describe::value(other), "text");
            None
        }
    };
    let output = required(object, "output", COMPLETION, row);
    let (instruction, input) = (instruction?, input?);
    let prompt = if input.trim().is_empty() {
        instruction.to_owned()
    } else {
        format!("{instruction}\n\n{input}")
    };
    pair(Some(&prompt), output)
}

fn pair(prompt: Option<&str>, completion: Option<&str>) -> Option<Vec<Message>> {
    Some(vec![
        Message { role: Role::User, content: prompt?.to_owned() },
        Message { role: Role::Assistant, content: completion?.to_owned() },
    ])
}

/// A text field that must be there and hold more than white space.
fn required<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    expected: &str,
    row: &mut Row<'_>,
) -> Option<&'a str> {
    match object.get(name) {
        Some(Value::String(text)) if text.trim().is_empty() => {
            row.fault(name, format!("{:?}", describe::clip(text)), expected);
            None
        }
        Some(Value::String(text)) => Some(text),
        other => {
            row.fault(name, describe::field(other), "text");
            None
        }
    }
}

/// An optional `id` or `group`; the outer `None` is a fault, the inner one absence.
fn label(object: &Map<String, Value>, name: &str, row: &mut Row<'_>) -> Option<Option<String>> {
    match object.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(Value::Number(number)) => Some(Some(number.to_string())),
        Some(other) => {
            row.fault(name, describe::value(other), "text or a number");
            None
        }
    }
}
