//! `tunesmith model pull|list|show`

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use app::Progress;
use app::models::{self, CATALOGUE, Cache, CatalogueEntry, PullEvent, Status};
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Progress as Bar, bytes};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch models, check their hashes, and keep them for all projects
    Pull {
        /// Names of the models [default: all]
        names: Vec<String>,
    },
    /// List the models known by name, and whether they are on this machine
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show where a model comes from, where it is kept, and its hashes
    Show {
        /// Name of the model
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let cache = Cache::from_env()?;
    match &arguments.action {
        Action::Pull { names } => pull(&cache, names)?,
        Action::List { json } => list(&cache, *json)?,
        Action::Show { name, json } => show(&cache, models::expect(name)?, *json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn pull(cache: &Cache, names: &[String]) -> anyhow::Result<()> {
    let entries: Vec<&CatalogueEntry> = if names.is_empty() {
        CATALOGUE.iter().collect()
    } else {
        names.iter().map(|name| models::expect(name)).collect::<Result<_, _>>()?
    };
    let stop = super::stop_flag()?;
    for entry in entries {
        pull_one(cache, entry, &stop)?;
    }
    Ok(())
}

fn pull_one(cache: &Cache, entry: &CatalogueEntry, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut bar = Bar::bytes(entry.name, entry.package_bytes);
    let mut present = false;
    let mut show = |event| match event {
        PullEvent::Present => present = true,
        PullEvent::Downloading { bytes, .. } => bar.set(bytes, ""),
        PullEvent::Unpacking => bar.line(&format!("{}: unpacking and checking", entry.name)),
        PullEvent::Done => {}
    };
    let folder = models::pull(cache, entry, &mut Progress::new(stop, &mut show))?;
    bar.finish();
    let state = if present { "is here already" } else { "fetched and checked" };
    println!("{}: {state}: {}", entry.name, folder.display());
    Ok(())
}

fn list(cache: &Cache, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let entries: Vec<_> = CATALOGUE.iter().map(|entry| described(cache, entry)).collect();
        return output::json(&entries);
    }
    for entry in CATALOGUE {
        let here = if cache.status(entry) == Status::Present { "here" } else { "absent" };
        let size: u64 = entry.files.iter().map(|file| file.bytes).sum();
        println!(
            "{:24} {:10} {here:7} {:>9}  {}",
            entry.name,
            kind(entry),
            bytes(size),
            entry.about
        );
    }
    Ok(())
}

fn show(cache: &Cache, entry: &CatalogueEntry, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&described(cache, entry));
    }
    println!("{} ({})", entry.name, kind(entry));
    println!("{}", entry.about);
    println!("package   {}=={}, {}", entry.package, entry.version, bytes(entry.package_bytes));
    println!("licence   {}", entry.licence);
    println!("folder    {}", cache.folder(entry).display());
    match cache.status(entry) {
        Status::Present => {
            cache.verify(entry)?;
            println!("state     here, hashes are right");
        }
        Status::Absent => println!("state     absent: run `tunesmith model pull {}`", entry.name),
    }
    for file in entry.files {
        println!("{}  {:>9}  {}", file.sha256, bytes(file.bytes), file.name);
    }
    Ok(())
}

fn described(cache: &Cache, entry: &CatalogueEntry) -> serde_json::Value {
    json!({ "model": entry, "folder": cache.folder(entry), "status": cache.status(entry) })
}

fn kind(entry: &CatalogueEntry) -> &'static str {
    match entry.kind {
        models::ModelKind::Generator => "generator",
        models::ModelKind::Embedder => "embedder",
    }
}
