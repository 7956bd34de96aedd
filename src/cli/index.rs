//! `tunesmith index`

use std::path::Path;
use std::process::ExitCode;

use app::index::{IndexComparison, IndexEvent, build, compare, switch};
use app::models::Cache;
use app::search::recipe::IndexRecipe;
use app::{Knowledge, Progress, Project, time};
use clap::Subcommand;
use serde_json::json;
use store::{IndexId, IndexRow, Store};

use super::output::{self, Progress as Bar, duration, plural};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// List the indexes, which is also what `tunesmith index` alone does
    List,
    /// Build an index as tunesmith.toml now says, beside the one in use, and compare the two on the
    /// dev questions
    Build {
        /// Use the new index from now on if it is not worse on any question set
        #[arg(long)]
        adopt: bool,
    },
    /// Bring an index up to date and use it from now on
    Use {
        /// Number of the index, as `tunesmith index` lists it
        index: i64,
    },
    /// Remove an index that is not in use
    Drop {
        /// Number of the index, as `tunesmith index` lists it
        index: i64,
    },
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    match arguments.what {
        None | Some(What::List) => list(&project, arguments.json)?,
        Some(What::Build { adopt }) => build_beside(&project, adopt, arguments.json)?,
        Some(What::Use { index }) => {
            take(&project, IndexId(index), arguments.json)?;
        }
        Some(What::Drop { index }) => {
            Store::open(&project.state()?)?.drop_index(IndexId(index))?;
            match arguments.json {
                true => list(&project, true)?,
                false => println!("index {index} is removed"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(project: &Project, json: bool) -> anyhow::Result<()> {
    let rows = Store::open_shared(&project.state()?)?.indexes()?;
    if json {
        return output::json(&rows.iter().map(described).collect::<Vec<_>>());
    }
    for row in rows {
        let recipe = IndexRecipe::read(row.recipe.as_deref());
        let recipe =
            recipe.map_or_else(|| "not written down".to_owned(), |recipe| recipe.to_string());
        let state = match (row.in_use, row.lacking) {
            (true, _) => "in use".to_owned(),
            (false, 0) => "complete".to_owned(),
            (false, lacking) => format!("lacks {}", plural(lacking, "document")),
        };
        let (chunks, day) = (plural(row.chunks, "chunk"), &time::rfc3339(row.made_at)[..10]);
        println!("{:>3}  {state}, {chunks} of {recipe}, begun {day}", row.id.0);
    }
    Ok(())
}

fn described(row: &IndexRow) -> serde_json::Value {
    json!({
        "index": row.id,
        "in_use": row.in_use,
        "recipe": IndexRecipe::read(row.recipe.as_deref()),
        "embedder": row.embedder,
        "chunks": row.chunks,
        "lacking": row.lacking,
    })
}

fn build_beside(project: &Project, adopt: bool, json: bool) -> anyhow::Result<()> {
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let mut shown = Shown::default();
    let index = build(project, &cache, &mut Progress::new(&stop, &mut |event| shown.event(event)))?;
    shown.finish();
    let in_use = Store::open(&project.state()?)?.index_in_use()?;
    if index == in_use {
        match json {
            true => output::json(&json!({"index": index, "in_use": true}))?,
            false => println!(
                "the index in use is what tunesmith.toml asks for: there is nothing to build"
            ),
        }
        return Ok(());
    }
    if !json {
        println!("index {} is complete beside index {}, which is in use", index.0, in_use.0);
    }
    let compared = compare(project, &cache, index, &stop)?;
    let not_worse = compared.is_not_worse();
    let taken = adopt && not_worse == Some(true);
    if taken {
        switch(project, &cache, index, &mut Progress::new(&stop, &mut |_| ()))?;
    }
    if json {
        return output::json(
            &json!({"index": index, "in_use": taken, "not_worse": not_worse, "sets": compared.sets}),
        );
    }
    print_compared(&compared, index, in_use);
    print_verdict(not_worse, taken, index, in_use);
    Ok(())
}

/// Says what came of the comparison: whether the new index is worse, and which is in use now.
fn print_verdict(not_worse: Option<bool>, taken: bool, index: IndexId, in_use: IndexId) {
    match (not_worse, taken) {
        (_, true) => {
            println!(
                "It is not worse, so it is in use now; `tunesmith index use {}` goes back.",
                in_use.0
            )
        }
        (Some(true), false) => {
            println!("It is not worse. To take it into use: `tunesmith index use {}`.", index.0)
        }
        (Some(false), _) => {
            println!(
                "It is worse, so index {} stays in use; `tunesmith index use {}` takes it anyway.",
                in_use.0, index.0
            );
        }
        (None, _) => println!(
            "No question set names evidence, so nothing says which is better (`tunesmith questions write` makes some). To take it into use: `tunesmith index use {}`.",
            index.0
        ),
    }
}

fn print_compared(compared: &IndexComparison, index: IndexId, in_use: IndexId) {
    for set in &compared.sets {
        let kind = if set.synthetic { "synthetic question" } else { "dev question" };
        println!("{}, {}:", set.set, plural(set.questions, kind));
        for (index, found) in [(in_use, set.before), (index, set.after)] {
            println!(
                "  index {}: evidence in the first 5 {:.3}, mean reciprocal rank {:.3}; 5 passages are {:.0} characters",
                index.0, found.recall_at_5, found.mrr_at_10, found.characters
            );
        }
        let difference = set.difference;
        println!(
            "  difference in reciprocal rank {:+.3}, 95 % interval {:+.3} to {:+.3}",
            difference.estimate, difference.lower, difference.upper
        );
    }
}

fn take(project: &Project, index: IndexId, json: bool) -> anyhow::Result<()> {
    let stop = super::stop_flag()?;
    let mut shown = Shown::default();
    let cache = Cache::from_env()?;
    let mut show = |event| shown.event(event);
    let recipe = switch(project, &cache, index, &mut Progress::new(&stop, &mut show))?;
    shown.finish();
    note(project, &recipe);
    match json {
        true => list(project, true),
        false => {
            println!("index {} is in use: {recipe}", index.0);
            Ok(())
        }
    }
}

/// Opens what a project knows, with a note where `tunesmith.toml` asks for another index.
pub(crate) fn open_knowledge(project: &Project, cache: &Cache) -> anyhow::Result<Knowledge> {
    noted(project, Knowledge::open(project, cache)?)
}

/// As [`open_knowledge`], to find and look up whoever else uses the project.
pub(crate) fn open_shared(project: &Project, cache: &Cache) -> anyhow::Result<Knowledge> {
    noted(project, Knowledge::open_shared(project, cache)?)
}

fn noted(project: &Project, knowledge: Knowledge) -> anyhow::Result<Knowledge> {
    note(project, &knowledge.recipe);
    Ok(knowledge)
}

/// Says on standard error that the configuration asks for another index than the one in use.
pub(crate) fn note(project: &Project, in_use: &IndexRecipe) {
    let asked = IndexRecipe::of(&project.config);
    if *in_use != asked {
        eprintln!(
            "note: tunesmith.toml asks for another index ({asked}) than the one in use ({in_use}); `tunesmith index build` builds it"
        );
    }
}

/// The progress of filling an index.
#[derive(Default)]
struct Shown {
    bar: Option<Bar>,
}

impl Shown {
    fn event(&mut self, event: IndexEvent) {
        match event {
            IndexEvent::Begun { documents: 0, .. } => {}
            IndexEvent::Begun { documents, seconds } => {
                let bar = Bar::new("embedding", documents as u64);
                let time = if seconds > 0.0 {
                    format!(", about {}", duration(seconds))
                } else {
                    String::new()
                };
                bar.line(&format!("{} to cut and embed{time}", plural(documents, "document")));
                self.bar = Some(bar);
            }
            IndexEvent::Done(done) => {
                if let Some(bar) = &mut self.bar {
                    bar.set(done as u64, "");
                }
            }
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}
