//! Tuning the embedder, as `tunesmith tune --embedder` and `tunesmith eval retrieval --tune` have
//! it.

use std::path::Path;
use std::process::ExitCode;

use app::QuestionSet;
use app::models::Cache;
use app::tune::embedder::{
    EmbedderEvent, EmbedderTuneOptions, ProjectEmbedder, TunedEmbedder, Verdict,
};
use lm::{EmbedderOptions, EmbedderStep, Precision};

use super::index::open_knowledge;
use super::output::{self, Progress, bytes, duration, plural};

/// How it learns; what is left out has a default that was chosen on public data.
#[derive(clap::Args)]
#[command(next_help_heading = "Tuning the embedder")]
pub(crate) struct Learning {
    /// Most times that every pair of question and passage is seen; the best epoch on dev is kept
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pairs in one step; for each question the passages of the other pairs are negatives
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Negatives for each pair that look right and are not
    #[arg(long, value_name = "N")]
    negatives: Option<usize>,
    /// Highest learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Factor on the cosines before the softmax
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f32>,
    /// Train passages to find their questions, too
    #[arg(long)]
    symmetric: bool,
}

impl Learning {
    /// The options, with their defaults.
    pub(crate) fn options(
        &self,
        seed: u64,
        resume: bool,
        precision: Precision,
    ) -> EmbedderTuneOptions {
        let usual = EmbedderOptions::default();
        let training = EmbedderOptions {
            epochs: self.epochs.unwrap_or(usual.epochs),
            batch: self.batch.unwrap_or(usual.batch),
            negatives: self.negatives.unwrap_or(usual.negatives),
            learning_rate: self.learning_rate.unwrap_or(usual.learning_rate),
            scale: self.scale.unwrap_or(usual.scale),
            symmetric: self.symmetric || usual.symmetric,
            seed,
            ..usual
        };
        EmbedderTuneOptions { training, resume, precision, ..EmbedderTuneOptions::default() }
    }
}

