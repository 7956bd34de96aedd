//! The router without a socket: a scripted double stands in for the models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::{
    Caller, Chat, ChatError, ChatReply, ChatRequest, FinishReason, ServedModel, Worker, router,
};
use std::{
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tower::ServiceExt;

/// Answers with the last turn word by word, fails on `boom`, and holds every answer while `gate` is
/// closed.
#[derive(Default)]
struct Script {
    gate: Gate,
    pieces_sent: AtomicUsize,
    requests: Mutex<Vec<ChatRequest>>,
    callers: Mutex<Vec<Caller>>,
    /// Whether the secrets `first` and `second` are asked for, each of which opens the model of its
    /// name.
    keys: bool,
}

#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }
    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }
    fn pass(&self) {
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
    }
}

impl Chat for Script {
    fn needs_key(&self) -> bool {
        self.keys
    }

    fn caller(&self, secret: Option<&str>) -> Option<Caller> {
        match secret {
            _ if !self.keys => Some(Caller::default()),
            Some(known @ ("first" | "second")) => Some(Caller { key: Some(known.into()) }),
            _ => None,
        }
    }

    fn models(&self, caller: &Caller) -> Vec<ServedModel> {
        let id = caller.key.clone().unwrap_or("facts".into());
        vec![ServedModel { description: format!("{id}: rag"), id }]
    }

    fn answer(
        &self,
        caller: &Caller,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatReply, ChatError> {
        self.requests.lock().unwrap().push(request.clone());
        self.callers.lock().unwrap().push(caller.clone());
        self.gate.pass();
        let said = &request.turns.last().unwrap().content;
        // Reading a long prompt: no text yet.
        if said == "think" {
            while on_text("").is_continue() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            return Err(ChatError::Request("the client has left".into()));
        }
        if said == "busy" {
            return Err(ChatError::Busy("too many".into()));
        }
        if said == "boom" {
            return Err(ChatError::Request("the prompt is longer than the context".into()));
        }
        let mut text = String::new();
        for word in said.split_inclusive(' ') {
            text.push_str(word);
            self.pieces_sent.fetch_add(1, Ordering::SeqCst);
            if on_text(word).is_break() {
                break;
            }
        }
        Ok(ChatReply {
            text,
            finish_reason: FinishReason::Stop,
            prompt_tokens: 7,
            completion_tokens: 3,
            details: json!({"arm": "rag"}),
        })
    }
}

fn script() -> (Arc<Script>, Worker) {
    let script = Arc::new(Script::default());
    let worker = Worker::start(script.clone(), 1, 1).unwrap();
    (script, worker)
}

async fn call(worker: &Worker, request: Request<Body>) -> Response<Body> {
    router(worker.clone()).oneshot(request).await.unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost:1").body(Body::empty()).unwrap()
}

fn post(body: &Value) -> Request<Body> {
    Request::post("/v1/chat/completions")
        .header("host", "127.0.0.1:1")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn say(text: &str) -> Value {
    json!({"model": "facts", "messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn health_and_models_answer() {
    let (_, worker) = script();
    assert_eq!(
        json_of(call(&worker, get("/health")).await).await,
        json!({"status": "ok", "models": 1})
    );
    let models = json_of(call(&worker, get("/v1/models")).await).await;
    assert_eq!(models["data"][0]["id"], "facts");
    assert_eq!(json_of(call(&worker, get("/v1/models/facts")).await).await["object"], "model");
    let missing = call(&worker, get("/v1/models/other/one")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(missing).await["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn a_conversation_is_answered_with_usage() {
    let (script, worker) = script();
    let body = json!({"model": "facts", "temperature": 0.5, "max_completion_tokens": 9, "stop": "x", "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
    ]});
    let reply = json_of(call(&worker, post(&body)).await).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "one two");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        reply["usage"],
        json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10})
    );
    assert_eq!(reply["tunesmith"]["arm"], "rag");
    let seen = script.requests.lock().unwrap()[0].clone();
    assert_eq!(
        (seen.temperature, seen.max_tokens, seen.stop),
        (0.5, Some(9), vec!["x".to_owned()])
    );
}

#[tokio::test]
async fn a_stream_has_role_text_finish_usage_and_done() {
    let (_, worker) = script();
    let mut body = say("one two");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let response = call(&worker, post(&body)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec())
        .unwrap();
    let data: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|d| serde_json::from_str(d).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let said: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str())
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(said, "one two");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[chunks.len() - 1]["usage"]["total_tokens"], 10);
}

