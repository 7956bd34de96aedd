//! `tunesmith tune`

use std::path::Path;
use std::process::ExitCode;

use app::QuestionSet;
use app::ask::service;
use app::models::Cache;
use app::tune::adapters::Recipe;
use app::tune::{Pairs, Resume, TrainingPlan, TuneEvent, TuneRequest, Tuner};
use lm::TrainEvent;

use super::embedder::{self, Learning};
use super::index::open_knowledge;
use super::output::{self, Progress, bytes, duration, plural};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Question set to train on
    set: String,
    /// Train the embedder instead, so that questions find the passages that hold their evidence
    #[arg(long, conflicts_with_all = ["recipe", "again", "show", "dry_run"])]
    embedder: bool,
    /// What the prompts of the examples hold: `plain` is the question alone, `raft` adds retrieved
    /// passages, among them the one that holds the answer
    #[arg(long, default_value = "plain")]
    recipe: Recipe,
    /// Seed of the first weights and of the order of examples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Continue an interrupted run from its checkpoint
    #[arg(long)]
    resume: bool,
    /// Train again even if the same adapter exists
    #[arg(long)]
    again: bool,
    /// Print one example as the model sees it, with its mask, and stop
    #[arg(long)]
    show: bool,
    /// Print the options and the estimate, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document at the end: the adapter's manifest, or the result for the embedder
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    learning: Learning,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.embedder {
        let Arguments { learning, seed, resume, .. } = arguments;
        let options = |precision| learning.options(*seed, *resume, precision);
        return embedder::run(project, &arguments.set, options, arguments.json);
    }
    let project = super::open_project(project)?;
    let mut set = QuestionSet::load(&project, project.config.set(&arguments.set)?)?;
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let mut knowledge = open_knowledge(&project, &cache)?;
    // As `compare` does, whose adapters watch the same dev questions.
    set.leave_out_paraphrases(&knowledge.encoder)?;
    let model = service::open_model(&project, &cache)?;
    let recipe = arguments.recipe;
    let mut tuner =
        Tuner { project: &project, knowledge: &mut knowledge, model: &model, set: &set };
    if arguments.show {
        let lessons = tuner.lessons(recipe, Pairs::All, &stop)?;
        println!(
            "{} to learn from, {} to watch; the first, with what is trained in brackets:",
            plural(lessons.train.len(), "example"),
            lessons.dev.len()
        );
        if let Some(first) = lessons.train.first() {
            print!("{}", lm::show(first, &model.tokenizer));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let request = TuneRequest {
        pairs: Pairs::All,
        recipe,
        seed: arguments.seed,
        resume: if arguments.resume { Resume::Yes } else { Resume::No },
        again: arguments.again,
        dry_run: arguments.dry_run,
    };
    let mut view = TrainingView::default();
    let title = format!("{} ({})", arguments.set, recipe.as_str());
    let mut report = |event| view.show(&title, &event);
    let manifest = tuner.tune(&request, &mut app::Progress::new(&stop, &mut report))?;
    view.finish();
    let Some(manifest) = manifest else { return Ok(ExitCode::SUCCESS) };
    if arguments.json {
        output::json(&manifest)?;
    } else {
        println!(
            "adapter {} in {}",
            manifest.name(),
            project.adapter_folder(&manifest.set, recipe.as_str(), manifest.seed).display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a training run on standard error.
#[derive(Default)]
pub(crate) struct TrainingView {
    progress: Option<Progress>,
}

impl TrainingView {
    pub(crate) fn show(&mut self, title: &str, event: &TuneEvent) {
        match event {
            TuneEvent::Reused(manifest) => {
                self.line(&format!(
                    "{title}: adapter {} is up to date: nothing to train",
                    manifest.name()
                ));
            }
            TuneEvent::Planned(plan) => self.plan(title, plan),
            TuneEvent::Training(event) => self.training(title, event),
            TuneEvent::Saved(manifest) => {
                let loss = manifest
                    .dev_loss
                    .map_or_else(String::new, |loss| format!(", dev loss {loss:.3}"));
                self.line(&format!(
                    "{title}: trained in {}, weights of step {}{loss}",
                    duration(manifest.seconds),
                    manifest.best_step
                ));
            }
        }
    }

    fn plan(&mut self, title: &str, plan: &TrainingPlan) {
        let TrainingPlan { train, dev, options, estimate, available } = plan;
        let time = estimate.seconds.map_or_else(|| "unknown time".to_owned(), duration);
        let free = available
            .map_or_else(String::new, |available| format!(" of {} free", bytes(available)));
        self.line(&format!(
            "{title}: {} to learn from, {dev} to watch; rank {}, alpha {}, learning rate {}, \
             at most {}, {} tokens a step, seed {}",
            plural(*train, "example"),
            options.lora.rank,
            options.lora.alpha,
            options.learning_rate,
            plural(options.epochs, "epoch"),
            options.batch_tokens,
            options.seed
        ));
        self.line(&format!(
            "{title}: {}, {} tokens ({} trained); about {time} and {}{free}",
            plural(estimate.steps, "step"),
            estimate.tokens,
            estimate.trained_tokens,
            bytes(estimate.memory.additional())
        ));
        self.progress = Some(Progress::new(title, estimate.steps as u64));
    }

    fn training(&mut self, title: &str, event: &TrainEvent) {
        match event {
            TrainEvent::Resumed { step } => {
                self.line(&format!("{title}: goes on from step {step}"))
            }
            TrainEvent::Step { step, loss, tokens_per_second, seconds_left, .. } => {
                if let Some(progress) = &mut self.progress {
                    let remark = format!(
                        "loss {loss:.3}, {tokens_per_second:.0} tokens/s, {} left",
                        duration(*seconds_left)
                    );
                    progress.set(*step as u64, &remark);
                }
            }
            TrainEvent::Evaluated { step, dev_loss, best } => {
                let note = if *best { ", the best so far" } else { "" };
                self.line(&format!("{title}: step {step}: dev loss {dev_loss:.4}{note}"));
            }
            TrainEvent::StoppedEarly { best_step, .. } => {
                self.line(&format!(
                    "{title}: stopped early, dev loss was best at step {best_step}"
                ));
            }
            _ => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.line(text),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn finish(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}
