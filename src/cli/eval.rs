//! `tunesmith eval`: retrieval here, citations in [`citations`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use app::evaluate::beir::tuned::{EmbedderFolders, tune_and_measure};
use app::evaluate::beir::{BeirOptions, Indexed, measure};
use app::evaluate::retrieval;
use app::models::{self, Cache};
use app::project::config::{Chunks, Config};
use app::search::rerank::Rerank;
use app::{QuestionSet, Split};
use clap::Subcommand;
use lm::{Encoder, Precision};

use super::citations;
use super::embedder::{Learning, View};
use super::index::open_knowledge;
use super::output::{self, Progress};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measure how many questions find what they need among the first hits by words, by vectors and
    /// by both
    Retrieval(Box<Retrieval>),
    /// Measure how many answers cite the right evidence and how many unanswerable questions are
    /// refused
    Citations(citations::Arguments),
}

#[derive(clap::Args)]
struct Retrieval {
    /// Measure on this folder in BEIR layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
    #[arg(long, value_name = "FOLDER", required_unless_present_any = ["set", "synthetic"])]
    beir: Option<PathBuf>,
    /// Measure on this question set of the project, by the `evidence` of its questions
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["beir", "store", "embedder", "embedder_precision"]
    )]
    set: Option<String>,
    /// Measure on the questions that `tunesmith questions write` made
    #[arg(
        long,
        conflicts_with_all = [
            "beir", "set", "split", "store", "embedder", "embedder_precision", "max_tokens", "tune"
        ]
    )]
    synthetic: bool,
    /// Split to measure on; opening a set's test split is logged [default: test of a BEIR folder,
    /// dev of a set]
    #[arg(long)]
    split: Option<String>,
    /// Folder to keep the index in, so that a second run need not embed again [default: a temporary
    /// folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Name or path of the embedder
    #[arg(long, default_value_t = Config::default().embedder)]
    embedder: String,
    /// Number format of the embedder: auto, int8, bf16 or f32
    #[arg(long, default_value = "auto")]
    embedder_precision: Precision,
    /// Keyword weights to try, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [0.3, 0.4, 0.5, 0.6, 0.7])]
    lexical_weights: Vec<f32>,
    /// Folder to write each ranking into, as a file that trec_eval reads
    #[arg(long, value_name = "DIR", requires = "beir", conflicts_with = "tune")]
    runs: Option<PathBuf>,
    /// Name or folder of a cross-encoder to measure beside no reranking [default: the project's
    /// with --set, else none]
    #[arg(long, value_name = "MODEL", conflicts_with = "tune")]
    reranker: Option<String>,
    /// Number of hits that the cross-encoder puts in order
    #[arg(
        long,
        value_name = "N",
        default_value_t = Config::default().retrieval.rerank_candidates,
        requires = "reranker"
    )]
    rerank_candidates: usize,
    /// Most tokens of a chunk
    #[arg(
        long,
        value_name = "N",
        default_value_t = Config::default().chunks.max_tokens,
        conflicts_with = "set"
    )]
    max_tokens: usize,
    /// Tune the embedder on qrels/train.tsv first, a part of which chooses the epoch, keep it in
    /// this folder, and measure it beside the untuned one
    #[arg(long, value_name = "DIR", conflicts_with = "set")]
    tune: Option<PathBuf>,
    /// Continue an interrupted tuning from its state
    #[arg(long, requires = "tune")]
    resume: bool,
    /// Seed of the order of pairs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    learning: Learning,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let arguments = match &arguments.what {
        What::Retrieval(arguments) => arguments,
        What::Citations(arguments) => return citations::run(project, arguments),
    };
    if arguments.synthetic {
        return on_synthetic(project, arguments);
    }
    match (&arguments.set, &arguments.beir) {
        (Some(set), _) => on_set(project, set, arguments),
        (None, Some(beir)) => on_collection(beir, arguments),
        (None, None) => anyhow::bail!("expected --beir, --set or --synthetic"),
    }
}