/// `tunesmith tune SET --embedder`
pub(crate) fn run(
    project: Option<&Path>,
    set: &str,
    options: impl FnOnce(Precision) -> EmbedderTuneOptions,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let questions = QuestionSet::load(&project, project.config.set(set)?)?;
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let knowledge = open_knowledge(&project, &cache)?;
    let options = options(project.config.embedder_precision);
    let mut view = View::default();
    let mut report = |event| view.show(&event);
    let embedder = ProjectEmbedder { project: &project, knowledge: &knowledge, cache: &cache };
    let mut progress = app::Progress::new(&stop, &mut report);
    let tuned = embedder.tune(&questions, &options, &mut progress)?;
    view.finish();
    if json {
        output::json(&tuned)?;
        return Ok(ExitCode::SUCCESS);
    }
    summary(&tuned);
    let folder = tuned.folder.strip_prefix(&project.root).unwrap_or(&tuned.folder);
    match tuned.verdict {
        Verdict::Better => println!(
            "It is better on dev. To adopt it, set `embedder = {:?}` below [models] in \
             tunesmith.toml and run `tunesmith index build --adopt`.",
            folder.display().to_string()
        ),
        Verdict::Undetermined => println!(
            "That may be chance: {} are too few to tell. Keep the embedder you have, or add \
             questions; the tuned one is in {}.",
            plural(tuned.dev, "dev question"),
            folder.display()
        ),
        Verdict::NotBetter => {
            println!(
                "It is not better on dev: keep the embedder you have. The tuned one is in {}.",
                folder.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the measures on dev, before and after.
pub(crate) fn summary(tuned: &TunedEmbedder) {
    println!(
        "{} over {}; epoch {} of {} was best",
        plural(tuned.dev, "dev question"),
        plural(tuned.passages, "passage"),
        tuned.best_epoch,
        tuned.epochs.len()
    );
    println!("{:10}{:>22}{:>22}{:>22}", "", "nDCG@10", "recall@10", "MRR@10");
    let (before, after) = (&tuned.before, &tuned.after);
    for (name, before, after) in
        [("vectors", before.vectors, after.vectors), ("fused", before.fused, after.fused)]
    {
        let pair = |before: f64, after: f64| format!("{before:.4} -> {after:.4}");
        println!(
            "{name:10}{:>22}{:>22}{:>22}",
            pair(before.ndcg_at_10, after.ndcg_at_10),
            pair(before.recall_at_10, after.recall_at_10),
            pair(before.mrr_at_10, after.mrr_at_10)
        );
    }
    for (name, interval) in
        [("vectors", tuned.difference_vectors), ("fused", tuned.difference_fused)]
    {
        println!(
            "nDCG@10, {name}: {:+.4} [{:+.4}, {:+.4}]",
            interval.estimate, interval.lower, interval.upper
        );
    }
}

/// Shows a run on standard error.
#[derive(Default)]
pub(crate) struct View {
    embedding: Option<Progress>,
    training: Option<Progress>,
    /// Of the whole run.
    tokens: usize,
}

impl View {
    pub(crate) fn show(&mut self, event: &EmbedderEvent) {
        match event {
            EmbedderEvent::Embedding { done, passages } => {
                let total = *passages as u64;
                let progress =
                    self.embedding.get_or_insert_with(|| Progress::new("embedding", total));
                progress.set(*done as u64, "");
                if done == passages
                    && let Some(progress) = self.embedding.take()
                {
                    progress.finish();
                }
            }
            EmbedderEvent::Planned { train, left_out, dev, negatives, estimate, before } => {
                let left_out = match left_out {
                    0 => String::new(),
                    n => format!(" ({n} left out: held-out questions are nearly the same)"),
                };
                self.line(&format!(
                    "{} to learn from{left_out}, {}, {} found for them, {dev} to choose by",
                    plural(*train, "question"),
                    plural(estimate.pairs, "pair"),
                    plural(*negatives, "negative")
                ));
                self.line(&format!(
                    "at most {}, {} tokens, {:.1} TFLOP, {} of memory",
                    plural(estimate.steps, "step"),
                    estimate.tokens,
                    estimate.operations / 1e12,
                    bytes(estimate.bytes)
                ));
                self.line(&format!(
                    "untuned, on dev: nDCG@10 {:.4} by vectors, {:.4} fused",
                    before.vectors.ndcg_at_10, before.fused.ndcg_at_10
                ));
                self.tokens = estimate.tokens;
                self.training = Some(Progress::new("training", estimate.steps as u64));
            }
            EmbedderEvent::Resumed { step } => self.line(&format!("goes on from step {step}")),
            EmbedderEvent::Step { step, tokens_per_second } => self.step(step, *tokens_per_second),
            EmbedderEvent::Epoch(epoch) => {
                let note = if epoch.best { ", the best so far" } else { "" };
                let loss = epoch.loss.map_or_else(String::new, |loss| format!(" loss {loss:.3};"));
                self.line(&format!(
                    "epoch {}:{loss} on dev: nDCG@10 {:.4} by vectors, {:.4} fused{note}",
                    epoch.epoch, epoch.vectors, epoch.fused
                ));
            }
        }
    }

    fn step(&mut self, step: &EmbedderStep, tokens_per_second: f64) {
        // All steps are equally large, except the last of an epoch.
        let left = self.tokens as f64 * (1.0 - step.step as f64 / step.steps as f64);
        let left = duration(left / tokens_per_second);
        if let Some(progress) = &mut self.training {
            let remark =
                format!("loss {:.3}, {tokens_per_second:.0} tokens/s, {left} left", step.loss);
            progress.set(step.step as u64, &remark);
        }
    }

    fn line(&self, text: &str) {
        match &self.training {
            Some(progress) => progress.line(text),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn finish(&mut self) {
        for progress in [self.embedding.take(), self.training.take()].into_iter().flatten() {
            progress.finish();
        }
    }
}
