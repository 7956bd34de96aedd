//! The handlers. Each signature shows what it needs.

use crate::{
    chat::{Caller, ChatError},
    error::ApiError,
    openai::{CompletionRequest, Delivery},
    reply::{Envelope, finish_reason, usage},
    stream,
    worker::{Event, Refusal, Worker},
};
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
    response::{IntoResponse, Response, Sse, sse::KeepAlive},
};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Anybody may ask this, so it tells nothing about the project where keys are needed.
pub(crate) async fn health(State(worker): State<Worker>) -> Json<Value> {
    Json(match worker.caller(None) {
        Some(anybody) => json!({"status": "ok", "models": worker.models(&anybody).len()}),
        None => json!({"status": "ok"}),
    })
}

pub(crate) async fn list_models(
    State(worker): State<Worker>,
    Extension(caller): Extension<Caller>,
) -> Json<Value> {
    let cards: Vec<_> =
        worker.models(&caller).iter().map(|m| card(&m.id, &m.description)).collect();
    Json(json!({"object": "list", "data": cards}))
}

pub(crate) async fn show_model(
    State(worker): State<Worker>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let models = worker.models(&caller);
    match models.iter().find(|m| m.id == id) {
        Some(model) => Ok(Json(card(&model.id, &model.description))),
        None => {
            Err(ApiError::unknown_model(&id, &models.into_iter().map(|m| m.id).collect::<Vec<_>>()))
        }
    }
}

fn card(id: &str, description: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "tunesmith", "description": description})
}

pub(crate) async fn chat_completions(
    State(worker): State<Worker>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<CompletionRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let Json(body) = body?;
    let (request, delivery) = body.check()?;
    let known: Vec<_> = worker.models(&caller).into_iter().map(|m| m.id).collect();
    if !known.contains(&request.model) {
        return Err(ApiError::unknown_model(&request.model, &known));
    }
    let envelope =
        Envelope { id: completion_id(), created: unix_seconds(), model: request.model.clone() };
    let events = worker.submit(caller, request)?;
    Ok(match delivery {
        Delivery::Whole => whole(events, envelope).await?.into_response(),
        Delivery::Streamed { usage } => Sse::new(stream::chunks(events, envelope, usage))
            .keep_alive(KeepAlive::default())
            .into_response(),
    })
}

async fn whole(
    mut events: mpsc::Receiver<Event>,
    envelope: Envelope,
) -> Result<Json<Value>, ApiError> {
    while let Some(event) = events.recv().await {
        let Event::Done(reply) = event else { continue };
        let reply = reply?;
        return Ok(Json(json!({
            "id": envelope.id, "object": "chat.completion", "created": envelope.created, "model": envelope.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": reply.text, "refusal": null},
                "finish_reason": finish_reason(reply.finish_reason),
                "logprobs": null,
            }],
            "usage": usage(&reply),
            "tunesmith": reply.details,
        })));
    }
    Err(ApiError::unanswered())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Unique within the process and, through the start time, across restarts.
fn completion_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("chatcmpl-{:x}-{:x}", unix_seconds(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::body(rejection.status(), rejection.body_text())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded => Self::overloaded(),
            Refusal::Gone => Self::internal("the generation thread has ended"),
        }
    }
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Request(message) => Self::unanswerable(message),
            ChatError::Busy(message) => Self::busy(message),
            ChatError::Internal { message, .. } => Self::internal(message),
        }
    }
}