fn on_synthetic(project: Option<&Path>, arguments: &Retrieval) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let stop = super::stop_flag()?;
    let mut knowledge = open_knowledge(&project, &Cache::from_env()?)?;
    if let Some(reranker) = reranker(arguments)? {
        knowledge.rerank = Some(reranker);
    }
    output::json(&retrieval::measure_synthetic(&knowledge, &arguments.lexical_weights, &stop)?)?;
    Ok(ExitCode::SUCCESS)
}

fn on_set(project: Option<&Path>, name: &str, arguments: &Retrieval) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let stop = super::stop_flag()?;
    let set = QuestionSet::load(&project, project.config.set(name)?)?;
    let split = super::split(arguments.split.as_deref().unwrap_or(Split::Dev.as_str()))?;
    let mut knowledge = open_knowledge(&project, &Cache::from_env()?)?;
    if let Some(reranker) = reranker(arguments)? {
        knowledge.rerank = Some(reranker);
    }
    output::json(&retrieval::measure(
        &mut knowledge,
        &set,
        split,
        &arguments.lexical_weights,
        &stop,
    )?)?;
    Ok(ExitCode::SUCCESS)
}

/// The reranker of the command line.
fn reranker(arguments: &Retrieval) -> anyhow::Result<Option<Rerank>> {
    let Some(name) = &arguments.reranker else { return Ok(None) };
    let here = std::env::current_dir().context("the current folder")?;
    Ok(Some(Rerank::open(&Cache::from_env()?, name, &here, arguments.rerank_candidates)?))
}

fn on_collection(beir: &Path, arguments: &Retrieval) -> anyhow::Result<ExitCode> {
    let stop = super::stop_flag()?;
    let here = std::env::current_dir().context("the current folder")?;
    let located = models::locate(&Cache::from_env()?, &arguments.embedder, &here)?;
    // The folder is removed when this is dropped, after measuring.
    let temporary = match &arguments.store {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("cannot make a temporary folder")?),
    };
    let folder = arguments.store.as_deref();
    let folder =
        folder.or(temporary.as_ref().map(|folder| folder.path())).unwrap_or(Path::new("."));
    let split = arguments.split.as_deref().unwrap_or("test");
    let chunks = Chunks { max_tokens: arguments.max_tokens, ..Config::default().chunks };
    let lexical_weights = &arguments.lexical_weights;
    let reranker = reranker(arguments)?;
    let reranker = reranker.as_ref();
    let runs = arguments.runs.as_deref();
    let options =
        BeirOptions { folder: beir, split, store: folder, chunks, lexical_weights, reranker, runs };
    if let Some(tuned) = &arguments.tune {
        let folders = EmbedderFolders { base: &located.path, tuned };
        return with_tuning(arguments, &options, folders, &stop);
    }
    let encoder = Encoder::open_with(&located.path, arguments.embedder_precision)?;
    let mut bar: Option<Progress> = None;
    let mut show = |Indexed { documents, of }| {
        bar.get_or_insert_with(|| Progress::new("embedding", of as u64)).set(documents as u64, "");
    };
    let report = measure(&options, &encoder, &mut app::Progress::new(&stop, &mut show))?;
    if let Some(bar) = bar {
        bar.finish();
    }
    output::json(&report)?;
    Ok(ExitCode::SUCCESS)
}

/// Tunes the embedder first, and measures it beside the untuned one.
fn with_tuning(
    arguments: &Retrieval,
    options: &BeirOptions<'_>,
    folders: EmbedderFolders<'_>,
    stop: &AtomicBool,
) -> anyhow::Result<ExitCode> {
    let Retrieval { seed, resume, embedder_precision, .. } = *arguments;
    let tune_options = arguments.learning.options(seed, resume, embedder_precision);
    let mut view = View::default();
    let mut show = |event| view.show(&event);
    let mut progress = app::Progress::new(stop, &mut show);
    let report = tune_and_measure(options, folders, &tune_options, &mut progress)?;
    view.finish();
    output::json(&report)?;
    Ok(ExitCode::SUCCESS)
}
