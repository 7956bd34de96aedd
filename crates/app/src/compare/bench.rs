//! The stages of a comparison, on a bench that holds what they share.

use std::collections::BTreeMap;
use std::time::Instant;

use eval::decision::Untried;
use eval::{Arm, CurvePoint, Gate, GateOptions, Interval, Pruned, Trial, gate, retrieval_gain};
use lm::Model;
use store::ComparisonOpening;

use super::costs::{Price, mean};
use super::estimate::ComparisonWork;
use super::event::{CompareEvent, CompareOptions};
use super::floor::floor_trials;
use super::foreign::ForeignAnswers;
use super::halves::DevHalves;
use super::labels::label_tables;
use super::length::AnswerLength;
use super::looks::Terms;
use super::pairs::pair_faults;
use super::plan::{self, Material};
use super::record::{Comparison, RerankFinding, TrainingRecord, documents_hash, example_questions};
use super::trials::{EngineSpeed, GroundedSplit, LoadedAdapter, TrialJob, TrialRunner};
use super::tuning::{self, HITS, RetrievalTuner};
use crate::Progress;
use crate::ask::shots::Shots;
use crate::error::{Error, Result};
use crate::grading::Grader;
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::{SetConfig, Training};
use crate::questions::{Question, QuestionSet, Split, sample};
use crate::search::grounding::{Grounded, ground, recall, reciprocal_rank};
use crate::search::knowledge::{DEFAULT_PASSAGES, Knowledge, Wanted};
use crate::tune::adapters::{Manifest, Recipe};

/// A set with all that its arms are compared with.
pub struct Bench<'a> {
    start: Instant,
    pub(super) project: &'a Project,
    pub(super) knowledge: &'a mut Knowledge,
    pub(super) model: &'a Model,
    pub(super) options: &'a CompareOptions,
    pub(super) questions: QuestionSet,
    pub(super) grader: Grader,
    length: AnswerLength,
    /// Its training questions, until retrieval is tuned.
    pub(super) shots: Shots,
    pub(super) material: Material,
    /// The dev questions to run.
    pub(super) halves: DevHalves,
    /// The test questions to run.
    pub(super) test: Vec<Question>,
    /// What systems that are there already answered to them.
    pub(super) foreign: Vec<ForeignAnswers>,
}

/// What prompts are filled from, as tuned on dev.
pub(super) struct PromptSources {
    /// What is searched for.
    wanted: Wanted,
    /// The numbers of passages to try, the default first.
    passages: Vec<usize>,
    reranking: Option<RerankFinding>,
    pub(super) shots: Shots,
}

/// What the dev questions showed.
pub(super) struct DevRun {
    /// The trials that the gate is read from: `rag` with the best number of passages, and `oracle`.
    trials: Vec<Trial>,
    /// What was found for the questions that the gate is read from.
    pub(super) grounded: Vec<Grounded>,
    /// How the number of passages was chosen.
    sweep: Sweep,
    /// The speed of the engine.
    speed: EngineSpeed,
    /// Seconds that the trials of the fine-tuned arms on test should take.
    pub(super) fine_tuned_seconds: f64,
}

/// `rag` with several numbers of passages.
pub(super) struct Sweep {
    /// The best number of passages.
    pub(super) passages: usize,
    /// What was tried, in this order: passages in a prompt, mean score of `rag`.
    scores: Vec<(usize, f64)>,
    /// What each setting but the first gained over the best before it.
    gains: Vec<Interval>,
}

impl PromptSources {
    /// With the settings of an earlier comparison.
    pub(super) fn as_tuned(wanted: Wanted, passages: usize, shots: Shots) -> Self {
        Self { wanted, passages: vec![passages], reranking: None, shots }
    }

