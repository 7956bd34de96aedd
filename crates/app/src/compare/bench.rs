//! The stages of a comparison, on a bench that holds what they share.

use std::time::Instant;

use eval::{Arm, Gate, GateOptions, Interval, Trial, gate, retrieval_gain};
use lm::Model;

use super::costs::{costs, mean};
use super::estimate::ComparisonWork;
use super::event::{CompareEvent, CompareOptions};
use super::floor::floor_trials;
use super::plan::{self, Material};
use super::record::{Comparison, RerankFinding, TrainingRecord, documents_hash, example_questions};
use super::trials::{GroundedSplit, LoadedAdapter, TrialJob, TrialRunner};
use super::tuning::{self, HITS, RetrievalTuner};
use crate::Progress;
use crate::ask::shots::Shots;
use crate::error::{Error, Result};
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::questions::{Question, QuestionSet, Split, sample};
use crate::search::grounding::{Grounded, ground, recall, reciprocal_rank};
use crate::search::knowledge::{DEFAULT_PASSAGES, Knowledge, Wanted};
use crate::tune::adapters::{Manifest, Recipe};
use crate::tune::{Resume, TuneRequest, Tuner};

/// A set with all that its arms are compared with.
pub struct Bench<'a> {
    start: Instant,
    project: &'a Project,
    knowledge: &'a mut Knowledge,
    model: &'a Model,
    options: &'a CompareOptions,
    questions: QuestionSet,
    material: Material,
    /// The dev questions to run.
    dev: Vec<Question>,
    /// The test questions to run.
    test: Vec<Question>,
}

/// What prompts are filled from, as tuned on dev.
struct PromptSources {
    /// What is searched for.
    wanted: Wanted,
    /// The numbers of passages to try, the default first.
    passages: Vec<usize>,
    reranking: Option<RerankFinding>,
    shots: Shots,
}

/// What the dev questions showed.
struct DevRun {
    /// The trials that the gate is read from: `rag` with the best number of passages, and `oracle`.
    trials: Vec<Trial>,
    /// The best number of passages.
    passages: usize,
    /// What was tried, in this order: passages in a prompt, mean score of `rag`.
    sweep: Vec<(usize, f64)>,
    /// What each setting but the first gained over the best before it.
    gains: Vec<Interval>,
}

/// The arms that run on test, with the adapters they need.
struct Entrants {
    arms: Vec<Arm>,
    adapters: Vec<Manifest>,
}

/// What the test questions showed.
struct TestRun {
    /// Passages in a prompt.
    passages: usize,
    grounded: Vec<Grounded>,
    trials: Vec<Trial>,
}

impl<'a> Bench<'a> {
    /// Reads the questions of a set and looks at what its arms have to work with.
    ///
    /// # Errors
    /// Problems in the question files; [`Error::NoDocuments`] where questions name evidence and
    /// nothing was ingested.
    pub fn new(
        project: &'a Project,
        knowledge: &'a mut Knowledge,
        model: &'a Model,
        set: &SetConfig,
        options: &'a CompareOptions,
    ) -> Result<Self> {
        let start = Instant::now();
        let questions = QuestionSet::load(project, set)?;
        let material = Material {
            documents: knowledge.store.has_documents()?,
            evidence: questions.has_evidence(),
        };
        if material.evidence && !material.documents {
            return Err(Error::NoDocuments);
        }
        let dev = sample(&questions.dev, options.limit);
        let test = sample(&questions.test, options.limit);
        Ok(Self { start, project, knowledge, model, options, questions, material, dev, test })
    }

    /// Compares the arms and stores the comparison.
    ///
    /// # Errors
    /// Problems with the evidence, [`Error::Interrupted`]: finished trials are kept, and running
    /// again goes on from them.
    pub fn compare(mut self, progress: &mut Progress<'_, CompareEvent>) -> Result<Comparison> {
        let sources = self.tune_retrieval(progress)?;
        let dev = self.run_dev(&sources, progress)?;
        let gate = self.read_gate(&dev, progress)?;
        let entrants = self.train(gate.as_ref(), progress)?;
        let test = self.run_test(&sources, dev.passages, &entrants, progress)?;
        self.record(sources, gate, entrants, test)
    }

