//! `tunesmith decide`

use std::path::Path;
use std::process::ExitCode;

use app::compare::decide::{Decided, decide, write_report};
use eval::Decision;
use eval::decision::{Answer, Lead};
use store::Store;

use super::compare::print_arms;
use super::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Print one JSON document: the whole decision of one set, or a list of those of several
    #[arg(long)]
    json: bool,
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
    let files = write_report(&project, &store, &decided)?;
    for remark in decided.iter().flat_map(|decided| &decided.remarks) {
        eprintln!("note: {remark}");
    }
    let decisions: Vec<&Decision> = decided.iter().map(|decided| &decided.decision).collect();
    if arguments.json {
        match decisions[..] {
            [only] if arguments.sets.len() == 1 && arguments.sets[0] != "all" => {
                output::json(only)?
            }
            _ => output::json(&decisions)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    for decision in &decisions {
        print(decision);
    }
    for decision in &decisions {
        println!("decision {}: {}", decision.set, decision.outcome);
    }
    println!("report {}", files.html.display());
    Ok(ExitCode::SUCCESS)
}

fn print(decision: &Decision) {
    print_arms(decision);
    println!();
    for node in decision.tree.iter().filter(|node| node.reached) {
        let answer = match node.answer {
            Answer::Yes => "yes",
            Answer::No => "no",
        };
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
    if !decision.flips.is_empty() {
        println!("  what would change it:");
    }
    for flip in &decision.flips {
        println!("  - {flip}");
    }
    println!();
}
