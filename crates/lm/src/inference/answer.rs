//! The text of an answer as it grows, and why it ended.

use crate::TextStream;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The receiver of the text broke off.
    Cancelled,
}

impl FinishReason {
    /// The name that APIs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Text of an answer as it grows, held back where it may become a stop string.
pub(super) struct AnswerText<'a> {
    stream: TextStream<'a>,
    stop: Vec<String>,
    text: String,
    /// Bytes of `text` that are certain.
    certain: usize,
    /// Bytes of `text` handed out.
    sent: usize,
    /// Whether a stop string has come.
    stopped: bool,
}

impl<'a> AnswerText<'a> {
    pub(super) fn new(stream: TextStream<'a>, stop: &[String]) -> Self {
        let stop = stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stream, stop, text: String::new(), certain: 0, sent: 0, stopped: false }
    }

    /// Takes a token; tells the reason when the answer ends with it.
    pub(super) fn push(&mut self, id: u32) -> Option<FinishReason> {
        let piece = self.stream.push(id);
        self.append(&piece)
    }

    pub(super) fn append(&mut self, piece: &str) -> Option<FinishReason> {
        self.text.push_str(piece);
        // What is certain is known to begin no stop string, so only the rest can hold one.
        let rest = &self.text[self.certain..];
        if let Some(at) = self.stop.iter().filter_map(|stop| rest.find(stop.as_str())).min() {
            self.text.truncate(self.certain + at);
            self.certain = self.text.len();
            self.stopped = true;
            return Some(FinishReason::Stop);
        }
        let held = rest.char_indices().map(|(at, _)| &rest[at..]);
        let held = held
            .filter(|tail| self.stop.iter().any(|stop| stop.starts_with(tail)))
            .map(str::len)
            .max();
        self.certain = self.text.len() - held.unwrap_or(0);
        None
    }

    /// The text that has become certain since the last call.
    pub(super) fn take(&mut self) -> &str {
        let new = &self.text[self.sent..self.certain];
        self.sent = self.certain;
        new
    }

    /// Makes all that was held back certain, for nothing comes any more.
    pub(super) fn end(&mut self) {
        if !self.stopped {
            let rest = self.stream.finish();
            self.append(&rest);
            self.certain = self.text.len();
        }
    }

    /// The text that was handed out.
    pub(super) fn into_sent(mut self) -> String {
        self.text.truncate(self.sent);
        self.text
    }
}
