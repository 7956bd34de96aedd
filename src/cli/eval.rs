//! `tunesmith eval retrieval`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use app::beir::{BeirOptions, measure};
use app::embedder::beir::{Folders, tune_and_measure};
use app::models::{self, Cache};
use clap::Subcommand;
use lm::{Encoder, Precision};

use super::embedder::{Learning, View};
use super::output::{self, Progress};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rank a judged collection by words, by vectors and by both
    Retrieval {
        /// A folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
        #[arg(long, value_name = "FOLDER")]
        beir: PathBuf,
        /// The split whose judgements hold
        #[arg(long, default_value = "test")]
        split: String,
        /// Where to keep the index, so that a second run embeds nothing [default: a temporary folder]
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
        /// The embedder: a name or a path
        #[arg(long, default_value = "all-minilm-l6-v2")]
        embedder: String,
        /// The number format of the embedder: auto, int8, bf16 or f32
        #[arg(long, default_value = "auto")]
        embedder_precision: Precision,
        /// Shares of words to fuse with
        #[arg(long, value_delimiter = ',', default_values_t = [0.3, 0.4, 0.5, 0.6, 0.7])]
        lexical_weights: Vec<f32>,
        /// Tune the embedder on qrels/train.tsv first (a part of it chooses the epoch), keep it in this folder, and measure it
        /// beside the untuned one
        #[arg(long, value_name = "DIR")]
        tune: Option<PathBuf>,
        /// Go on from the state of an interrupted tuning
        #[arg(long, requires = "tune")]
        resume: bool,
        /// Seed of the order of pairs
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        learning: Box<Learning>,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let What::Retrieval {
        beir,
        split,
        store,
        embedder,
        embedder_precision,
        lexical_weights,
        tune,
        resume,
        seed,
        learning,
    } = &arguments.what;
    let stop = super::stop_flag()?;
    let here = std::env::current_dir().context("the current folder")?;
    let located = models::locate(&Cache::from_env()?, embedder, &here)?;
    // Dropped, and with it removed, when the measuring is done.
    let temporary = match store {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("cannot make a temporary folder")?),
    };
    let folder =
        store.as_deref().or(temporary.as_ref().map(|folder| folder.path())).unwrap_or(Path::new("."));
    let options = BeirOptions { folder: beir, split, store: folder, lexical_weights };
    if let Some(tuned) = tune {
        let folders = Folders { base: &located.path, tuned };
        let tune_options = learning.options(*seed, *resume, *embedder_precision);
        let mut view = View::default();
        let report =
            tune_and_measure(&options, folders, &tune_options, &stop, &mut |event| view.show(&event))?;
        view.finish();
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let encoder = Encoder::open_with(&located.path, *embedder_precision)?;
    let mut progress: Option<Progress> = None;
    let report = measure(&options, &encoder, &stop, &mut |done, total| {
        progress.get_or_insert_with(|| Progress::new("embedding", total as u64)).set(done as u64, "");
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    output::json(&report)?;
    Ok(ExitCode::SUCCESS)
}
