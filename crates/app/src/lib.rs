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

pub mod ask;
pub mod compare;
pub mod error;
pub mod evaluate;
mod grading;
pub mod index;
pub mod ingest;
pub mod models;
pub mod page;
pub mod progress;
pub mod project;
pub mod prompt;
pub mod questions;
pub mod report;
pub mod search;
pub mod time;
pub mod tune;

pub use ask::service::Service;
pub use error::{Error, Problem};
pub use progress::Progress;
pub use project::Project;
pub use project::access::{Access, Key};
pub use project::config::Config;
pub use questions::{Question, QuestionSet, Split};
pub use search::knowledge::Knowledge;
pub use text::Format;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
