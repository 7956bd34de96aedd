//! Server-sent events: an answer as OpenAI's `chat.completion.chunk` objects.

use crate::{
    error::ApiError,
    reply::{Envelope, finish_reason, usage},
    worker::Event,
};
use axum::response::sse;
use futures_util::stream::{self, Stream};
use serde_json::json;
use std::{collections::VecDeque, convert::Infallible};
use tokio::sync::mpsc;

/// Turns worker events into the chunks a client expects: role, text…, finish, optional usage,
/// `[DONE]`.
pub(crate) fn chunks(
    events: mpsc::Receiver<Event>,
    envelope: Envelope,
    with_usage: bool,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let opening = envelope.chunk(&json!({"role": "assistant", "content": ""}), None);
    let state = Pump {
        events,
        envelope,
        with_usage,
        ready: VecDeque::from([opening.to_string()]),
        done: false,
    };
    stream::unfold(state, |mut pump| async move {
        let data = pump.next().await?;
        Some((Ok(sse::Event::default().data(data)), pump))
    })
}

/// The rest of one answer, on its way to the client.
struct Pump {
    events: mpsc::Receiver<Event>,
    envelope: Envelope,
    with_usage: bool,
    /// Chunks that are written and not yet sent.
    ready: VecDeque<String>,
    /// The last chunk is written.
    done: bool,
}

impl Pump {
    async fn next(&mut self) -> Option<String> {
        if let Some(data) = self.ready.pop_front() {
            return Some(data);
        }
        if self.done {
            return None;
        }
        match self.events.recv().await {
            Some(Event::Text(text)) => {
                Some(self.envelope.chunk(&json!({"content": text}), None).to_string())
            }
            Some(Event::Done(Ok(reply))) => {
                let mut last =
                    self.envelope.chunk(&json!({}), Some(finish_reason(reply.finish_reason)));
                last["tunesmith"] = reply.details.clone();
                self.ready.push_back(last.to_string());
                if self.with_usage {
                    let mut chunk = self.envelope.chunk(&json!({}), None);
                    chunk["choices"] = json!([]);
                    chunk["usage"] = usage(&reply);
                    self.ready.push_back(chunk.to_string());
                }
                self.finish()
            }
            Some(Event::Done(Err(error))) => {
                self.ready.push_back(ApiError::from(error).to_json().to_string());
                self.finish()
            }
            None => {
                self.ready.push_back(ApiError::unanswered().to_json().to_string());
                self.finish()
            }
        }
    }

    fn finish(&mut self) -> Option<String> {
        self.done = true;
        self.ready.push_back("[DONE]".into());
        self.ready.pop_front()
    }
}