    /// What is searched for.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl DevRun {
    /// As an earlier comparison measured it, of which only this is needed on test.
    pub(super) fn as_measured(passages: usize, speed: EngineSpeed) -> Self {
        let sweep = Sweep { passages, scores: Vec::new(), gains: Vec::new() };
        let (trials, grounded) = (Vec::new(), Vec::new());
        Self { trials, grounded, sweep, speed, fine_tuned_seconds: 0.0 }
    }

    /// The number of passages that was chosen.
    pub(super) fn passages(&self) -> usize {
        self.sweep.passages
    }
}

/// The arms that run on test, with the adapters they need.
#[derive(Default)]
pub(super) struct Entrants {
    pub(super) arms: Vec<Arm>,
    pub(super) adapters: Vec<Manifest>,
    /// Recipes that were not trained again after the first adapter.
    pub(super) dropped: Vec<Recipe>,
    /// What dev shows to be hopeless, which is not asked the test questions.
    pub(super) pruned: Vec<Pruned>,
    /// Scores on dev by the share of the pairs.
    pub(super) curve: Vec<CurvePoint>,
    /// What it would take to measure fine-tuned setups, where none runs.
    pub(super) untried: Untried,
}

/// What the test questions showed.
pub(super) struct TestRun {
    /// The hash of everything that the trials depend on.
    run: String,
    /// Passages in a prompt.
    passages: usize,
    speed: EngineSpeed,
    pub(super) grounded: Vec<Grounded>,
    /// Share of the paraphrases of test questions whose evidence would be in the prompt.
    paraphrased: Option<f64>,
    /// The most bytes that answering takes, by arm, where the set limits them.
    memory: Vec<(Arm, u64)>,
    trials: Vec<Trial>,
}

impl<'a> Bench<'a> {
    /// Reads the questions of a set and looks at what its arms have to work with.
    ///
    /// # Errors
    /// Problems in the question files and those with the answers of foreign systems, and too few
    /// questions left without those that another split holds; [`Error::NoDocuments`] where questions
    /// name evidence and
    /// nothing was ingested.
    pub fn new(
        project: &'a Project,
        knowledge: &'a mut Knowledge,
        model: &'a Model,
        set: &SetConfig,
        options: &'a CompareOptions,
    ) -> Result<Self> {
        let start = Instant::now();
        let mut questions = QuestionSet::load(project, set)?;
        let vectors = questions.leave_out_paraphrases(&knowledge.encoder)?;
        questions.check_left()?;
        let shots = Shots::with_vectors(&questions.train, vectors);
        let grader = Grader::new(project, set)?;
        let length = AnswerLength::of(set, &questions.train, &model.tokenizer)?;
        questions.config.max_tokens = Some(length.tokens);
        let material = Material {
            documents: knowledge.store.has_documents()?,
            evidence: questions.has_evidence(),
        };
        if material.evidence && !material.documents {
            return Err(Error::NoDocuments);
        }
        let dev = sample(&questions.dev, options.limit);
        let test = sample(&questions.test, options.limit);
        // Only questions with evidence tell settings of retrieval apart.
        let halves =
            if material.evidence { DevHalves::of(&dev) } else { DevHalves::undivided(&dev) };
        let foreign = ForeignAnswers::load(project, &questions)?;
        Ok(Self {
            start,
            project,
            knowledge,
            model,
            options,
            questions,
            grader,
            length,
            shots,
            material,
            halves,
            test,
            foreign,
        })
    }

