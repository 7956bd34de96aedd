//! Routes, and the guard that keeps other hosts out.

use crate::{api, error::ApiError, worker::Worker};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Uri, header::HOST},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

/// Largest request body in bytes: far above any prompt that fits a context.
const BODY_LIMIT: usize = 4 << 20;

/// The application, ready to be served or called in a test.
pub fn router(worker: Worker) -> Router {
    Router::new()
        .route("/health", get(api::health))
        .route("/v1/models", get(api::list_models))
        .route("/v1/models/{*id}", get(api::show_model))
        .route("/v1/chat/completions", post(api::chat_completions))
        .fallback(|uri: Uri| async move { ApiError::unknown_route(uri.path()) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(loopback_only))
        .with_state(worker)
}

/// Refuses requests addressed to another name: a web page could have its own name resolve to 127.0.0.1.
async fn loopback_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    if is_loopback(host) { next.run(request).await } else { ApiError::foreign_host(host).into_response() }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_pass() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "127.8.8.8:80", "[::1]", "[::1]:9"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "example.org", "localhost.example.org:80", "10.0.0.1", "[::2]:9", "127.0.0.1.example.org"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
