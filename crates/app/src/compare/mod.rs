//! Arms x questions -> trials -> measures: what a decision is made from.
//!
//! Dev first: retrieval is tuned, `rag` and `oracle` run, and the ceiling gate is read. The
//! fine-tuned arms are trained when it opens or the user asks. Only then is the test split opened,
//! which the store logs, and every arm runs on it. Trials are kept under a hash of all they depend
//! on, so a repeated comparison costs nothing and a changed input runs again.

pub mod decide;
mod plan;
mod record;
mod trials;
mod tuning;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use eval::{Arm, Costs, Gate, GateOptions, Trial, gate};
use lm::Model;

use plan::Material;
pub use plan::{ArmChoice, Estimate};
pub(crate) use record::documents_hash;
pub use record::{Comparison, TrainingRecord};
pub use trials::{Progress, Speed};
pub use tuning::RerankFinding;

use crate::ask::shots::Shots;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::questions::{Question, QuestionSet, Split, sample};
use crate::search::grounding::{Grounded, ground, recall, reciprocal_rank};
use crate::search::knowledge::{DEFAULT_PASSAGES, Knowledge, Wanted};
use crate::tune::adapters::{Manifest, Recipe};
use crate::tune::{Resume, TuneEvent, TuneRequest, Tuner};
use trials::{Runner, Weights};

/// Hits looked at for each question: enough for the prompt, the distractors and the rank of the
/// evidence.
const HITS: usize = 12;

/// What to compare.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Which arms.
    pub arms: ArmChoice,
    /// Adapters trained for each recipe, with seeds 1, 2, …
    pub seeds: u64,
    /// Questions of each split at most; a sample that only grows with the number.
    pub limit: Option<usize>,
    /// Why the test split is opened, for the log.
    pub reason: String,
}

