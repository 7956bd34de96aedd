//! Errors: of starting the server, and of one request in OpenAI's error form.

use axum::{
    Json,
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::net::SocketAddr;

/// Seconds after which a refused client may try again: an answer takes about that long.
const RETRY_SECONDS: &str = "1";

/// The server could not start or keep running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached from other machines.
    #[error(
        "{0} is not a loopback address; without keys tunesmith serves this machine only (use 127.0.0.1 or [::1], or make a key)"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The runtime or the listener failed.
    #[error("the server failed")]
    Io(#[source] std::io::Error),
}

/// A refused or failed request; becomes `{"error": {message, type, param, code}}` with its status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

impl ApiError {
    /// A field with an unusable value: status 400, `param` names the field.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: Some(param.into()),
            message: message.into(),
        }
    }

    /// A body that is not the JSON object asked for.
    pub(crate) fn body(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: message.into(),
        }
    }

    /// A request that the model refuses, such as a prompt longer than its context.
    pub(crate) fn unanswerable(message: impl Into<String>) -> Self {
        Self::body(StatusCode::BAD_REQUEST, message)
    }

    /// A model that is not served here; names those that are.
    pub(crate) fn unknown_model(name: &str, known: &[String]) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: Some("model_not_found"),
            param: Some("model".into()),
            message: format!("there is no model `{name}` here; found {}", known.join(", ")),
        }
    }

    /// No such route.
    pub(crate) fn unknown_route(path: &str) -> Self {
        Self::body(StatusCode::NOT_FOUND, format!("there is no {path} here"))
    }

    /// No key, or an unknown one; the client is not told which.
    pub(crate) fn unauthorised() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            kind: "invalid_request_error",
            code: Some("invalid_api_key"),
            param: None,
            message: "this server needs a key: send it as `Authorization: Bearer KEY`".into(),
        }
    }

    /// A request addressed to a host other than loopback. It may come from a web page that has its
    /// own name resolve to this machine (DNS rebinding).
    pub(crate) fn foreign_host(host: &str) -> Self {
        Self::body(
            StatusCode::FORBIDDEN,
            format!(
                "this server answers requests to localhost, 127.0.0.1 and [::1], not to `{host}`"
            ),
        )
    }

    /// The queue is full.
    pub(crate) fn overloaded() -> Self {
        Self::busy("too many requests are waiting; try again shortly")
    }

    /// Too much to do: status 429, to be tried again after [`RETRY_SECONDS`].
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "overloaded_error",
            code: Some("overloaded"),
            param: None,
            message: message.into(),
        }
    }

    /// Our own failure.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "server_error",
            code: None,
            param: None,
            message: message.into(),
        }
    }

    /// The answering thread ended before it gave a reply.
    pub(crate) fn unanswered() -> Self {
        Self::internal("generation ended without an answer")
    }

    /// The error object alone, as it is sent inside a stream that has begun.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(self.to_json());
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            return (self.status, [(RETRY_AFTER, RETRY_SECONDS)], body).into_response();
        }
        if self.status == StatusCode::UNAUTHORIZED {
            return (self.status, [(WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (self.status, body).into_response()
    }
}
