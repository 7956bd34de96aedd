//! The HTTP face of tunesmith: an OpenAI-compatible endpoint for the arm that won.
//!
//! Requests are checked here and answered by a few threads behind a bounded queue ([`Worker`]);
//! handlers never block the runtime. Without keys the server binds to loopback only and answers
//! only requests addressed to loopback. With keys every route but `/health` needs one, and a caller
//! sees no model and no document that the key may not read.

mod api;
mod chat;
mod error;
mod openai;
mod reply;
mod router;
mod stream;
mod worker;

pub use chat::{
    Caller, Chat, ChatError, ChatReply, ChatRequest, FinishReason, ServedModel, Turn, TurnRole,
};
pub use error::ServeError;
pub use router::router;
pub use worker::Worker;

use std::{net::SocketAddr, sync::Arc};

/// Threads of the runtime: it only moves requests and text, the answers have threads of their own.
const RUNTIME_THREADS: usize = 2;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Address to bind; without keys refused unless it is a loopback address.
    pub address: SocketAddr,
    /// Requests answered at once.
    pub slots: usize,
    /// Requests that may wait behind them; one more is refused at once with status 429.
    pub queue: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8080)), slots: 8, queue: 16 }
    }
}

/// Serves `chat` until the process is interrupted; calls `ready` with the bound address once
/// connections are accepted (useful with port 0).
///
/// # Errors
/// [`ServeError::NotLoopback`] for an address that other machines could reach where no key is
/// needed, [`ServeError::Bind`] when the address is taken, [`ServeError::Io`] when the runtime or
/// the listener fails.
pub fn serve(
    chat: Arc<dyn Chat>,
    options: &ServeOptions,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    if !chat.needs_key() && !options.address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(options.address));
    }
    let worker = Worker::start(chat, options.slots, options.queue).map_err(ServeError::Io)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(ServeError::Io)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.address)
            .await
            .map_err(|source| ServeError::Bind { address: options.address, source })?;
        ready(listener.local_addr().map_err(ServeError::Io)?);
        axum::serve(listener, router(worker))
            .with_graceful_shutdown(async {
                // Without a signal handler there is nothing to wait for: serve until killed.
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
            .await
            .map_err(ServeError::Io)
    })
}
