//! `tunesmith decide`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use app::compare::decide::{Decided, decide, write_report};
use eval::Decision;
use eval::decision::Lead;
use eval::figures::percent_interval;
use store::Store;

use super::compare::print_arms;
use super::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Print one JSON document: a list of decisions, in the form of docs/decision.schema.json
    #[arg(long)]
    json: bool,
    /// Exit with status 3 if a decision names no system, or one that is not shown to meet its target
    #[arg(long)]
    check: bool,
    /// Open the report in the browser
    #[arg(long)]
    open: bool,
    /// Write the report to this file [default: in the project's .tunesmith/reports]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A decision that does not hold what was asked of it.
pub(super) const NOT_SETTLED: u8 = 3;

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let mut store = Store::open(&project.state()?)?;
    let decided = project
        .config
        .sets_named(&arguments.sets)?
        .into_iter()
        .map(|set| decide(&mut store, set))
        .collect::<Result<Vec<Decided>, _>>()?;
    let files = write_report(&project, &store, &decided, arguments.out.as_deref())?;
    for remark in decided.iter().flat_map(|decided| &decided.remarks) {
        eprintln!("note: {remark}");
    }
    let decisions: Vec<&Decision> = decided.iter().map(|decided| &decided.decision).collect();
    if arguments.open {
        open(&files.html)?;
    }
    let settled = decisions.iter().all(|decision| decision.is_settled());
    let status = match arguments.check && !settled {
        true => ExitCode::from(NOT_SETTLED),
        false => ExitCode::SUCCESS,
    };
    if arguments.json {
        output::json(&decisions)?;
        return Ok(status);
    }
    for decision in &decisions {
        print(decision);
    }
    for decision in &decisions {
        println!("decision {}: {}", decision.set, decision.outcome);
    }
    println!("report {}", files.html.display());
    Ok(status)
}

/// Shows a page in the browser, as the system does when one clicks on it.
fn open(page: &Path) -> anyhow::Result<()> {
    let (program, first): (&str, &[&str]) = match std::env::consts::OS {
        "macos" => ("open", &[]),
        "windows" => ("cmd", &["/c", "start", ""]),
        _ => ("xdg-open", &[]),
    };
    let shown = Command::new(program).args(first).arg(page).status();
    match shown {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("cannot open {}: {program} ended with {status}", page.display()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot open {} with {program}", page.display()))
        }
    }
}

fn print(decision: &Decision) {
    print_arms(decision);
    println!();
    for node in decision.tree.iter().filter(|node| node.reached) {
        let answer = node.answer.as_str();
        println!("  {} {answer}: {}", node.question, node.measurement);
        if let Lead::Outcome(outcomes) = node.leads_to() {
            let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
            println!("    leads to {}", names.join(" or "));
        }
    }
    println!();
    println!("  {}", decision.sentence);
    for warning in &decision.warnings {
        println!("  warning: {warning}");
    }
    if let Some((worst, rest)) = decision.slices.split_first() {
        let score = percent_interval(worst.score);
        println!("  worst of {} slices: {} {score}", rest.len() + 1, worst.name);
    }
    if !decision.flips.is_empty() {
        println!("  what would change it:");
    }
    for flip in &decision.flips {
        println!("  - {flip}");
    }
    println!();
}
