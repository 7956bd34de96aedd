//! Arguments -> one call into `app` -> print.

pub(crate) mod ask;
pub(crate) mod check;
pub(crate) mod citations;
pub(crate) mod compare;
pub(crate) mod decide;
pub(crate) mod embedder;
pub(crate) mod eval;
pub(crate) mod filter;
pub(crate) mod index;
pub(crate) mod ingest;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod model;
pub(crate) mod output;
pub(crate) mod questions;
pub(crate) mod reference;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod tune;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use app::{Project, Split};
use clap::{Parser, Subcommand};

/// RAG, fine-tuning, or both? Builds all of them on your own documents, measures them, and serves
/// the winner.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Folder of the project [default: this folder, or the nearest one above it, that has a
    /// tunesmith.toml]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// Number of threads that compute [default: $TUNESMITH_THREADS, else one for each physical core
    /// that this process may use]
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start a project by writing its tunesmith.toml
    Init(init::Arguments),
    /// Fetch models and show what is known of them
    Model(model::Arguments),
    /// Read documents into the knowledge base
    Ingest(ingest::Arguments),
    /// Build another index beside the one in use, compare the two, and switch between them
    Index(index::Arguments),
    /// Let a model write questions about the documents, for a project that has none
    Questions(questions::Arguments),
    /// Find passages without asking a model
    Search(search::Arguments),
    /// Answer a question, with citations
    Ask(ask::Arguments),
    /// Train an adapter, or the embedder, on a question set
    Tune(tune::Arguments),
    /// Run the setups of question sets and compare them
    Compare(compare::Arguments),
    /// Decide which setup to use, show the evidence, and write the report
    Decide(decide::Arguments),
    /// Say whether a decision still holds after documents, model, questions or settings changed
    Check(check::Arguments),
    /// Measure retrieval, citations and abstaining by themselves
    Eval(eval::Arguments),
    /// Make and list the keys of those who may ask the server
    Key(key::Arguments),
    /// Answer over HTTP with the setups that won
    Serve(serve::Arguments),
    /// Print a page of the documentation that is written from the code
    #[command(hide = true)]
    Reference(reference::Arguments),
}

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    let bounds = format!("expected a number from {} to {}", lm::THREADS.start(), lm::THREADS.end());
    text.parse().ok().filter(|threads| lm::THREADS.contains(threads)).ok_or(bounds)
}

/// The project of `--project`, or the nearest one upward.
pub(crate) fn open_project(folder: Option<&Path>) -> anyhow::Result<Project> {
    match folder {
        Some(folder) => Ok(Project::open(folder)?),
        None => Ok(Project::find(&std::env::current_dir().context("the current folder")?)?),
    }
}

/// The split of that name.
pub(crate) fn split(name: &str) -> anyhow::Result<Split> {
    let found = Split::ALL.into_iter().find(|split| split.as_str() == name);
    found.with_context(|| format!("--split: expected train, dev or test, found {name:?}"))
}

/// A flag that Ctrl-C raises. Pressed again, the program ends at once.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping; press Ctrl-C again to stop at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
