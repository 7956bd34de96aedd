//! `tunesmith questions`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use app::ask::service;
use app::models::Cache;
use app::questions::synthetic::{QuestionAuthor, write};
use app::questions::{Question, QuestionSet, Split};
use app::{Progress, Project};
use clap::Subcommand;
use serde_json::json;
use store::Store;

use super::index::open_knowledge;
use super::output::{self, Progress as Bar, plural};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Let the generator write questions about passages, to measure whether they find them
    Write {
        /// Number of questions that there will be in the end
        #[arg(long, default_value_t = 50)]
        count: usize,
    },
    /// Write the questions of a set without their answers, for another system to answer
    Export {
        /// The set
        set: String,
        /// Which of its questions
        #[arg(long, default_value = "test", value_parser = ["train", "dev", "test"])]
        split: String,
        /// Write to this file instead of standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// List the questions with the passages they are about
    List,
    /// Remove all written questions
    Drop,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    match &arguments.what {
        What::Export { set, split, out } => {
            export(&project, set, split, out.as_deref(), arguments.json)?;
        }
        What::Write { count } => write_some(&project, *count, arguments.json)?,
        What::List => {
            let all = Store::open_shared(&project.state()?)?.synthetic()?;
            if arguments.json {
                output::json(&all)?;
            } else {
                for one in all {
                    println!("{}  {} {}..{}", one.question, one.path, one.span.start, one.span.end);
                }
            }
        }
        What::Drop => {
            let gone = Store::open(&project.state()?)?.drop_synthetic()?;
            match arguments.json {
                true => output::json(&json!({"removed": gone}))?,
                false => println!("{} removed", plural(gone, "question")),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a JSON object a line: `id`, `instruction` where there is one, and `question`.
fn export(
    project: &Project,
    set: &str,
    split: &str,
    out: Option<&Path>,
    json: bool,
) -> anyhow::Result<()> {
    let set = QuestionSet::load(project, project.config.set(set)?)?;
    let split = Split::ALL.into_iter().find(|one| one.as_str() == split);
    let questions = split.map_or(&[][..], |split| set.of(split));
    let mut lines = String::new();
    for Question { id, instruction, text, .. } in questions {
        let mut row = json!({"id": id, "question": text});
        if !instruction.is_empty() {
            row["instruction"] = json!(instruction);
        }
        lines += &format!("{row}\n");
    }
    let Some(path) = out else {
        print!("{lines}");
        return Ok(());
    };
    std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))?;
    if json {
        return output::json(&json!({"written": questions.len(), "file": path}));
    }
    println!("{} written to {}", plural(questions.len(), "question"), path.display());
    println!(
        "next: answer them, one JSON object a line with `id` and `answer`, and name the file in a [[system]] \
         table of tunesmith.toml; then tunesmith compare",
    );
    Ok(())
}

fn write_some(project: &Project, count: usize, json: bool) -> anyhow::Result<()> {
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let mut knowledge = open_knowledge(project, &cache)?;
    let model = service::open_model(project, &cache)?;
    let mut bar = Bar::new("writing questions", count as u64);
    let author = QuestionAuthor { model: &model, name: &project.config.generator };
    let mut show = |so_far| bar.set(so_far as u64, "");
    let progress = &mut Progress::new(&stop, &mut show);
    let done = write(&mut knowledge, &author, count, progress)?;
    bar.finish();
    let all = knowledge.store.synthetic()?.len();
    if json {
        return output::json(
            &json!({"written": done.written, "passed_over": done.passed_over, "questions": all}),
        );
    }
    println!(
        "{} written, {} passed over; there are {all}. They are not what people ask: `tunesmith eval retrieval --synthetic` and \
         `tunesmith index build` show them apart, and no decision rests on them.",
        plural(done.written, "question"),
        plural(done.passed_over, "passage")
    );
    Ok(())
}
