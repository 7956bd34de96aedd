//! `tunesmith search`

use std::path::Path;
use std::process::ExitCode;

use app::Error;
use app::models::Cache;
use app::search::knowledge::{Retrieved, Wanted};
use store::Hit;

use super::filter::FilterArguments;
use super::index::open_shared;
use super::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to look for
    query: String,
    /// Number of passages to show
    #[arg(short, long, default_value_t = 5)]
    k: usize,
    /// Keyword weight from 0 (vectors only) to 1 (words only) [default: as configured or tuned]
    #[arg(long)]
    lexical_weight: Option<f32>,
    /// Number of passages before and after each hit that are shown with it [default: as configured]
    #[arg(long, value_name = "N")]
    neighbours: Option<usize>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Show how each score was computed
    #[arg(long)]
    explain: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let filter = arguments.filter.resolve(&project.config)?;
    let knowledge = open_shared(&project, &Cache::from_env()?)?;
    if !knowledge.store.has_documents()? {
        return Err(Error::NoDocuments.into());
    }
    let configured = knowledge.wanted(None)?;
    let weight = arguments.lexical_weight.unwrap_or(configured.lexical_weight);
    let wanted = Wanted {
        hits: arguments.k,
        lexical_weight: weight,
        filter,
        neighbours: arguments.neighbours.unwrap_or(configured.neighbours),
        ..configured
    };
    let retrieved = knowledge.search(&arguments.query, &wanted)?;
    if arguments.json {
        output::json(&retrieved)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&retrieved, arguments.explain.then_some(weight));
    Ok(ExitCode::SUCCESS)
}

/// Prints the hits; with a BM25 weight also how every score came about.
fn print(retrieved: &Retrieved, explain_with: Option<f32>) {
    if retrieved.hits.is_empty() {
        println!("nothing was found");
    }
    for (rank, hit) in retrieved.hits.iter().enumerate() {
        let place = hit.heading_path.join(" > ");
        println!("{}. {} {}..{}  {place}", rank + 1, hit.path, hit.span.start, hit.span.end);
        if let Some(weight) = explain_with {
            print_score(hit, weight);
        }
        if !hit.also_in.is_empty() {
            let others: Vec<&str> = hit.also_in.iter().map(|place| place.path.as_str()).collect();
            println!("   the same stands in {}", others.join(", "));
        }
        for line in hit.text.trim().lines() {
            println!("   {line}");
        }
        println!();
    }
    if explain_with.is_some() {
        println!(
            "embedding {:.1} ms, searching {:.1} ms, reranking {:.1} ms",
            1e3 * retrieved.embed_seconds,
            1e3 * retrieved.search_seconds,
            1e3 * retrieved.rerank_seconds
        );
    }
}

fn print_score(hit: &Hit, weight: f32) {
    let explain = &hit.explain;
    println!(
        "   score {:.3} = {weight} x {:.3} (words: {}) + {} x {:.3} (vectors: {})",
        hit.score,
        explain.bm25_norm,
        part(explain.bm25, explain.bm25_rank),
        1.0 - weight,
        explain.cosine_norm,
        part(explain.cosine, explain.cosine_rank)
    );
    if let Some(score) = explain.reranked {
        println!("   reranker {score:.3}");
    }
}

fn part(score: Option<f32>, rank: Option<usize>) -> String {
    match (score, rank) {
        (Some(score), Some(rank)) => format!("{score:.3}, place {rank}"),
        (Some(score), None) => format!("{score:.3}, not among the candidates"),
        _ => "none".to_owned(),
    }
}
