//! `tunesmith check`

use std::path::Path;
use std::process::ExitCode;

use app::Progress;
use app::ask::service;
use app::compare::{ArmChoice, Bench, Change, Check, CheckVerdict, CompareOptions, Standing};
use app::models::Cache;
use eval::figures::percent_interval;

use super::compare::View;
use super::decide::NOT_SETTLED;
use super::index::open_knowledge;
use super::output;

/// What the command ends with where there is nothing to check.
const NOTHING_TO_CHECK: u8 = 2;

/// Characters of a value that are printed.
const SHOWN: usize = 40;

#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 when every decision holds, 1 on an error, 2 when there is \
                        nothing to check (the set was never compared, or nothing was decided) or \
                        the options are wrong, 3 when a decision does not hold any longer, or with \
                        --no-run when something has changed. The test split is opened where \
                        something is run, which is logged; the result is printed and not stored, \
                        so that `decide` reads what it read before.")]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Only say what has changed since the comparison
    #[arg(long)]
    no_run: bool,
    /// Print one JSON document: a list, also for one set
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
    let options = CompareOptions {
        arms: ArmChoice::Auto,
        seeds: None,
        limit: None,
        reason: "check".to_owned(),
    };
    let mut checks: Vec<Check> = Vec::new();
    for set in &sets {
        let mut view = View::new(&set.name);
        let bench = Bench::new(&project, &mut knowledge, &model, set, &options)?;
        let mut show = |event| view.show(&event);
        let check = bench.check(!arguments.no_run, &mut Progress::new(&stop, &mut show))?;
        view.finish();
        if !arguments.json {
            print(&check);
        }
        checks.push(check);
    }
    if arguments.json {
        output::json(&checks)?;
    }
    Ok(ExitCode::from(code(&checks)))
}

/// The gravest of what was found.
fn code(checks: &[Check]) -> u8 {
    let any = |verdicts: &[CheckVerdict]| checks.iter().any(|c| verdicts.contains(&c.verdict));
    if any(&[CheckVerdict::HoldsNoLonger, CheckVerdict::NotRun]) {
        NOT_SETTLED
    } else if any(&[CheckVerdict::NothingToCheck]) {
        NOTHING_TO_CHECK
    } else {
        0
    }
}

fn print(check: &Check) {
    let set = &check.set;
    match check.changes.is_empty() {
        true if check.before.is_some() => {
            println!("{set}: nothing has changed since the comparison")
        }
        true => {}
        false => println!("{set}: changed since the comparison:"),
    }
    for change in &check.changes {
        println!("  {}", changed(change));
    }
    for left_out in &check.left_out {
        println!("  left out: {left_out}");
    }
    if check.run + check.reused > 0 {
        println!("  {} trials were run, {} were there already", check.run, check.reused);
    }
    let figures = [("before", &check.before), ("now", &check.after)];
    for (when, standing) in figures.iter().filter_map(|(when, s)| Some((when, s.as_ref()?))) {
        println!("  {when}: {}", said(standing));
    }
    println!("check {set}: the decision {}", check.verdict.as_str());
    println!();
}

fn changed(change: &Change) -> String {
    let shown = |value: &Option<String>| {
        value.as_ref().map_or("not there".to_owned(), |value| match value.chars().count() > SHOWN {
            true => value.chars().take(SHOWN).chain(['…']).collect(),
            false => value.clone(),
        })
    };
    format!("{}: {} -> {}", change.what, shown(&change.before), shown(&change.now))
}

fn said(standing: &Standing) -> String {
    let Standing { outcome, scored, score, questions, .. } = standing;
    let scored = match (scored, score) {
        (Some(system), Some(score)) => format!(", {system} {}", percent_interval(*score)),
        _ => String::new(),
    };
    format!("{outcome}{scored} on {}", output::plural(*questions, "question"))
}
