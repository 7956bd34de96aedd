//! The OpenAI chat-completions request, read strictly where a silent default would change the
//! answer.

use crate::{
    chat::{ChatRequest, Turn, TurnRole},
    error::ApiError,
};
use serde::Deserialize;
use serde_json::Value;

/// `POST /v1/chat/completions` as it arrives. Fields that do not change the text (`user`,
/// `metadata`, `store`, …) are accepted and ignored; those that would and that we do not have are
/// refused by [`CompletionRequest::check`].
#[derive(Debug, Deserialize)]
pub(crate) struct CompletionRequest {
    model: String,
    messages: Vec<IncomingMessage>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    n: Option<i64>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Value>,
    functions: Option<Value>,
    response_format: Option<Value>,
    logprobs: Option<bool>,
    logit_bias: Option<Value>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct IncomingMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// How the answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Streamed { usage: bool },
}

impl CompletionRequest {
    /// Checks every field and resolves defaults once.
    pub(crate) fn check(self) -> Result<(ChatRequest, Delivery), ApiError> {
        self.refuse_what_we_lack()?;
        let delivery = if self.stream.unwrap_or(false) {
            Delivery::Streamed { usage: self.stream_options.unwrap_or_default().include_usage }
        } else {
            Delivery::Whole
        };
        let max_tokens = match (self.max_completion_tokens, self.max_tokens) {
            (Some(n), _) => Some(positive("max_completion_tokens", n)?),
            (None, Some(n)) => Some(positive("max_tokens", n)?),
            (None, None) => None,
        };
        let request = ChatRequest {
            model: self.model,
            turns: turns(self.messages)?,
            max_tokens,
            // The arms were measured with greedy decoding, so that is what is served unless the
            // client asks otherwise.
            temperature: in_range("temperature", self.temperature.unwrap_or(0.0), 0.0, 2.0)?,
            top_p: in_range("top_p", self.top_p.unwrap_or(1.0), f32::MIN_POSITIVE, 1.0)?,
            seed: self.seed.unwrap_or(0).cast_unsigned(),
            stop: stop_strings(self.stop)?,
        };
        Ok((request, delivery))
    }

    fn refuse_what_we_lack(&self) -> Result<(), ApiError> {
        if let Some(n) = self.n.filter(|&n| n != 1) {
            return Err(ApiError::invalid(
                "n",
                format!("found {n}; only 1 answer a request is supported"),
            ));
        }
        let given = |value: &Option<Value>| {
            value.as_ref().is_some_and(|v| match v {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => {
                    fields.get("type") != Some(&Value::from("text")) && !fields.is_empty()
                }
                _ => true,
            })
        };
        for (field, present) in [
            ("tools", given(&self.tools)),
            ("functions", given(&self.functions)),
            ("response_format", given(&self.response_format)),
            ("logit_bias", given(&self.logit_bias)),
            ("logprobs", self.logprobs == Some(true)),
            ("presence_penalty", self.presence_penalty.is_some_and(|p| p != 0.0)),
            ("frequency_penalty", self.frequency_penalty.is_some_and(|p| p != 0.0)),
        ] {
            if present {
                return Err(ApiError::invalid(field, format!("`{field}` is not supported")));
            }
        }
        Ok(())
    }
}

fn turns(messages: Vec<IncomingMessage>) -> Result<Vec<Turn>, ApiError> {
    let turns = messages
        .into_iter()
        .enumerate()
        .map(|(i, message)| {
            let role = match message.role.as_str() {
                "system" | "developer" => TurnRole::System,
                "user" => TurnRole::User,
                "assistant" => TurnRole::Assistant,
                other => {
                    return Err(ApiError::invalid(
                        format!("messages[{i}].role"),
                        format!("found `{other}`; expected system, developer, user or assistant"),
                    ));
                }
            };
            Ok(Turn { role, content: text(i, message.content)? })
        })
        .collect::<Result<Vec<_>, _>>()?;
    match turns.last() {
        None => {
            Err(ApiError::invalid("messages", "found an empty list; expected at least one message"))
        }
        Some(last) if last.role != TurnRole::User => {
            Err(ApiError::invalid("messages", "the last message must be the user's"))
        }
        Some(_) => Ok(turns),
    }
}

fn text(i: usize, content: Option<Content>) -> Result<String, ApiError> {
    match content {
        Some(Content::Text(text)) => Ok(text),
        Some(Content::Parts(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(j, part)| match (part.kind.as_str(), part.text) {
                ("text", Some(text)) => Ok(text),
                (kind, _) => Err(ApiError::invalid(
                    format!("messages[{i}].content[{j}]"),
                    format!("found a part of type `{kind}`; only text parts are supported"),
                )),
            })
            .collect(),
        None => Err(ApiError::invalid(format!("messages[{i}].content"), "missing; expected text")),
    }
}

/// OpenAI's own limit.
const MAX_STOP_STRINGS: usize = 4;

fn stop_strings(stop: Option<OneOrMany>) -> Result<Vec<String>, ApiError> {
    let stop = match stop {
        None => vec![],
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    };
    if stop.len() > MAX_STOP_STRINGS || stop.iter().any(String::is_empty) {
        return Err(ApiError::invalid(
            "stop",
            format!("expected at most {MAX_STOP_STRINGS} strings, none of them empty"),
        ));
    }
    Ok(stop)
}

fn positive(field: &str, n: i64) -> Result<usize, ApiError> {
    usize::try_from(n)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| ApiError::invalid(field, format!("found {n}; expected at least 1")))
}

fn in_range(field: &str, value: f32, low: f32, high: f32) -> Result<f32, ApiError> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    let low = if low == f32::MIN_POSITIVE { "above 0".into() } else { format!("at least {low}") };
    Err(ApiError::invalid(field, format!("found {value}; expected {low} and at most {high}")))
}