/// What happens during [`compare`].
#[derive(Debug)]
pub enum CompareEvent<'a> {
    /// What will be done and how long it should take, before anything long starts.
    Planned(&'a Estimate),
    /// The share of BM25 that finds most dev evidence.
    Tuned {
        /// The share.
        lexical_weight: f32,
        /// Share of dev questions whose evidence is in the prompt with it.
        recall: f64,
    },
    /// The configured reranker was measured on dev.
    Reranked(&'a RerankFinding),
    /// The number of passages that answers best on dev.
    Swept {
        /// The number.
        passages: usize,
        /// What was tried, in this order: passages in a prompt, mean score of `rag`.
        sweep: &'a [(usize, f64)],
    },
    /// A split is about to be run.
    Running {
        /// Which.
        split: Split,
        /// Trials to run.
        trials: usize,
        /// Trials that are there already.
        reused: usize,
    },
    /// A trial is done.
    Trial(Progress),
    /// The ceiling gate was read.
    Gate(&'a Gate),
    /// An adapter is being trained.
    Training {
        /// The recipe.
        recipe: Recipe,
        /// The seed.
        seed: u64,
        /// What happened.
        event: TuneEvent,
    },
    /// The test split was opened and logged.
    Opened,
}

/// Compares the arms of one set and stores the comparison.
///
/// # Errors
/// Problems in the question files or with the evidence, a missing document or model,
/// [`Error::Interrupted`]: finished trials are kept, and running again goes on from them.
pub fn compare(
    project: &Project,
    knowledge: &mut Knowledge,
    model: &Model,
    set: &SetConfig,
    options: &CompareOptions,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(CompareEvent),
) -> Result<Comparison> {
    let start = Instant::now();
    let questions = QuestionSet::load(project, set)?;
    let evidence = questions.has_evidence();
    let material = Material { documents: knowledge.store.has_documents()?, evidence };
    if evidence && !material.documents {
        return Err(Error::NoDocuments);
    }
    let dev = sample(&questions.dev, options.limit);
    let test = sample(&questions.test, options.limit);
    let candidates = tuning::passage_candidates(knowledge, set, evidence);
    let most = candidates.iter().copied().max().unwrap_or(DEFAULT_PASSAGES);
    let weight = tuning::lexical_weight(knowledge, set, &dev, candidates[0], stop, on_event)?;
    let mut grounding = Wanted {
        hits: HITS.max(2 * most),
        lexical_weight: weight,
        filter: set.filter(),
        neighbours: knowledge.neighbours(),
        rerank: false,
    };
    let reranking = tuning::reranker(knowledge, set, &dev, &grounding, candidates[0], stop)?;
    if let Some(finding) = &reranking {
        on_event(CompareEvent::Reranked(finding));
    }
    grounding.rerank = knowledge.reranks(Some(set))?;
    let shots = Shots::new(&knowledge.encoder, &questions.train)?;

    // Dev: `rag` with each number of passages and `oracle`, then the gate.
    let dev_grounded = ground(knowledge, &dev, &grounding, stop)?;
    let mut runner = Runner::new(model, knowledge, set, candidates[0], &shots, stop);
    let sized = runner.jobs(&dev, &dev_grounded, &material.possible(plan::CHEAP), &[])?;
    let mut dev_jobs = Vec::new();
    let (rag, gold) = (material.possible([Arm::Rag]), material.possible([Arm::Oracle]));
    for passages in &candidates {
        runner.passages = *passages;
        dev_jobs.extend(runner.jobs(&dev, &dev_grounded, &rag, &[])?);
    }
    let rag_jobs = dev_jobs.len();
    dev_jobs.extend(runner.jobs(&dev, &dev_grounded, &gold, &[])?);
    let test_arms = plan::test_arms(&options.arms, material, true);
    let estimate = plan::estimate(
        &mut runner,
        set,
        &dev_jobs,
        &sized,
        &[rag, gold].concat(),
        &test_arms,
        test.len(),
    )?;
    on_event(CompareEvent::Planned(&estimate));
    let (rag_jobs, gold_jobs) = dev_jobs.split_at(rag_jobs);
    let (mut sweep, mut swept) = (Vec::new(), Vec::new());
    for (passages, jobs) in candidates.iter().zip(rag_jobs.chunks(dev.len().max(1))) {
        runner.passages = *passages;
        let trials = runner.run(Split::Dev, jobs, &dev, &dev_grounded, on_event)?;
        sweep.push((*passages, mean(trials.iter().filter_map(|trial| trial.score))));
        swept.push(trials);
    }
    let passages = tuning::best_passages(&sweep).unwrap_or(candidates[0]);
    let chosen = sweep.iter().position(|(tried, _)| *tried == passages);
    let mut dev_trials = chosen.map(|index| swept.swap_remove(index)).unwrap_or_default();
    dev_trials.extend(runner.run(Split::Dev, gold_jobs, &dev, &dev_grounded, on_event)?);
    if sweep.len() > 1 {
        knowledge.put_passages(&set.name, passages)?;
        on_event(CompareEvent::Swept { passages, sweep: &sweep });
    }
    let gate = read_gate(set, &dev_trials, &sweep)?;
    if let Some(gate) = &gate {
        on_event(CompareEvent::Gate(gate));
    }

    // Training, when it is due.
    // Without documents there is no ceiling to reach: learning from the pairs is all there is.
    let open = gate.as_ref().map_or(!material.documents, |gate| gate.open);
    let arms = plan::test_arms(&options.arms, material, open);
    let manifests =
        train(project, knowledge, model, &questions, &arms, options.seeds, stop, on_event)?;
    let weights = manifests
        .iter()
        .map(|manifest| Weights::load(project, model, manifest))
        .collect::<Result<Vec<_>>>()?;

    // Test: opened once, for all arms.
    knowledge.store.log_test_opening(&set.name, &options.reason)?;
    on_event(CompareEvent::Opened);
    let grounded = ground(knowledge, &test, &grounding, stop)?;
    let mut runner = Runner::new(model, knowledge, set, passages, &shots, stop);
    let jobs = runner.jobs(&test, &grounded, &arms, &weights)?;
    let trials = runner.run(Split::Test, &jobs, &test, &grounded, on_event)?;

    let comparison = Comparison {
        set: set.name.clone(),
        measure: set.measure,
        arms,
        seeds: options.seeds,
        gate,
        retrieval: retrieval_figures(&grounded, passages, weight),
        reranking,
        costs: costs(knowledge, &trials, &manifests)?,
        training: manifests.iter().map(TrainingRecord::from).collect(),
        left_out: questions.leaked.len(),
        sizes: [questions.train.len(), dev.len(), test.len()],
        documents: record::documents_hash(&knowledge.store)?,
        questions: record::example_questions(&test),
        trials,
        seconds: start.elapsed().as_secs_f64(),
    };
    comparison.store(&mut knowledge.store)?;
    Ok(comparison)
}

/// The ceiling gate from dev trials and from the scores of the retrieval settings tried, in the
/// order they were tried.
fn read_gate(set: &SetConfig, dev: &[Trial], sweep: &[(usize, f64)]) -> Result<Option<Gate>> {
    // A single setting is no sweep.
    let sweep =
        if sweep.len() > 1 { sweep.iter().map(|(_, score)| *score).collect() } else { Vec::new() };
    let options =
        GateOptions { margin: set.margin, target: set.target, sweep, ..GateOptions::default() };
    Ok(gate(dev, &options)?)
}

/// Trains (or finds) the adapters that the arms need.
#[expect(clippy::too_many_arguments, reason = "the parts of one comparison, borrowed apart")]
fn train(
    project: &Project,
    knowledge: &mut Knowledge,
    model: &Model,
    questions: &QuestionSet,
    arms: &[Arm],
    seeds: u64,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(CompareEvent),
) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for recipe in [Recipe::Plain, Recipe::Raft] {
        if !arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe)) {
            continue;
        }
        for seed in 1..=seeds {
            let request =
                TuneRequest { recipe, seed, resume: Resume::IfSame, again: false, dry_run: false };
            let mut report = |event| on_event(CompareEvent::Training { recipe, seed, event });
            let mut progress = crate::Progress::new(stop, &mut report);
            let mut tuner = Tuner { project, knowledge, model, set: questions };
            manifests.extend(tuner.tune(&request, &mut progress)?);
        }
    }
    Ok(manifests)
}