    /// Compares the arms and stores the comparison.
    ///
    /// # Errors
    /// Problems with the evidence, [`Error::Interrupted`]: finished trials are kept, and running
    /// again goes on from them.
    pub fn compare(mut self, progress: &mut Progress<'_, CompareEvent>) -> Result<Comparison> {
        self.grader.check(&self.questions, progress.stop())?;
        self.knowledge.put_max_tokens(&self.questions.config.name, self.length.tokens)?;
        progress.report(CompareEvent::Length(self.length));
        let QuestionSet { shared_documents, contradictions, .. } = &self.questions;
        progress.report(CompareEvent::Checked {
            left_out: [Split::Dev, Split::Test].map(|split| self.questions.left_out(split)),
            shared_documents: shared_documents.len(),
            contradictions: contradictions.clone(),
        });
        let sources = self.tune_retrieval(progress)?;
        let dev = self.run_dev(&sources, progress)?;
        let gate = self.read_gate(&dev, progress)?;
        let entrants = self.train(gate.as_ref(), &sources, &dev, progress)?;
        let forgotten = self.forgetting(&entrants, &sources, progress)?;
        let (opening, run) = self.open_test(&sources)?;
        let test = self.run_test(&sources, &dev, &entrants, run, progress)?;
        let mut comparison = self.record(&sources, gate, &entrants, &test)?;
        for (recipe, lost) in forgotten {
            comparison.note_forgetting(recipe, lost);
        }
        self.control(&mut comparison, &sources, &dev, &test, progress)?;
        comparison.seconds = self.start.elapsed().as_secs_f64();
        comparison.store(&mut self.knowledge.store, opening)?;
        Ok(comparison)
    }

