//! `tunesmith ingest`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::ingest::{FileReport, IngestEvent, Outcome, ingest};
use app::models::Cache;
use app::{Error, Knowledge};

use super::output::{self, Progress, duration, plural};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folders and files [default: `documents` of tunesmith.toml]
    paths: Vec<PathBuf>,
    /// One JSON document with a receipt for every file
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let stop = super::stop_flag()?;
    let mut knowledge = Knowledge::open(&project, &Cache::from_env()?)?;
    let mut progress: Option<Progress> = None;
    let mut done = 0;
    let report = ingest(&project, &mut knowledge, &arguments.paths, &stop, &mut |event| match event {
        IngestEvent::Found { files } => progress = Some(Progress::new("ingesting", files as u64)),
        IngestEvent::File(file) => {
            done += 1;
            if let Some(progress) = &mut progress {
                progress.set(done, "");
                if !arguments.json
                    && let Some(line) = receipt(file)
                {
                    progress.line(&line);
                }
            }
        }
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    if arguments.json {
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
    if report.interrupted {
        return Err(Error::Interrupted.into());
    }
    Ok(if report.failed() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn receipt(file: &FileReport) -> Option<String> {
    let path = &file.path;
    Some(match &file.outcome {
        Outcome::Unchanged => return None,
        Outcome::Deleted => format!("{path}: deleted, as the file is gone"),
        Outcome::Failed { reason, withdrawn } => {
            let note = if *withdrawn { "; what was stored of it no longer answers" } else { "" };
            format!("{path}: failed: {reason}{note}")
        }
        Outcome::Stored { receipt, replaced } => {
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
            format!("{path}: {verb}: {}", parts.join(", "))
        }
    })
}
