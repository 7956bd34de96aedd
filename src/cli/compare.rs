//! `tunesmith compare`

use std::path::Path;
use std::process::ExitCode;

use app::ask::service;
use app::compare::decide::decide;
use app::compare::{
    ArmChoice, Bench, CompareEvent, CompareOptions, Comparison, ComparisonEstimate, DevUse,
};
use app::models::Cache;
use app::tune::adapters::Recipe;
use app::tune::{Pairs, TuneEvent};
use app::{Progress, Split};
use eval::figures::{percent_interval, points_interval};
use eval::{Arm, Decision, Gate, GateAnswer, Pruned, System};

use super::index::open_knowledge;
use super::output::{self, Progress as Bar, duration, plural};
use super::tune::TrainingView;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Names of question sets, or `all` [default: all]
    sets: Vec<String>,
    /// Setups to run: `auto` adds the fine-tuned ones unless it is shown that they are not needed,
    /// `all` runs every one, or name some, separated by commas
    #[arg(long = "setups", alias = "arms", default_value = "auto", value_name = "SETUPS")]
    arms: ArmChoice,
    /// Most adapters trained for each recipe, each from its own seed [default: `seeds` under
    /// `[training]`, 3]. Those after the first are trained only for setups still in question
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Most questions of dev, and of test
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Reason for opening the test split, which is logged
    #[arg(long, default_value = "compare")]
    reason: String,
    /// Print one JSON document with the comparisons
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let sets: Vec<_> = project.config.sets_named(&arguments.sets)?.into_iter().cloned().collect();
    let stop = super::stop_flag()?;
    let cache = Cache::from_env()?;
    let mut knowledge = open_knowledge(&project, &cache)?;
    let model = service::open_model(&project, &cache)?;
    let options = CompareOptions {
        arms: arguments.arms.clone(),
        seeds: arguments.seeds,
        limit: arguments.limit.map(|limit| limit as usize),
        reason: arguments.reason.clone(),
    };
    let mut comparisons: Vec<Comparison> = Vec::new();
    for set in &sets {
        let mut view = View::new(&set.name);
        let bench = Bench::new(&project, &mut knowledge, &model, set, &options)?;
        let mut show = |event| view.show(&event);
        let comparison = bench.compare(&mut Progress::new(&stop, &mut show))?;
        view.finish();
        let decided = decide(&mut knowledge.store, set)?;
        for smaller in &decided.decision.looks.passed_over {
            let (set, kept) = (&set.name, decided.decision.questions);
            eprintln!(
                "{set}: the comparison of {kept} questions before stays the evidence; left out: {smaller}"
            );
        }
        if !arguments.json {
            print_systems(&decided.decision);
            println!(
                "compared in {}; `tunesmith decide {}` says why",
                duration(comparison.seconds),
                set.name
            );
            println!();
        }
        comparisons.push(comparison);
    }
    if arguments.json {
        output::json(&comparisons)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The setups and systems of a decision as a table.
pub(crate) fn print_systems(decision: &Decision) {
    println!(
        "{}: {} on {} ({})",
        decision.set,
        decision.measure.title(),
        plural(decision.questions, "question"),
        plural(decision.clusters, "cluster")
    );
    println!(
        "  {:21} {:>24} {:>8} {:>7} {:>7} {:>8} {:>8}",
        "setup", "score (95 % interval)", "contains", "prompt", "answer", "p50", "p95"
    );
    for summary in &decision.systems {
        let note = match (summary.system.is_floor(), summary.system.is_diagnostic()) {
            (true, _) => "  baseline",
            (false, true) => "  diagnostic",
            (false, false) => "",
        };
        let cut = match summary.cut {
            0 => String::new(),
            cut => format!("  {cut} of {} cut", summary.trials),
        };
        println!(
            "  {:21} {:>24} {:>7.1}% {:>7.0} {:>7.1} {:>6.2} s {:>6.2} s{note}{cut}",
            summary.system.title(),
            percent_interval(summary.score),
            100.0 * summary.lenient,
            summary.prompt_tokens,
            summary.completion_tokens,
            summary.latency_p50,
            summary.latency_p95
        );
    }
}

/// Says what of the questions stands in two splits.
fn checked(set: &str, [dev, test]: [usize; 2], shared_documents: usize) {
    for (split, holders, count) in [("dev", "train or test", dev), ("test", "train", test)] {
        if count > 0 {
            eprintln!(
                "{set}: left out of {split}: {} that {holders} holds too",
                plural(count, "question")
            );
        }
    }
    if shared_documents > 0 {
        eprintln!(
            "{set}: {} with evidence for questions of more than one split",
            plural(shared_documents, "document")
        );
    }
}

/// A system that is there already takes part.
fn foreign(set: &str, system: System, (missing, of): (usize, usize), unused: usize) {
    let missing = match missing {
        missing if missing == of => "none of the test questions, and so not at all".to_owned(),
        0 => "all test questions".to_owned(),
        missing => format!("all but {missing} of the test questions"),
    };
    let unused = match unused {
        0 => String::new(),
        unused => format!("; not used: {}", plural(unused, "other answer")),
    };
    eprintln!("{set}: {system} takes part by its answers to {missing}{unused}");
}

/// Shows a comparison on standard error.
pub(super) struct View {
    set: String,
    bar: Option<Bar>,
    training: TrainingView,
    /// Adapters for each recipe, at most.
    seeds: u64,
}

impl View {
    pub(super) fn new(set: &str) -> Self {
        Self { set: set.to_owned(), bar: None, training: TrainingView::default(), seeds: 1 }
    }

    pub(super) fn show(&mut self, event: &CompareEvent) {
        let set = &self.set;
        match event {
            CompareEvent::Checked { left_out, shared_documents, contradictions } => {
                checked(set, *left_out, *shared_documents);
                for contradiction in contradictions {
                    eprintln!("{set}: warning: {contradiction}");
                }
            }
            CompareEvent::Planned(estimate) => {
                self.seeds = estimate.seeds;
                for line in plan(estimate) {
                    eprintln!("{set}: {line}");
                }
            }
            CompareEvent::Length(length) => eprintln!("{set}: {length}"),
            CompareEvent::Problems { split, problems } => {
                self.finish();
                for problem in problems {
                    eprintln!("{}: {}: {problem}", self.set, split.as_str());
                }
            }
            CompareEvent::Halved(halves) => eprintln!("{set}: {}", dev_use(*halves)),
            CompareEvent::Reranked(finding) => eprintln!("{set}: {finding}"),
            CompareEvent::Tuned { lexical_weight, recall } => {
                let found = 100.0 * recall;
                eprintln!(
                    "{set}: keyword weight {lexical_weight}: {found:.0} % of dev evidence is retrieved"
                );
            }
            CompareEvent::Swept { passages, sweep } => {
                let tried: Vec<String> = sweep
                    .iter()
                    .map(|(tried, score)| format!("{tried}: {:.1} %", 100.0 * score))
                    .collect();
                eprintln!(
                    "{set}: {passages} in a prompt answer best on dev ({})",
                    tried.join(", ")
                );
            }
            CompareEvent::Running { split, trials, reused } => {
                self.begin(*split, *trials, *reused);
            }
            CompareEvent::Trial(done) => {
                if let Some(bar) = &mut self.bar {
                    let remark = format!("{}, {} left", done.arm, duration(done.seconds_left));
                    bar.set(done.done as u64, &remark);
                }
            }
            CompareEvent::Gate(gate) => self.gate(gate),
            CompareEvent::Training { recipe, pairs, seed, event } => {
                self.train((*recipe, *pairs, *seed), event);
            }
            CompareEvent::FirstSeeds { scores, dropped, pruned } => {
                self.first_seeds(scores, dropped, pruned);
            }
            CompareEvent::Foreign { system, missing, of, unused } => {
                self.training.finish();
                foreign(set, *system, (*missing, *of), *unused);
            }
            CompareEvent::Opened => {
                self.training.finish();
                eprintln!("{set}: the test split is opened, and that is logged");
            }
        }
    }

    /// An adapter is trained, by recipe, pairs and seed.
    fn train(&mut self, (recipe, pairs, seed): (Recipe, Pairs, u64), event: &TuneEvent) {
        let (set, recipe) = (&self.set, recipe.as_str());
        let title = match pairs {
            Pairs::All => format!("{set}: {recipe} seed {seed}"),
            Pairs::Shuffled => format!("{set}: {recipe} on shuffled answers"),
            Pairs::Eighths(part) => format!("{set}: {recipe} on {part}/8 of the pairs"),
        };
        self.training.show(&title, event);
        if let (Pairs::All, 1, 2.., TuneEvent::Planned(plan)) = (pairs, seed, self.seeds, event)
            && let Some(seconds) = plan.estimate.seconds
        {
            let seeds = self.seeds;
            let all = duration(seconds * seeds as f64);
            eprintln!("{set}: {recipe}: with all {seeds} seeds at most about {all}");
        }
    }

    /// What dev shows of the setups with their first adapters.
    fn first_seeds(&mut self, scores: &[(Arm, f64)], dropped: &[Recipe], pruned: &[Pruned]) {
        self.finish();
        let set = &self.set;
        let scores: Vec<String> =
            scores.iter().map(|(arm, score)| format!("{arm}: {:.1} %", 100.0 * score)).collect();
        eprintln!("{set}: on dev with the first adapters: {}", scores.join(", "));
        for Pruned { system, best, difference, .. } in pruned {
            let behind = points_interval(difference.negated());
            eprintln!(
                "{set}: {system} is left out of the test: dev shows {best} ahead by {behind}"
            );
        }
        for recipe in dropped.iter().filter(|_| self.seeds > 1) {
            let recipe = recipe.as_str();
            eprintln!("{set}: {recipe} is not trained again: it is far below the best");
        }
    }

    /// The trials of a split begin.
    fn begin(&mut self, split: Split, trials: usize, reused: usize) {
        self.finish();
        let title = format!("{}: {}", self.set, split.as_str());
        let kept = if reused > 0 { format!(", {reused} are there already") } else { String::new() };
        eprintln!("{title}: {} to run{kept}", plural(trials, "trial"));
        self.bar = Some(Bar::new(&title, trials as u64));
    }

    fn gate(&mut self, gate: &Gate) {
        self.finish();
        let set = &self.set;
        let verdict = match gate.answer() {
            GateAnswer::Yes => "fine-tuning is due",
            GateAnswer::No => "fine-tuning is not needed yet",
            GateAnswer::Unknown => "these dev questions cannot tell whether fine-tuning is due",
        };
        let questions = plural(gate.questions, "dev question");
        eprintln!("{set}: has RAG hit its ceiling? On {questions}: {verdict}");
        for condition in &gate.conditions {
            let holds = match condition.answer {
                Some(GateAnswer::Unknown) => "unknown",
                _ if condition.holds => "yes",
                _ => "no",
            };
            eprintln!("{set}:   {holds:7} {} ({})", condition.statement, condition.measurement);
        }
    }

    pub(super) fn finish(&mut self) {
        self.training.finish();
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

/// What the dev questions are used for.
fn dev_use(halves: DevUse) -> String {
    let DevUse { choosing, gate, shared } = halves;
    let gate = plural(gate, "question");
    match (choosing, shared) {
        (0, _) => format!("dev: {gate} to read the gate from"),
        (_, true) => {
            format!("dev: {gate} choose the settings and read the gate, too few for halves")
        }
        (_, false) => format!("dev: {choosing} choose the settings, {gate} read the gate"),
    }
}

/// What a comparison will do and how long it should take.
fn plan(estimate: &ComparisonEstimate) -> Vec<String> {
    let names =
        |arms: &[eval::Arm]| arms.iter().map(|arm| arm.as_str()).collect::<Vec<_>>().join(", ");
    let cheap: Vec<_> =
        estimate.test_arms.iter().copied().filter(|arm| !arm.needs_adapter()).collect();
    let tuned: Vec<_> =
        estimate.test_arms.iter().copied().filter(|arm| arm.needs_adapter()).collect();
    let mut lines = vec![
        format!(
            "dev: {} ({}), about {}",
            names(&estimate.dev_arms),
            plural(estimate.dev_trials - estimate.dev_reused, "trial"),
            duration(estimate.dev_seconds)
        ),
        format!(
            "test: {} ({}), at most about {}",
            names(&cheap),
            plural(estimate.test_trials, "trial"),
            duration(estimate.test_seconds)
        ),
    ];
    if !tuned.is_empty() {
        lines.push(format!(
            "if fine-tuning is due: up to {} for each recipe, estimated then, and {} ({} each), at most \
             about {} each",
            plural(estimate.seeds as usize, "adapter"),
            names(&tuned),
            plural(estimate.fine_tuned_trials, "trial"),
            duration(estimate.fine_tuned_seconds)
        ));
    }
    lines
}
