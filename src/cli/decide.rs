//! `tunesmith decide`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use app::compare::decide::{Decided, decide, write_report};
use eval::Decision;
use eval::decision::Lead;
use eval::figures::percent_interval;
use store::Store;

use super::compare::print_systems;
use super::output;

/// What `--check` ends with where a set is not settled.
pub(crate) const NOT_SETTLED: u8 = 3;

#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 when all went well, 1 on an error, 2 when the options are \
                        wrong, and with --check 3 when a set names no setup or its target is not \
                        shown to be met.")]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Print one JSON document: a list of decisions, also for one set. Its form is described in
    /// docs/decision.schema.json
    #[arg(long)]
    json: bool,
    /// End with exit code 3 unless every set names a setup and, where it has a target, that setup
    /// is shown to meet it
    #[arg(long)]
    check: bool,
    /// Open the report in the browser: the program that $BROWSER names, else that of the system
    #[arg(long)]
    open: bool,
    /// Write the page of the report to this file instead of .tunesmith/reports/
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

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
    if arguments.json {
        output::json(&decisions)?;
    } else {
        for decision in &decisions {
            print(decision);
        }
        for decision in &decisions {
            println!("decision {}: {}", decision.set, decision.outcome);
        }
        println!("report {}", files.html.display());
    }
    if arguments.open {
        open(&files.html)?;
    }
    let settled = decisions.iter().all(|decision| decision.is_settled());
    match arguments.check && !settled {
        true => {
            for decision in decisions.iter().filter(|decision| !decision.is_settled()) {
                eprintln!("check: set {:?} is not settled: {}", decision.set, decision.advice);
            }
            Ok(ExitCode::from(NOT_SETTLED))
        }
        false => Ok(ExitCode::SUCCESS),
    }
}

fn print(decision: &Decision) {
    print_systems(decision);
    println!();
    for node in decision.tree.iter().filter(|node| node.reached) {
        println!("  {} {}: {}", node.question, node.answer.as_str(), node.measurement);
        if let Lead::Outcome(_) = node.leads_to() {
            println!("    leads to {}", decision.outcome);
        }
    }
    println!();
    println!("  {}", decision.advice);
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

/// Opens a page in the browser, and does not wait for it to be closed.
fn open(page: &Path) -> anyhow::Result<()> {
    let configured = std::env::var_os("BROWSER").filter(|name| !name.is_empty());
    let mut command = match configured {
        Some(browser) => Command::new(browser),
        None if cfg!(target_os = "macos") => Command::new("open"),
        None if cfg!(windows) => Command::new("explorer"),
        None => Command::new("xdg-open"),
    };
    let program = command.get_program().to_string_lossy().into_owned();
    command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| {
        format!(
            "cannot open {} with {program}: open it by hand, or set BROWSER to a program",
            page.display()
        )
    })?;
    Ok(())
}