/// Measures of retrieval alone on the test questions.
fn retrieval_figures(grounded: &[Grounded], passages: usize, weight: f32) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    figures.extend(recall(grounded, passages).map(|share| (format!("recall@{passages}"), share)));
    figures.extend(recall(grounded, HITS).map(|share| (format!("recall@{HITS}"), share)));
    figures.extend(reciprocal_rank(grounded).map(|mean| (format!("MRR@{HITS}"), mean)));
    // Through text, so that 0.6 stays 0.6.
    let weight = weight.to_string().parse().unwrap_or(f64::from(weight));
    figures.push(("passages in a prompt".to_owned(), passages as f64));
    figures.push(("share of words (BM25)".to_owned(), weight));
    figures
}

/// What each arm costs, as measured.
fn costs(knowledge: &Knowledge, trials: &[Trial], manifests: &[Manifest]) -> Result<Vec<Costs>> {
    let index = crate::ingest::index_cost(&knowledge.store)?;
    let mut arms: Vec<Arm> = trials.iter().map(|trial| trial.arm).collect();
    arms.sort_unstable();
    arms.dedup();
    Ok(arms
        .into_iter()
        .map(|arm| {
            let of_arm = || {
                manifests.iter().filter(move |manifest| Recipe::of(arm) == Some(manifest.recipe))
            };
            let training = mean(of_arm().map(|manifest| manifest.seconds));
            let latency = mean(
                trials.iter().filter(|trial| trial.arm == arm).map(|trial| trial.latency_seconds),
            );
            // After an edit, an arm with passages waits for the document to be indexed anew, one
            // without for new training.
            let freshness = match (arm.uses_retrieval(), arm.needs_adapter()) {
                (true, _) => Some(index.seconds_per_document + latency),
                (false, true) => Some(training + latency),
                (false, false) => None,
            };
            Costs {
                training_seconds: training,
                index_seconds: if arm.uses_retrieval() { index.seconds } else { 0.0 },
                freshness_seconds: freshness,
                ..Costs::new(arm)
            }
        })
        .collect())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// The evidence of a question in the prompt of an arm; `None` where the question names none or the
/// arm reads none.
fn evidence_in_prompt(
    arm: Arm,
    grounded: &Grounded,
    question: &Question,
    passages: usize,
) -> Option<bool> {
    if question.evidence.is_empty() || !arm.uses_passages() {
        None
    } else if arm.uses_gold() {
        Some(true)
    } else {
        grounded.evidence_retrieved(passages)
    }
}
