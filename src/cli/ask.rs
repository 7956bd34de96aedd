//! `tunesmith ask`

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use app::Service;
use app::ask::{Answer, AskRequest};
use app::models::Cache;
use eval::Arm;

use super::filter::FilterArguments;
use super::index::note;
use super::output;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Question to answer
    question: String,
    /// Answer as the winner of this question set does
    #[arg(long)]
    set: Option<String>,
    /// Answer as this setup does [default: the winner of the set, or rag without a set]
    #[arg(long)]
    arm: Option<Arm>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Number of passages in the prompt [default: as configured or tuned]
    #[arg(short, long)]
    k: Option<usize>,
    /// Most tokens of the answer [default: as the set says]
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Show what was retrieved, and the time and tokens of every stage
    #[arg(long)]
    explain: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let set = arguments.set.as_deref().map(|name| project.config.set(name).cloned()).transpose()?;
    let filter = arguments.filter.resolve(&project.config)?;
    let stop = super::stop_flag()?;
    let service = Service::open_shared(project, &Cache::from_env()?)?;
    note(&service.project, &service.knowledge().recipe);
    let request = AskRequest {
        question: &arguments.question,
        set: set.as_ref(),
        arm: arguments.arm,
        passages: arguments.k,
        filter,
        max_tokens: arguments.max_tokens,
        ..AskRequest::default()
    };
    let mut out = std::io::stdout().lock();
    let answer = service.ask(&request, &mut |text| {
        let written = arguments.json || write!(out, "{text}").and_then(|()| out.flush()).is_ok();
        if !written || stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    drop(out);
    if arguments.json {
        output::json(&answer)?;
    } else {
        println!();
        print_support(&answer);
        if arguments.explain {
            explain(&answer);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_support(answer: &Answer) {
    if answer.truncated {
        println!("(cut at its longest length)");
    }
    for note in &answer.notes {
        println!("note: {note}");
    }
    let unsupported: Vec<&str> = answer
        .support
        .claims
        .iter()
        .filter(|claim| !claim.is_supported())
        .map(|claim| &answer.text[claim.span.clone()])
        .collect();
    if answer.supported == Some(false) {
        println!();
        for sentence in unsupported {
            println!("not supported by the documents: {sentence}");
        }
    }
    if !answer.support.citations.is_empty() {
        println!();
    }
    for (number, citation) in answer.support.citations.iter().enumerate() {
        let place = citation.heading_path.join(" > ");
        println!(
            "[{}] {} {}..{}  {place}",
            number + 1,
            citation.document,
            citation.span.start,
            citation.span.end
        );
        println!("    \"{}\"", citation.quote.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

fn explain(answer: &Answer) {
    let seconds = &answer.seconds;
    println!();
    println!("setup       {}", answer.arm);
    for (rank, hit) in answer.hits.iter().enumerate() {
        let cosine =
            hit.explain.cosine.map_or_else(|| "none".to_owned(), |cosine| format!("{cosine:.3}"));
        println!(
            "passage {}   {} {}..{}, cosine {cosine}",
            rank + 1,
            hit.path,
            hit.span.start,
            hit.span.end
        );
    }
    if let Some(relevance) = answer.relevance {
        println!("relevance   {relevance:.3}, the cosine of the best passage");
    }
    let stages = [
        ("embed", seconds.embed, String::new()),
        ("search", seconds.search, String::new()),
        ("rerank", seconds.rerank, String::new()),
        ("render", seconds.render, String::new()),
        (
            "prefill",
            seconds.prefill,
            format!("{} tokens, {} of them cached", answer.tokens.prompt, answer.tokens.cached),
        ),
        ("decode", seconds.decode, format!("{} tokens", answer.tokens.completion)),
        ("cite", seconds.cite, String::new()),
        ("total", seconds.total, format!("first token after {:.3} s", seconds.first_token)),
    ];
    let idle = |stage: &str, seconds: f64| stage == "rerank" && seconds == 0.0;
    for (stage, seconds, note) in
        stages.into_iter().filter(|(stage, seconds, _)| !idle(stage, *seconds))
    {
        println!("{stage:11} {seconds:7.3} s  {note}");
    }
}
