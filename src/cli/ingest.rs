//! `tunesmith ingest`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use app::ingest::watch::Watch;
use app::ingest::{FileOutcome, FileReport, IngestEvent, IngestOptions, IngestReport, ingest};
use app::models::Cache;
use app::{Error, Knowledge, Progress, Project};

use super::index::open_knowledge;
use super::output::{self, Progress as Bar, duration, plural};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folders, files, patterns ('notes/**/*.md') and web addresses [default: `documents` of
    /// tunesmith.toml]
    paths: Vec<PathBuf>,
    /// Keep running and ingest what changes, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Also ingest files that .gitignore, .ignore or .tunesmithignore exclude
    #[arg(long)]
    no_ignore: bool,
    /// Also fetch pages from private and loopback addresses
    #[arg(long)]
    allow_private: bool,
    /// Print one JSON document with a receipt for every file
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let stop = super::stop_flag()?;
    let options = IngestOptions {
        paths: arguments.paths.clone(),
        include_ignored: arguments.no_ignore,
        allow_private: arguments.allow_private,
    };
    let cache = Cache::from_env()?;
    if !arguments.watch {
        let report = once(
            &project,
            &mut open_knowledge(&project, &cache)?,
            &options,
            &stop,
            arguments.json,
        )?;
        return match report.interrupted {
            true => Err(Error::Interrupted.into()),
            false if report.failed() > 0 => Ok(ExitCode::FAILURE),
            false => Ok(ExitCode::SUCCESS),
        };
    }
    // Watching begins before the first look, so that nothing changes unseen between them. While
    // nothing happens, the store is free for others.
    let mut watch = Watch::new(&project, &options)?;
    loop {
        let Some(mut knowledge) = open_when_free(&project, &cache, &stop)? else { break };
        once(&project, &mut knowledge, &options, &stop, arguments.json)?;
        drop(knowledge);
        if !watch.wait(&stop)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits while another process uses the project; `None` when told to stop meanwhile.
fn open_when_free(
    project: &Project,
    cache: &Cache,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Knowledge>> {
    let mut said = false;
    while !stop.load(Ordering::Relaxed) {
        match Knowledge::open(project, cache) {
            Err(Error::Store(locked @ store::Error::Locked { .. })) => {
                if !std::mem::replace(&mut said, true) {
                    eprintln!("waiting: {locked}");
                }
                std::thread::sleep(Duration::from_millis(250));
            }
            opened => return Ok(Some(opened?)),
        }
    }
    Ok(None)
}

/// Ingests, with progress and a receipt for every file that is not as it was.
fn once(
    project: &Project,
    knowledge: &mut Knowledge,
    options: &IngestOptions,
    stop: &AtomicBool,
    json: bool,
) -> anyhow::Result<IngestReport> {
    let mut bar: Option<Bar> = None;
    let mut done = 0;
    let mut show = |event| match event {
        IngestEvent::Found { files } => bar = Some(Bar::new("ingesting", files as u64)),
        IngestEvent::File(file) => {
            done += 1;
            if let Some(bar) = &mut bar {
                bar.set(done, "");
                if !json && let Some(line) = receipt(&file) {
                    bar.line(&line);
                }
            }
        }
    };
    let report = ingest(project, knowledge, options, &mut Progress::new(stop, &mut show))?;
    if let Some(bar) = bar {
        bar.finish();
    }
    if json {
        output::json(&report)?;
    } else {
        println!(
            "{} stored ({}), {} unchanged, {} deleted, {} failed, in {}",
            plural(report.stored(), "document"),
            plural(report.chunks(), "chunk"),
            report.unchanged(),
            report.deleted(),
            report.failed(),
            duration(report.seconds)
        );
    }
    Ok(report)
}

fn receipt(file: &FileReport) -> Option<String> {
    let path = &file.path;
    Some(match &file.outcome {
        FileOutcome::Unchanged => return None,
        FileOutcome::Deleted => format!("{path}: deleted, as the file is gone or ignored"),
        FileOutcome::Failed { reason, withdrawn } => {
            let note = if *withdrawn { "; what was stored of it no longer answers" } else { "" };
            format!("{path}: failed: {reason}{note}")
        }
        FileOutcome::Stored { receipt, replaced } => {
            let mut parts = Vec::new();
            if receipt.pages > 0 {
                parts.push(plural(receipt.pages, "page"));
            }
            if receipt.empty_pages > 0 {
                parts.push(format!("{} empty", receipt.empty_pages));
            }
            if receipt.tables > 0 {
                parts.push(plural(receipt.tables, "table"));
            }
            parts.push(plural(receipt.characters, "character"));
            parts.push(plural(receipt.chunks, "chunk"));
            let verb = if *replaced { "replaced" } else { "stored" };
            let warnings: String =
                receipt.warnings.iter().map(|warning| format!("\n  {warning}")).collect();
            format!("{path}: {verb}: {}{warnings}", parts.join(", "))
        }
    })
}
