//! The flows of tunesmith: what happens between a user's words and the engine, the store and the
//! judge.
//!
//! - ingest: bytes -> document -> chunks -> vectors -> store
//! - index: documents -> chunks and vectors of another kind, beside those in use -> measures on dev
//!   -> taken into use
//! - ask: question -> hits -> passages -> prompt -> answer + citations + timings
//! - tune: examples -> splits -> (ids, mask) -> checkpoint -> adapter
//! - tune the embedder: questions with their passages -> negatives -> epochs -> measures on dev ->
//!   verdict
//! - compare: arms x questions -> trials -> measures -> decision
//!
//! Long operations report through callbacks and look at a stop flag; drawing and signals are the
//! binary's.

pub mod adapters;
pub mod ask;
pub mod beir;
pub mod citation;
pub mod citing;
pub mod compare;
pub mod config;
pub mod decide;
pub mod embedder;
pub mod error;
mod fetch;
pub mod grounding;
pub mod index;
pub mod ingest;
pub mod keys;
pub mod knowledge;
pub mod models;
pub mod project;
pub mod prompt;
pub mod questions;
mod repetition;
pub mod report;
pub mod rerank;
pub mod retrieval;
pub mod service;
pub mod shots;
mod sources;
pub mod synthetic;
pub mod time;
pub mod tune;
pub mod watch;

pub use config::Config;
pub use error::{Error, Problem};
pub use keys::{Access, Key};
pub use knowledge::Knowledge;
pub use project::Project;
pub use questions::{Question, QuestionSet, Split};
pub use service::Service;
pub use text::Format;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
