//! The real binary, driven in a temporary directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod check;
mod decide;
mod embedder;
mod index;
mod ingest;
mod keys;
mod models;
mod project;
mod reference;
mod rerank;
mod schema;
mod serve;
mod whole;
