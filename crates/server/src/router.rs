//! Routes, and the guards that keep other hosts and strangers out.

use crate::{api, error::ApiError, worker::Worker};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderMap, Uri,
        header::{AUTHORIZATION, HOST},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

/// Largest request body in bytes: far above any prompt that fits a context.
const BODY_LIMIT: usize = 4 << 20;

/// The application, ready to be served or called in a test.
pub fn router(worker: Worker) -> Router {
    Router::new()
        .route("/v1/models", get(api::list_models))
        .route("/v1/models/{*id}", get(api::show_model))
        .route("/v1/chat/completions", post(api::chat_completions))
        .fallback(|uri: Uri| async move { ApiError::unknown_route(uri.path()) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // Routes above this line need a key, unknown ones included; those below do not.
        .layer(middleware::from_fn_with_state(worker.clone(), keys_only))
        .route("/health", get(api::health))
        .layer(middleware::from_fn_with_state(worker.clone(), loopback_only))
        .with_state(worker)
}

/// Finds out who asks before anything else of the request is read.
async fn keys_only(State(worker): State<Worker>, mut request: Request, next: Next) -> Response {
    let Some(caller) = worker.caller(bearer(request.headers())) else {
        return ApiError::unauthorised().into_response();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The secret of `Authorization: Bearer SECRET`. Where there are several such headers, none counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, secret) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

/// Refuses requests addressed to another name: a web page could have its own name resolve to
/// 127.0.0.1. Where a key is needed, such a page has none.
async fn loopback_only(State(worker): State<Worker>, request: Request, next: Next) -> Response {
    if worker.needs_key() {
        return next.run(request).await;
    }
    let host = request.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    if is_loopback(host) {
        next.run(request).await
    } else {
        ApiError::foreign_host(host).into_response()
    }
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
    use super::{bearer, is_loopback};
    use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

    #[test]
    fn a_secret_stands_after_bearer() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(str::to_owned)
        };
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(of(&[good]).as_deref(), Some("abc"), "{good}");
        }
        assert_eq!(of(&[]), None);
        for bad in ["abc", "Basic abc", "Bearerabc", "Bearer"] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&["Bearer abc", "Bearer def"]), None);
    }

    #[test]
    fn only_loopback_names_pass() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.8.8.8:80",
            "[::1]",
            "[::1]:9",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:80",
            "10.0.0.1",
            "[::2]:9",
            "127.0.0.1.example.org",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