    /// Tunes what is searched for on dev.
    fn tune_retrieval(
        &mut self,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<PromptSources> {
        if self.material.documents {
            progress.report(CompareEvent::Halved(self.halves.sizes()));
        }
        let set = &self.questions.config;
        let passages = tuning::passage_candidates(self.knowledge, set, self.material.evidence);
        let most = passages.iter().copied().max().unwrap_or(DEFAULT_PASSAGES);
        let mut tuner =
            RetrievalTuner::new(self.knowledge, set, &self.halves.choosing, passages[0]);
        let lexical_weight = tuner.lexical_weight(progress)?;
        let mut wanted = tuner.wanted(lexical_weight)?;
        wanted.hits = Self::hits(most);
        let reranking = tuner.reranker(&wanted, progress.stop())?;
        if let Some(finding) = &reranking {
            progress.report(CompareEvent::Reranked(finding.clone()));
        }
        wanted.rerank = self.knowledge.reranks(Some(set))?;
        let shots = std::mem::take(&mut self.shots);
        Ok(PromptSources { wanted, passages, reranking, shots })
    }

    /// Passages to find for prompts of so many: as many distractors as passages, should all passages
    /// be gold.
    pub(super) fn hits(passages: usize) -> usize {
        HITS.max(2 * passages)
    }

    /// Runs `rag` with each number of passages on the questions that choose, then `rag` with the
    /// best and `oracle` on those that the gate is read from.
    fn run_dev(
        &mut self,
        sources: &PromptSources,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<DevRun> {
        let seeds = self.seeds();
        let set = &self.questions.config;
        let find = |questions| -> Result<GroundedSplit<'_>> {
            let grounded = ground(self.knowledge, questions, &sources.wanted, progress.stop())?;
            Ok(GroundedSplit { split: Split::Dev, questions, grounded })
        };
        let (choosing, asked) = (find(&self.halves.choosing)?, find(&self.halves.gate)?);
        let mut runner = TrialRunner::new(
            self.model,
            self.knowledge,
            &self.questions,
            &sources.shots,
            &self.grader,
        );
        let default = sources.passages[0];
        let sized = runner.jobs(&asked, &self.material.possible(plan::CHEAP), default, &[])?;
        let arms = self.material.possible([Arm::Rag, Arm::Oracle]);
        let mut tried = Vec::new();
        // A single number leaves nothing to choose.
        if sources.passages.len() > 1 {
            for passages in &sources.passages {
                tried.extend(runner.jobs(
                    &choosing,
                    &self.material.possible([Arm::Rag]),
                    *passages,
                    &[],
                )?);
            }
        }
        let read = runner.jobs(&asked, &arms, default, &[])?;
        // Where the same questions serve for both, `rag` is there already when the gate is read.
        let anew = read
            .iter()
            .filter(|job| tried.is_empty() || !self.halves.shared || job.arm != Arm::Rag);
        let dev: Vec<&TrialJob> = tried.iter().chain(anew).collect();
        // Without documents nothing is run on dev.
        let sample = if dev.is_empty() { sized.iter().collect() } else { dev.clone() };
        let speed = runner.calibrate(&sample, progress.stop())?;
        let work = ComparisonWork {
            set,
            dev: &dev,
            sized: &sized,
            speed,
            seeds,
            dev_arms: arms.clone(),
            test_arms: plan::test_arms(&self.options.arms, self.material, true),
            test_questions: self.test.len(),
        };
        let estimate = work.estimate(&runner)?;
        let fine_tuned_seconds = estimate.fine_tuned_seconds;
        progress.report(CompareEvent::Planned(Box::new(estimate)));
        let sweep = sweep(&mut runner, &choosing, &tried, default, progress)?;
        let read = runner.jobs(&asked, &arms, sweep.passages, &[])?;
        let trials = runner.run(&asked, &read, progress)?;
        if sweep.scores.len() > 1 {
            self.knowledge.put_passages(&set.name, sweep.passages)?;
            let Sweep { passages, scores, .. } = &sweep;
            progress.report(CompareEvent::Swept { passages: *passages, sweep: scores.clone() });
        }
        Ok(DevRun { trials, grounded: asked.grounded, sweep, speed, fine_tuned_seconds })
    }

    /// Reads the ceiling gate from the dev trials and the scores of the sweep.
    fn read_gate(
        &self,
        dev: &DevRun,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Option<Gate>> {
        let set = &self.questions.config;
        let options = GateOptions {
            margin: set.margin,
            target: set.target,
            sweep: dev.sweep.scores.iter().map(|(_, score)| *score).collect(),
            gains: dev.sweep.gains.clone(),
            ..GateOptions::default()
        };
        let gate = gate(&dev.trials, &options)?;
        if let Some(gate) = &gate {
            progress.report(CompareEvent::Gate(Box::new(gate.clone())));
        }
        Ok(gate)
    }

    /// Notes that the test split is opened, and what is fixed from here on; the opening's number,
    /// and the hash of the run.
    fn open_test(&mut self, sources: &PromptSources) -> Result<(i64, String)> {
        let (terms, run) = self.terms_and_run(&sources.wanted)?;
        let opening = ComparisonOpening {
            set: &self.questions.config.name,
            reason: &self.options.reason,
            run: &run,
            terms: &terms,
        };
        let number = self.knowledge.store.log_comparison_opening(&opening)?;
        Ok((number, run))
    }

    /// Runs the arms on the test split, which is open.
    pub(super) fn run_test(
        &mut self,
        sources: &PromptSources,
        dev: &DevRun,
        entrants: &Entrants,
        run: String,
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<TestRun> {
        let load = |manifest| LoadedAdapter::load(self.project, self.model, manifest);
        let adapters: Vec<_> = entrants.adapters.iter().map(load).collect::<Result<_>>()?;
        progress.report(CompareEvent::Opened);
        for foreign in &self.foreign {
            progress.report(CompareEvent::Foreign {
                system: foreign.system,
                missing: foreign.missing(&self.test),
                of: self.test.len(),
                unused: foreign.unused,
            });
        }
        let asked = GroundedSplit {
            split: Split::Test,
            questions: &self.test,
            grounded: ground(self.knowledge, &self.test, &sources.wanted, progress.stop())?,
        };
        let passages = dev.passages();
        let reworded = paraphrases(&self.test);
        let found = ground(self.knowledge, &reworded, &sources.wanted, progress.stop())?;
        let paraphrased = recall(&found, passages);
        let mut runner = TrialRunner::new(
            self.model,
            self.knowledge,
            &self.questions,
            &sources.shots,
            &self.grader,
        );
        let jobs = runner.jobs(&asked, &entrants.arms, passages, &adapters)?;
        let mut trials = runner.run(&asked, &jobs, progress)?;
        let mut memory = Vec::new();
        if self.questions.config.limits.memory_bytes.is_some() {
            for jobs in jobs.chunk_by(|a, b| a.arm == b.arm) {
                memory.extend(runner.peak_memory(jobs)?.map(|peak| (jobs[0].arm, peak)));
            }
        }
        let (set, stop) = (&self.questions, progress.stop());
        trials.extend(floor_trials(set, &asked, &sources.shots, &mut runner, stop)?);
        for foreign in &self.foreign {
            trials.extend(foreign.trials(&self.test, &mut runner, stop)?);
        }
        let (grounded, speed) = (asked.grounded, dev.speed);
        Ok(TestRun { run, passages, speed, grounded, paraphrased, memory, trials })
    }

    /// What is frozen when the test split is first opened, as JSON, and a hash of everything that
    /// the trials on it depend on: two runs with the same hash see the same.
    pub(super) fn terms_and_run(&self, wanted: &Wanted) -> Result<(String, String)> {
        let set = &self.questions.config;
        let json = |terms: &Terms| {
            serde_json::to_string(terms).map_err(|source| Error::Record {
                what: format!("terms of set {:?}", set.name),
                source,
            })
        };
        let terms = Terms::of(set, &self.questions.test).graded_by(self.grader.identity());
        let fixed = json(&terms)?;
        let terms = json(&terms.with_answers(&self.foreign))?;
        let config = &self.project.config;
        // Which arms run is left out: those that come later join the same family of comparisons, while
        // the trials of the others stay what they are.
        let CompareOptions { arms: _, limit, reason: _, seeds: _ } = self.options;
        let QuestionSet { train, dev, .. } = &self.questions;
        let options = format!("{limit:?} {} {set:?} {wanted:?}", self.seeds());
        // How much is trained beside an adapter changes nothing of what it answers.
        let usual = Training::default();
        let training = Training {
            learning_curve: usual.learning_curve,
            control: usual.control,
            max_minutes: usual.max_minutes,
            seeds: self.seeds(),
            ..config.training.clone()
        };
        let how = format!("{training:?} {:?} {:?}", config.retrieval, self.knowledge.recipe);
        let models = [self.model.identity()?, self.knowledge.encoder.identity()].join(" ");
        let questions = format!("{fixed} {train:?} {dev:?}");
        let documents = documents_hash(&self.knowledge.store)?;
        let version = env!("CARGO_PKG_VERSION");
        let all = [version, &options, &how, &models, &questions, &documents].join("\0");
        Ok((terms, hash_bytes(all.as_bytes())))
    }

    /// Everything a decision needs, from what was run.
    pub(super) fn record(
        &self,
        sources: &PromptSources,
        gate: Option<Gate>,
        entrants: &Entrants,
        test: &TestRun,
    ) -> Result<Comparison> {
        let Self { questions, knowledge, foreign, .. } = self;
        let ran = |arm: &Arm| test.trials.iter().any(|trial| trial.system.is(*arm));
        let floors = Arm::ALL.into_iter().filter(|arm| arm.is_floor() && ran(arm));
        let price = Price {
            speed: test.speed,
            grounded: &test.grounded,
            trials: &test.trials,
            adapters: &entrants.adapters,
        };
        let mut costs = price.of_all(&knowledge.store)?;
        for (arm, peak) in &test.memory {
            for costs in costs.iter_mut().filter(|costs| costs.system.is(*arm)) {
                costs.peak_memory_bytes = Some(*peak);
            }
        }
        let part = foreign.iter().filter(|foreign| foreign.takes_part());
        costs.extend(part.map(ForeignAnswers::costs));
        let (train, whole) = (questions.train.len(), questions.test.len());
        let dev = self.options.limit.unwrap_or(usize::MAX).min(questions.dev.len());
        let weight = sources.wanted.lexical_weight;
        let arms: Vec<Arm> = entrants.arms.iter().copied().chain(floors).collect();
        Ok(Comparison {
            labels: label_tables(questions, &arms, &test.trials),
            set: questions.config.name.clone(),
            measure: questions.config.measure,
            arms,
            seeds: self.seeds(),
            dropped: entrants.dropped.clone(),
            dev: self.halves.sizes(),
            speed: test.speed,
            gate,
            curve: entrants.curve.clone(),
            untried: entrants.untried,
            pruned: entrants.pruned.clone(),
            slices: slices(&self.test),
            pair_faults: pair_faults(questions, &entrants.adapters),
            retrieval: retrieval_figures(test, weight),
            reranking: sources.reranking.clone(),
            costs,
            training: entrants.adapters.iter().map(TrainingRecord::from).collect(),
            left_out: questions.left_out(Split::Test),
            leaks: questions.leaked.clone(),
            shared_documents: questions.shared_documents.clone(),
            contradictions: questions.contradictions.clone(),
            sizes: [train, dev, self.test.len()],
            sampled_from: Some(whole).filter(|whole| *whole > self.test.len()),
            run: test.run.clone(),
            inputs: Some(self.inputs(&entrants.adapters)?),
            documents: documents_hash(&knowledge.store)?,
            questions: example_questions(&self.test),
            trials: test.trials.clone(),
            seconds: self.start.elapsed().as_secs_f64(),
        })
    }
}

/// The paraphrases of questions as questions, with the same evidence.
fn paraphrases(questions: &[Question]) -> Vec<Question> {
    let of = |question: &Question| {
        let reworded = |text: &String| Question { text: text.clone(), ..question.clone() };
        question.paraphrases.iter().map(reworded).collect::<Vec<_>>()
    };
    questions.iter().flat_map(of).collect()
}

/// The slice of each question that has one.
fn slices(questions: &[Question]) -> BTreeMap<String, String> {
    let slice = |question: &Question| Some((question.id.clone(), question.slice.clone()?));
    questions.iter().filter_map(slice).collect()
}

/// Runs `rag` once for each number of passages; with none to run, the default is taken.
fn sweep(
    runner: &mut TrialRunner<'_>,
    asked: &GroundedSplit<'_>,
    jobs: &[TrialJob],
    default: usize,
    progress: &mut Progress<'_, CompareEvent>,
) -> Result<Sweep> {
    let (mut scores, mut swept) = (Vec::new(), Vec::new());
    for jobs in jobs.chunk_by(|a, b| a.passages == b.passages) {
        let trials = runner.run(asked, jobs, progress)?;
        scores.push((jobs[0].passages, mean(trials.iter().filter_map(|trial| trial.score))));
        swept.push(trials);
    }
    let gains = gains(&scores, &swept)?;
    let passages = tuning::best_passages(&scores).unwrap_or(default);
    Ok(Sweep { passages, scores, gains })
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
fn retrieval_figures(test: &TestRun, weight: f32) -> Vec<(String, f64)> {
    let TestRun { grounded, passages, paraphrased, .. } = test;
    let passages = *passages;
    let mut figures = Vec::new();
    figures.extend(recall(grounded, passages).map(|share| (format!("recall@{passages}"), share)));
    figures.extend(recall(grounded, HITS).map(|share| (format!("recall@{HITS}"), share)));
    figures.extend(paraphrased.map(|share| (format!("recall@{passages} of paraphrases"), share)));
    figures.extend(reciprocal_rank(grounded).map(|mean| (format!("MRR@{HITS}"), mean)));
    // Through text, so that 0.6 stays 0.6.
    let weight = weight.to_string().parse().unwrap_or(f64::from(weight));
    figures.push(("passages in a prompt".to_owned(), passages as f64));
    figures.push(("keyword weight".to_owned(), weight));
    figures
}