#[tokio::test]
async fn bad_requests_name_the_field() {
    let (_, worker) = script();
    let long_stop = json!(["a", "b", "c", "d", "e"]);
    for (field, value) in [
        ("temperature", json!(3.0)),
        ("top_p", json!(0.0)),
        ("max_tokens", json!(0)),
        ("n", json!(2)),
        ("stop", long_stop),
        ("tools", json!([{"type": "function"}])),
        ("response_format", json!({"type": "json_object"})),
        ("messages", json!([])),
    ] {
        let mut body = say("hi");
        body[field] = value;
        let response = call(&worker, post(&body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(json_of(response).await["error"]["param"], field);
    }
    let role = json!({"model": "facts", "messages": [{"role": "robot", "content": "hi"}]});
    assert_eq!(
        json_of(call(&worker, post(&role)).await).await["error"]["param"],
        "messages[0].role"
    );
    let last = json!({"model": "facts", "messages": [{"role": "assistant", "content": "hi"}]});
    assert_eq!(json_of(call(&worker, post(&last)).await).await["error"]["param"], "messages");
    let mut unknown = say("hi");
    unknown["model"] = json!("gpt");
    let unknown = json_of(call(&worker, post(&unknown)).await).await;
    assert_eq!(unknown["error"]["message"], "there is no model `gpt` here; found facts");
    let malformed = Request::post("/v1/chat/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from("{"))
        .unwrap();
    assert_eq!(call(&worker, malformed).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_failed_answer_is_an_error_whole_and_streamed() {
    let (_, worker) = script();
    let response = call(&worker, post(&say("boom"))).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let mut body = say("boom");
    body["stream"] = json!(true);
    let text = call(&worker, post(&body)).await.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(
        text.contains("longer than the context") && text.trim_end().ends_with("[DONE]"),
        "{text}"
    );
}

#[tokio::test]
async fn a_busy_model_says_when_to_come_again() {
    let (_, worker) = script();
    let response = call(&worker, post(&say("busy"))).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(json_of(response).await["error"]["code"], "overloaded");
}

#[tokio::test]
async fn every_route_but_health_needs_a_key_where_there_are_keys() {
    let script = Arc::new(Script { keys: true, ..Script::default() });
    let worker = Worker::start(script.clone(), 1, 1).unwrap();
    let with = |mut request: Request<Body>, value: &str| {
        request.headers_mut().insert("authorization", value.parse().unwrap());
        request
    };
    let routes = || {
        let mut streamed = say("hi");
        streamed["stream"] = json!(true);
        let malformed = Request::post("/v1/chat/completions").body(Body::from("{")).unwrap();
        let other = Request::delete("/v1/models").body(Body::empty()).unwrap();
        let gets =
            ["/v1/models", "/v1/models/first", "/v1/models/none", "/v1/nothing", "/"].map(get);
        gets.into_iter().chain([post(&say("hi")), post(&streamed), malformed, other])
    };
    for header in [None, Some("Bearer third"), Some("Bearer "), Some("Basic first"), Some("first")]
    {
        for request in routes() {
            let said = format!("{header:?} {} {}", request.method(), request.uri());
            let request = match header {
                Some(value) => with(request, value),
                None => request,
            };
            let response = call(&worker, request).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{said}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{said}");
            let error = &json_of(response).await["error"];
            assert_eq!(
                (&error["code"], &error["type"]),
                (&json!("invalid_api_key"), &json!("invalid_request_error"))
            );
        }
    }
    assert!(script.requests.lock().unwrap().is_empty());
    // Whether it runs is no secret; what it serves is.
    assert_eq!(json_of(call(&worker, get("/health")).await).await, json!({"status": "ok"}));

    let listed = json_of(call(&worker, with(get("/v1/models"), "Bearer first")).await).await;
    assert_eq!(
        (&listed["data"][0]["id"], listed["data"].as_array().unwrap().len()),
        (&json!("first"), 1)
    );
    let other = call(&worker, with(get("/v1/models/second"), "Bearer first")).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    let mut body = say("hi");
    body["model"] = json!("second");
    let other = call(&worker, with(post(&body), "Bearer first")).await;
    assert_eq!(
        json_of(other).await["error"]["message"],
        "there is no model `second` here; found first"
    );
    assert_eq!(call(&worker, with(post(&body), "bearer second")).await.status(), StatusCode::OK);
    assert_eq!(*script.callers.lock().unwrap(), [Caller { key: Some("second".into()) }]);
    // With a key the server may be reached by any name.
    let named =
        Request::get("/v1/models").header("host", "ask.example.org").body(Body::empty()).unwrap();
    assert_eq!(call(&worker, with(named, "Bearer first")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_keys_a_key_is_not_looked_at() {
    let (script, worker) = script();
    let mut request = post(&say("hi"));
    request.headers_mut().insert("authorization", "Bearer whatever".parse().unwrap());
    assert_eq!(call(&worker, request).await.status(), StatusCode::OK);
    assert_eq!(*script.callers.lock().unwrap(), [Caller::default()]);
}

#[tokio::test]
async fn other_hosts_are_refused() {
    let (_, worker) = script();
    let request =
        Request::get("/v1/models").header("host", "rebound.example").body(Body::empty()).unwrap();
    assert_eq!(call(&worker, request).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(call(&worker, get("/v1/nothing")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_refused_at_once() {
    let (script, worker) = script();
    script.gate.close();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move { call(&worker, post(&say("hi"))).await.status() })
        })
        .collect();
    // One request is being answered and one waits; the queue holds one, so soon every further one
    // is refused.
    let mut status = StatusCode::OK;
    for _ in 0..200 {
        let response = tokio::time::timeout(
            std::time::Duration::from_millis(20),
            call(&worker, post(&say("hi"))),
        )
        .await;
        if let Ok(response) = response {
            status = response.status();
            break;
        }
    }
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    script.gate.open();
    for answer in waiting {
        let status = answer.await.unwrap();
        assert!(status == StatusCode::OK || status == StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_departed_client_stops_generation() {
    let (script, worker) = script();
    let words = "word ".repeat(10_000);
    let mut body = say(&words);
    body["stream"] = json!(true);
    let mut stream = call(&worker, post(&body)).await.into_body();
    // The first frame opens the stream before generation starts; the second carries text.
    stream.frame().await.unwrap().unwrap();
    stream.frame().await.unwrap().unwrap();
    drop(stream);
    // The thread is free again once the abandoned answer has ended, and it ended early.
    assert_eq!(call(&worker, post(&say("next"))).await.status(), StatusCode::OK);
    assert!(script.pieces_sent.load(Ordering::SeqCst) < 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_first_word_stops_generation_too() {
    let (script, worker) = script();
    let mut body = say("think");
    body["stream"] = json!(true);
    let mut stream = call(&worker, post(&body)).await.into_body();
    stream.frame().await.unwrap().unwrap();
    while script.requests.lock().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    drop(stream);
    // The one thread is free again, though no text was ever sent.
    assert_eq!(call(&worker, post(&say("next"))).await.status(), StatusCode::OK);
    assert_eq!(script.pieces_sent.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_are_answered_at_once_as_there_are_slots() {
    let script = Arc::new(Script::default());
    let worker = Worker::start(script.clone(), 3, 3).unwrap();
    script.gate.close();
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move { call(&worker, post(&say("hi"))).await.status() })
        })
        .collect();
    // All three have reached the model before any of them is answered.
    while script.requests.lock().unwrap().len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    script.gate.open();
    for status in asked {
        assert_eq!(status.await.unwrap(), StatusCode::OK);
    }
}
