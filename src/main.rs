//! tunesmith: RAG, fine-tuning, or both? Builds all of them on your own documents, measures them,
//! and serves the winner.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Verb};

fn main() -> ExitCode {
    let Cli { project, threads, verb } = Cli::parse();
    if let Err(error) = lm::start_threads(threads) {
        return cli::output::fail(&error.into());
    }
    let project = project.as_deref();
    let done = match verb {
        Verb::Init(arguments) => cli::init::run(&arguments),
        Verb::Model(arguments) => cli::model::run(&arguments),
        Verb::Ingest(arguments) => cli::ingest::run(project, &arguments),
        Verb::Index(arguments) => cli::index::run(project, &arguments),
        Verb::Questions(arguments) => cli::questions::run(project, &arguments),
        Verb::Search(arguments) => cli::search::run(project, &arguments),
        Verb::Ask(arguments) => cli::ask::run(project, &arguments),
        Verb::Tune(arguments) => cli::tune::run(project, &arguments),
        Verb::Compare(arguments) => cli::compare::run(project, &arguments),
        Verb::Decide(arguments) => cli::decide::run(project, &arguments),
        Verb::Check(arguments) => cli::check::run(project, &arguments),
        Verb::Eval(arguments) => cli::eval::run(project, &arguments),
        Verb::Key(arguments) => cli::key::run(project, &arguments),
        Verb::Serve(arguments) => cli::serve::run(project, &arguments),
        Verb::Reference(arguments) => Ok(cli::reference::run(&arguments)),
    };
    done.unwrap_or_else(|error| cli::output::fail(&error))
}