    /// Tunes what is searched for on dev.
    fn tune_retrieval(
        &mut self,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<PromptSources> {
        let set = &self.questions.config;
        let passages = tuning::passage_candidates(self.knowledge, set, self.material.evidence);
        let most = passages.iter().copied().max().unwrap_or(DEFAULT_PASSAGES);
        let mut tuner = RetrievalTuner::new(self.knowledge, set, &self.dev, passages[0]);
        let lexical_weight = tuner.lexical_weight(progress)?;
        let mut wanted = tuner.wanted(lexical_weight)?;
        // As many distractors as passages, should all passages be gold.
        wanted.hits = HITS.max(2 * most);
        let reranking = tuner.reranker(&wanted, progress.stop())?;
        if let Some(finding) = &reranking {
            progress.report(CompareEvent::Reranked(finding.clone()));
        }
        wanted.rerank = self.knowledge.reranks(Some(set))?;
        let shots = Shots::new(&self.knowledge.encoder, &self.questions.train)?;
        Ok(PromptSources { wanted, passages, reranking, shots })
    }

    /// Runs `rag` with each number of passages, and `oracle`.
    fn run_dev(
        &mut self,
        sources: &PromptSources,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<DevRun> {
        let set = &self.questions.config;
        let asked = GroundedSplit {
            split: Split::Dev,
            questions: &self.dev,
            grounded: ground(self.knowledge, &self.dev, &sources.wanted, progress.stop())?,
        };
        let mut runner = TrialRunner::new(self.model, self.knowledge, set, &sources.shots);
        let default = sources.passages[0];
        let sized = runner.jobs(&asked, &self.material.possible(plan::CHEAP), default, &[])?;
        let (rag, gold) =
            (self.material.possible([Arm::Rag]), self.material.possible([Arm::Oracle]));
        let mut jobs = Vec::new();
        for passages in &sources.passages {
            jobs.extend(runner.jobs(&asked, &rag, *passages, &[])?);
        }
        jobs.extend(runner.jobs(&asked, &gold, default, &[])?);
        let work = ComparisonWork {
            set,
            dev: &jobs,
            sized: &sized,
            dev_arms: [rag, gold].concat(),
            test_arms: plan::test_arms(&self.options.arms, self.material, true),
            test_questions: self.test.len(),
        };
        let estimate = work.estimate(&mut runner, progress.stop())?;
        progress.report(CompareEvent::Planned(Box::new(estimate)));
        let run = sweep(&mut runner, &asked, &jobs, default, progress)?;
        if run.sweep.len() > 1 {
            self.knowledge.put_passages(&set.name, run.passages)?;
            let DevRun { passages, sweep, .. } = &run;
            progress.report(CompareEvent::Swept { passages: *passages, sweep: sweep.clone() });
        }
        Ok(run)
    }

    /// Reads the ceiling gate from the dev trials and the scores of the sweep.
    fn read_gate(
        &self,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Option<Gate>> {
        let set = &self.questions.config;
        let scores = dev.sweep.iter().map(|(_, score)| *score);
        // A single setting is no sweep.
        let sweep = if dev.sweep.len() > 1 { scores.collect() } else { Vec::new() };
        let options = GateOptions {
            margin: set.margin,
            target: set.target,
            sweep,
            gains: dev.gains.clone(),
            ..GateOptions::default()
        };
        let gate = gate(&dev.trials, &options)?;
        if let Some(gate) = &gate {
            progress.report(CompareEvent::Gate(Box::new(gate.clone())));
        }
        Ok(gate)
    }

    /// Trains (or finds) the adapters of the arms that are due on test.
    fn train(
        &mut self,
        gate: Option<&Gate>,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Entrants> {
        // Without documents there is no ceiling to reach: learning from the pairs is all there is.
        let open = gate.map_or(!self.material.documents, |gate| gate.open);
        let arms = plan::test_arms(&self.options.arms, self.material, open);
        let mut adapters = Vec::new();
        for recipe in [Recipe::Plain, Recipe::Raft] {
            if arms.iter().any(|arm| Recipe::of(*arm) == Some(recipe)) {
                for seed in 1..=self.options.seeds {
                    adapters.extend(self.train_adapter(recipe, seed, progress)?);
                }
            }
        }
        Ok(Entrants { arms, adapters })
    }

    /// Trains an adapter, unless the same one is there already.
    fn train_adapter(
        &mut self,
        recipe: Recipe,
        seed: u64,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Option<Manifest>> {
        let request =
            TuneRequest { recipe, seed, resume: Resume::IfSame, again: false, dry_run: false };
        let mut tuner = Tuner {
            project: self.project,
            knowledge: self.knowledge,
            model: self.model,
            set: &self.questions,
        };
        progress.part(
            |event| CompareEvent::Training { recipe, seed, event },
            |training| tuner.tune(&request, training),
        )
    }

    /// Opens the test split, once for all arms, and runs them.
    fn run_test(
        &mut self,
        sources: &PromptSources,
        passages: usize,
        entrants: &Entrants,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<TestRun> {
        let set = &self.questions.config;
        let load = |manifest| LoadedAdapter::load(self.project, self.model, manifest);
        let adapters: Vec<_> = entrants.adapters.iter().map(load).collect::<Result<_>>()?;
        self.knowledge.store.log_test_opening(&set.name, &self.options.reason)?;
        progress.report(CompareEvent::Opened);
        let asked = GroundedSplit {
            split: Split::Test,
            questions: &self.test,
            grounded: ground(self.knowledge, &self.test, &sources.wanted, progress.stop())?,
        };
        let mut runner = TrialRunner::new(self.model, self.knowledge, set, &sources.shots);
        let jobs = runner.jobs(&asked, &entrants.arms, passages, &adapters)?;
        let mut trials = runner.run(&asked, &jobs, progress)?;
        trials.extend(floor_trials(&self.questions, &asked, &sources.shots));
        Ok(TestRun { passages, grounded: asked.grounded, trials })
    }

    /// Stores the comparison.
    fn record(
        self,
        sources: PromptSources,
        gate: Option<Gate>,
        entrants: Entrants,
        test: TestRun,
    ) -> Result<Comparison> {
        let Self { questions, knowledge, .. } = self;
        let Entrants { arms, adapters } = entrants;
        let weight = sources.wanted.lexical_weight;
        let comparison = Comparison {
            set: questions.config.name,
            measure: questions.config.measure,
            arms,
            seeds: self.options.seeds,
            gate,
            retrieval: retrieval_figures(&test.grounded, test.passages, weight),
            reranking: sources.reranking,
            costs: costs(&knowledge.store, &test.trials, &adapters)?,
            training: adapters.iter().map(TrainingRecord::from).collect(),
            left_out: questions.leaked.len(),
            sizes: [questions.train.len(), self.dev.len(), self.test.len()],
            documents: documents_hash(&knowledge.store)?,
            questions: example_questions(&self.test),
            trials: test.trials,
            seconds: self.start.elapsed().as_secs_f64(),
        };
        comparison.store(&mut knowledge.store)?;
        Ok(comparison)
    }
}

/// Runs the dev trials: `rag` once for each number of passages, then `oracle`.
fn sweep(
    runner: &mut TrialRunner<'_>,
    asked: &GroundedSplit<'_>,
    jobs: &[TrialJob],
    default: usize,
    progress: &mut Progress<'_, CompareEvent>,
) -> Result<DevRun> {
    let (mut sweep, mut swept, mut oracle) = (Vec::new(), Vec::new(), Vec::new());
    for jobs in jobs.chunk_by(|a, b| (a.arm, a.passages) == (b.arm, b.passages)) {
        let trials = runner.run(asked, jobs, progress)?;
        if jobs[0].arm == Arm::Rag {
            sweep.push((jobs[0].passages, mean(trials.iter().filter_map(|trial| trial.score))));
            swept.push(trials);
        } else {
            oracle = trials;
        }
    }
    let gains = gains(&sweep, &swept)?;
    let passages = tuning::best_passages(&sweep).unwrap_or(default);
    let chosen = sweep.iter().position(|(tried, _)| *tried == passages);
    let mut trials = chosen.map(|index| swept.swap_remove(index)).unwrap_or_default();
    trials.extend(oracle);
    Ok(DevRun { trials, passages, sweep, gains })
}

/// What each number of passages but the first gained over the best before it.
fn gains(sweep: &[(usize, f64)], swept: &[Vec<Trial>]) -> Result<Vec<Interval>> {
    let alpha = GateOptions::default().alpha;
    let mut gains = Vec::new();
    for later in 1..swept.len() {
        let before = (0..later).max_by(|a, b| sweep[*a].1.total_cmp(&sweep[*b].1));
        let before = before.map_or(&[][..], |best| &swept[best][..]);
        gains.extend(retrieval_gain(before, &swept[later], alpha)?);
    }
    Ok(gains)
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
    figures.push(("BM25 weight".to_owned(), weight));
    figures
}
