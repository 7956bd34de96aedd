//! `tunesmith check`

use std::path::Path;
use std::process::ExitCode;

use app::Progress;
use app::ask::service;
use app::compare::check::{Check, Checked};
use app::models::Cache;

use super::compare::View;
use super::decide::NOT_SETTLED;
use super::index::open_knowledge;
use super::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Only say what changed, and run nothing
    #[arg(long)]
    no_run: bool,
    /// Print one JSON document: what changed, and the decisions before and now
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let sets: Vec<_> = project.config.sets_named(&arguments.sets)?.into_iter().cloned().collect();
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let mut knowledge = open_knowledge(&project, &cache)?;
    let model = service::open_model(&project, &cache)?;
    let mut all: Vec<Checked> = Vec::new();
    for set in &sets {
        let mut view = View::new(&set.name);
        let mut show = |event| view.show(&event);
        let check = Check { project: &project, knowledge: &mut knowledge, model: &model, set };
        let checked = check.check(!arguments.no_run, &mut Progress::new(&stop, &mut show))?;
        view.finish();
        if !arguments.json {
            println!("{checked}");
        }
        all.push(checked);
    }
    if arguments.json {
        output::json(&all)?;
    }
    match all.iter().all(|checked| checked.holds == Some(true)) {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::from(NOT_SETTLED)),
    }
}
