//! The real binary, driven in a temporary directory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod decision;
mod embedder;
mod index;
mod ingest;
mod keys;
mod measures;
mod models;
mod project;
mod reference;
mod rerank;
mod serve;
mod whole;
