//! Running trials: one arm, one question, kept under a hash of everything the answer depends on.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eval::{Arm, System, Trial};
use lm::{FinishReason, GenerateOptions, Lora, Message, Model};
use serde::{Deserialize, Serialize};
use store::{DocumentId, Hit};

use super::event::{CompareEvent, TrialDone};
use super::problems::{is_cut, problems};
use crate::Progress;
use crate::ask::SET_MAX_TOKENS;
use crate::ask::shots::Shots;
use crate::error::{Error, Result};
use crate::grading::{Answered, Grade, Grader};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::prompt::{Passage, Prompt};
use crate::questions::{Question, QuestionSet, Split};
use crate::search::grounding::Grounded;
use crate::search::knowledge::Knowledge;
use crate::tune::adapters::{self, Manifest, Recipe};

/// Trials that the speed of the engine is measured on, the first of which only warms it up.
const CALIBRATION: usize = 4;

/// An adapter in memory.
pub(super) struct LoadedAdapter {
    recipe: Recipe,
    seed: u64,
    /// Trained on shuffled answers: its trials are those of a baseline.
    shuffled: bool,
    /// SHA-256 of its file.
    hash: String,
    lora: Arc<Lora>,
}

impl LoadedAdapter {
    pub(super) fn load(project: &Project, model: &Model, manifest: &Manifest) -> Result<Self> {
        let folder = project.adapter_folder(&manifest.set, manifest.folder(), manifest.seed);
        let lora = Arc::new(adapters::load(&folder, model)?);
        Ok(Self {
            recipe: manifest.recipe,
            seed: manifest.seed,
            shuffled: manifest.is_shuffled(),
            hash: manifest.weights.clone(),
            lora,
        })
    }

    /// The same weights, for prompts without passages whatever they were trained on.
    pub(super) fn into_plain(self) -> Self {
        Self { recipe: Recipe::Plain, ..self }
    }
}

/// The questions of one split, each with its evidence and what retrieval finds for it.
pub(super) struct GroundedSplit<'a> {
    pub(super) split: Split,
    pub(super) questions: &'a [Question],
    /// In the order of the questions.
    pub(super) grounded: Vec<Grounded>,
}

/// A trial to be run, or already there.
pub(super) struct TrialJob {
    /// Whose trial it is.
    system: System,
    /// By whose prompt.
    pub(super) arm: Arm,
    pub(super) prompt_tokens: usize,
    /// Retrieved passages in the prompt of an arm that has some.
    pub(super) passages: usize,
    /// Index of the question.
    question: usize,
    qid: String,
    seed: u64,
    key: String,
    messages: Vec<Message>,
    /// Documents whose text stands in the messages.
    documents: Vec<DocumentId>,
    /// Seconds it took to find what stands in the prompt.
    retrieval_seconds: f64,
    lora: Option<Arc<Lora>>,
}

/// What is kept of a trial: the answer and the time it took. Its score is not kept, as computing it
/// again costs nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredAnswer {
    answer: String,
    prompt_tokens: usize,
    completion_tokens: usize,
    /// Finding passages or examples, before the prompt stood.
    retrieval_seconds: f64,
    /// Reading the prompt.
    prefill_seconds: f64,
    /// Writing the answer.
    decode_seconds: f64,
    /// Whether it was cut at its greatest length; `None` in answers of a version that didn't keep
    /// that.
    #[serde(default)]
    cut: Option<bool>,
}

#[cfg(test)]
impl StoredAnswer {
    /// As if the model had given it, in a time that grows with the prompt.
    fn scripted(job: &TrialJob, answer: String) -> Self {
        Self {
            answer,
            prompt_tokens: job.prompt_tokens,
            completion_tokens: 4,
            cut: Some(false),
            retrieval_seconds: job.retrieval_seconds,
            prefill_seconds: 1e-3 * job.prompt_tokens as f64,
            decode_seconds: 0.01,
        }
    }
}

/// Measured speed of the engine on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSpeed {
    /// Seconds for a token of a prompt.
    pub prefill: f64,
    /// Seconds for a token of an answer.
    pub decode: f64,
}

impl EngineSpeed {
    /// Seconds for a prompt and its answer, lengths in tokens.
    pub fn seconds(&self, prompt: f64, answer: f64) -> f64 {
        self.prefill * prompt + self.decode * answer
    }

    /// Whether there was a trial to measure it on.
    pub(super) fn is_measured(&self) -> bool {
        self.prefill > 0.0
    }
}

/// Runs the trials of a set.
pub(super) struct TrialRunner<'a> {
    model: &'a Model,
    knowledge: &'a mut Knowledge,
    set: &'a SetConfig,
    labels: &'a [String],
    shots: &'a Shots,
    grader: &'a Grader,
    options: GenerateOptions,
}

impl<'a> TrialRunner<'a> {
    pub(super) fn new(
        model: &'a Model,
        knowledge: &'a mut Knowledge,
        questions: &'a QuestionSet,
        shots: &'a Shots,
        grader: &'a Grader,
    ) -> Self {
        let QuestionSet { config: set, labels, .. } = questions;
        // One decoding setting for every arm: greedy.
        let max_tokens = set.max_tokens.unwrap_or(SET_MAX_TOKENS);
        let options = GenerateOptions { max_tokens, ..GenerateOptions::default() };
        Self { model, knowledge, set, labels, shots, grader, options }
    }

    /// Tokens of the longest answer.
    pub(super) fn max_tokens(&self) -> usize {
        self.options.max_tokens
    }

    /// The trials of `arms` with so many retrieved `passages`; arms on fine-tuned weights once for
    /// each of their adapters.
    pub(super) fn jobs(
        &self,
        asked: &GroundedSplit<'_>,
        arms: &[Arm],
        passages: usize,
        adapters: &[LoadedAdapter],
    ) -> Result<Vec<TrialJob>> {
        let mut jobs = Vec::new();
        for arm in arms {
            let adapters: Vec<Option<&LoadedAdapter>> = match Recipe::of(*arm) {
                None => vec![None],
                Some(recipe) => {
                    adapters.iter().filter(|adapter| adapter.recipe == recipe).map(Some).collect()
                }
            };
            for (index, (question, grounded)) in
                asked.questions.iter().zip(&asked.grounded).enumerate()
            {
                // A question without evidence has nothing to put before an arm that reads gold
                // passages.
                if arm.uses_gold() && grounded.gold.is_empty() {
                    continue;
                }
                let (messages, documents) = self.messages(*arm, question, grounded, passages)?;
                let prompt_tokens = self.model.prompt_ids(&messages)?.len();
                for adapter in &adapters {
                    let shuffled = adapter.is_some_and(|adapter| adapter.shuffled);
                    jobs.push(TrialJob {
                        system: System::from(if shuffled { Arm::Shuffled } else { *arm }),
                        arm: *arm,
                        prompt_tokens,
                        passages,
                        question: index,
                        qid: question.id.clone(),
                        seed: adapter.map_or(0, |adapter| adapter.seed),
                        key: self.key(&messages, adapter.map(|adapter| adapter.hash.as_str()))?,
                        messages: messages.clone(),
                        documents: documents.clone(),
                        retrieval_seconds: retrieval_seconds(*arm, grounded),
                        lora: adapter.map(|adapter| Arc::clone(&adapter.lora)),
                    });
                }
            }
        }
        Ok(jobs)
    }

    /// The messages of a trial with `count` retrieved passages, and the documents that passages in
    /// them come from.
    fn messages(
        &self,
        arm: Arm,
        question: &Question,
        grounded: &Grounded,
        count: usize,
    ) -> Result<(Vec<Message>, Vec<DocumentId>)> {
        let gold = || grounded.gold.iter().map(|gold| (gold.document, gold.passage.clone()));
        let passage = |hit: &Hit| (hit.document, Passage::from(hit));
        let passages: Vec<(DocumentId, Passage)> = match (arm.uses_gold(), arm.uses_retrieval()) {
            (true, true) => {
                let count = count.max(grounded.gold.len());
                gold().chain(grounded.distractors().map(passage)).take(count).collect()
            }
            (true, false) => gold().collect(),
            (false, true) => grounded.retrieved.hits.iter().take(count).map(passage).collect(),
            (false, false) => Vec::new(),
        };
        let (documents, passages) = passages.into_iter().unzip();
        let shots = if arm.uses_examples() {
            self.shots.nearest(&grounded.vector, self.set.shots)
        } else {
            Vec::new()
        };
        let prompt = Prompt {
            instruction: &question.instruction,
            labels: self.labels,
            question: &question.text,
            passages,
            shots,
            history: &[],
        };
        let limit =
            self.model.decoder.config().max_positions.saturating_sub(self.options.max_tokens);
        let messages = prompt.fit(arm, &self.model.template, &self.model.tokenizer, limit)?;
        Ok((messages, documents))
    }

    /// The hash of everything an answer depends on.
    fn key(&self, messages: &[Message], adapter: Option<&str>) -> Result<String> {
        // Neither looking up, nor weighing tokens, nor who may share what was read changes an
        // answer.
        let GenerateOptions {
            max_tokens,
            temperature,
            top_p,
            top_k,
            seed,
            stop,
            lookup: _,
            likelihood: _,
            scope: _,
        } = &self.options;
        let all = serde_json::json!({
            "model": self.model.identity()?,
            "precision": format!("{:?}", self.model.decoder.precision()),
            "adapter": adapter,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "seed": seed,
            "stop": stop,
        });
        Ok(hash_bytes(all.to_string().as_bytes()))
    }

    /// Which of the jobs have yet to be run.
    pub(super) fn pending<'j>(
        &self,
        jobs: impl IntoIterator<Item = &'j TrialJob>,
    ) -> Result<Vec<bool>> {
        jobs.into_iter().map(|job| Ok(self.stored(job)?.is_none())).collect()
    }

    /// The stored answer of a job. One in another version's form counts as none: it only has to be
    /// run again.
    fn stored(&self, job: &TrialJob) -> Result<Option<StoredAnswer>> {
        Ok(self.knowledge.store.trial(&job.key)?.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// Measures the speed on a few trials one after the other: the longest that have to be run
    /// (their answers are kept), or, when none has, the longest of all by what was measured when
    /// they ran.
    pub(super) fn calibrate(
        &mut self,
        jobs: &[&TrialJob],
        stop: &AtomicBool,
    ) -> Result<EngineSpeed> {
        let pending = self.pending(jobs.iter().copied())?;
        let mut order: Vec<(bool, &TrialJob)> =
            pending.into_iter().zip(jobs.iter().copied()).collect();
        order.sort_by_key(|(pending, job)| Reverse((*pending, job.prompt_tokens)));
        order.truncate(CALIBRATION);
        let answers: Vec<StoredAnswer> = order
            .into_iter()
            .map(|(_, job)| self.answer(job, Split::Dev, stop))
            .collect::<Result<_>>()?;
        // The first one also warms up: the weights may still have to be read from the disk.
        let measured = if answers.len() > 1 { &answers[1..] } else { &answers };
        let rate = |value: fn(&StoredAnswer) -> (f64, usize)| {
            let (mut seconds, mut tokens) = (0.0, 0);
            for (each, count) in measured.iter().map(value) {
                seconds += each;
                tokens += count;
            }
            seconds / tokens.max(1) as f64
        };
        Ok(EngineSpeed {
            prefill: rate(|answer| (answer.prefill_seconds, answer.prompt_tokens)),
            decode: rate(|answer| {
                (answer.decode_seconds, answer.completion_tokens.saturating_sub(1))
            }),
        })
    }

    /// The stored answer of a job, or a new one, which is stored.
    fn answer(&mut self, job: &TrialJob, split: Split, stop: &AtomicBool) -> Result<StoredAnswer> {
        if let Some(stored) = self.stored(job)? {
            return Ok(stored);
        }
        #[cfg(test)]
        if let Some(answer) = super::tests::scripted(job.system, &job.qid) {
            return Ok(StoredAnswer::scripted(job, answer));
        }
        let generation =
            self.model.generate(&job.messages, job.lora.as_deref(), &self.options, &mut |_| {
                if stop.load(Ordering::Relaxed) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        if generation.finish_reason == FinishReason::Cancelled {
            return Err(Error::Interrupted);
        }
        let stored = StoredAnswer {
            answer: generation.text,
            prompt_tokens: generation.prompt_tokens,
            completion_tokens: generation.completion_tokens,
            retrieval_seconds: job.retrieval_seconds,
            prefill_seconds: generation.prefill_seconds,
            decode_seconds: generation.decode_seconds,
            cut: Some(generation.finish_reason == FinishReason::Length),
        };
        let json = serde_json::to_string(&stored)
            .map_err(|source| Error::Record { what: format!("trial {}", job.key), source })?;
        let arm = format!("{}/{}", split.as_str(), job.system);
        // Gone with the documents it quotes: an edit or a deletion leaves no trace of the old text.
        let (set, documents) = (&self.set.name, &job.documents);
        let trial = store::Trial { key: &job.key, set, arm: &arm, qid: &job.qid, json: &json };
        self.knowledge.store.put_trial(&trial, documents)?;
        Ok(stored)
    }

    /// Runs what is not there yet and grades everything.
    pub(super) fn run(
        &mut self,
        asked: &GroundedSplit<'_>,
        jobs: &[TrialJob],
        progress: &mut Progress<'_, CompareEvent>,
    ) -> Result<Vec<Trial>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let split = asked.split;
        let pending = self.pending(jobs)?;
        let mut pace = TrialPace::new(jobs, &pending, self.max_tokens());
        let (trials, reused) = (pace.total, jobs.len() - pace.total);
        progress.report(CompareEvent::Running { split, trials, reused });
        let mut answers = Vec::with_capacity(jobs.len());
        for (job, pending) in jobs.iter().zip(pending) {
            progress.check()?;
            let stored = self.answer(job, split, progress.stop())?;
            if pending {
                progress.report(CompareEvent::Trial(pace.done(job)));
            }
            answers.push(stored);
        }
        let answered: Vec<Answered<'_>> = jobs
            .iter()
            .zip(&answers)
            .map(|(job, stored)| Answered {
                question: &asked.questions[job.question],
                answer: &stored.answer,
                documents: &job.documents,
            })
            .collect();
        let grades = self.grade(&answered, progress.stop())?;
        let trials: Vec<Trial> = jobs
            .iter()
            .zip(answers)
            .zip(grades)
            .map(|((job, stored), grade)| self.trial(job, stored, grade, asked))
            .collect();
        let problems = problems(&trials);
        if !problems.is_empty() {
            progress.report(CompareEvent::Problems { split, problems });
        }
        Ok(trials)
    }

    /// The most memory that is taken while the longest of these trials is answered once more, which
    /// is not kept; `None` where there are none or the system does not say.
    pub(super) fn peak_memory(&self, jobs: &[TrialJob]) -> Result<Option<u64>> {
        let Some(job) = jobs.iter().max_by_key(|job| job.prompt_tokens) else { return Ok(None) };
        let (answered, peak) = lm::peak_memory_of(|| {
            self.model.generate(&job.messages, job.lora.as_deref(), &self.options, &mut |_| {
                ControlFlow::Continue(())
            })
        });
        answered?;
        Ok(peak)
    }

    /// Grades answers to questions of the set.
    pub(super) fn grade(
        &mut self,
        answers: &[Answered<'_>],
        stop: &AtomicBool,
    ) -> Result<Vec<Grade>> {
        self.grader.grade(&self.set.name, answers, &mut self.knowledge.store, stop)
    }

    fn trial(
        &self,
        job: &TrialJob,
        stored: StoredAnswer,
        grade: Grade,
        asked: &GroundedSplit<'_>,
    ) -> Trial {
        let question = &asked.questions[job.question];
        let first_token_seconds = stored.retrieval_seconds + stored.prefill_seconds;
        let ended = stored.cut.unwrap_or(stored.completion_tokens >= self.max_tokens());
        let cut = ended && is_cut(self.set.measure, &stored.answer, grade.score);
        Trial {
            qid: question.id.clone(),
            cluster: question.cluster().to_owned(),
            seed: job.seed,
            score: if cut { Some(0.0) } else { grade.score },
            lenient: grade.lenient,
            cut,
            problem: grade.problem.filter(|_| !cut),
            evidence_retrieved: evidence_in_prompt(job, question, &asked.grounded[job.question]),
            prompt_tokens: stored.prompt_tokens,
            completion_tokens: stored.completion_tokens,
            latency_seconds: first_token_seconds + stored.decode_seconds,
            first_token_seconds,
            abstained: stored.answer.trim().is_empty(),
            answer: stored.answer,
            ..Trial::new(job.system)
        }
    }
}

/// How fast the trials of a split go, in tokens: those of the prompt and as many as an answer may
/// have.
struct TrialPace {
    start: Instant,
    max_tokens: usize,
    /// Trials to run.
    total: usize,
    /// Trials that were run.
    run: usize,
    tokens_done: usize,
    tokens_left: usize,
}

impl TrialPace {
    fn new(jobs: &[TrialJob], pending: &[bool], max_tokens: usize) -> Self {
        let to_run = || jobs.iter().zip(pending).filter(|(_, pending)| **pending);
        Self {
            start: Instant::now(),
            max_tokens,
            total: to_run().count(),
            run: 0,
            tokens_done: 0,
            tokens_left: to_run().map(|(job, _)| job.prompt_tokens + max_tokens).sum(),
        }
    }

    /// Counts a trial that was run just now.
    fn done(&mut self, job: &TrialJob) -> TrialDone {
        let tokens = job.prompt_tokens + self.max_tokens;
        self.run += 1;
        self.tokens_done += tokens;
        self.tokens_left -= tokens;
        let seconds_per_token = self.start.elapsed().as_secs_f64() / self.tokens_done.max(1) as f64;
        TrialDone {
            arm: job.arm,
            done: self.run,
            total: self.total,
            seconds_left: seconds_per_token * self.tokens_left as f64,
        }
    }
}

/// Seconds it took to find what stands in the prompt of an arm.
pub(super) fn retrieval_seconds(arm: Arm, grounded: &Grounded) -> f64 {
    match (arm.uses_retrieval(), arm.uses_examples()) {
        (true, _) => grounded.retrieved.seconds(),
        (false, true) => grounded.retrieved.embed_seconds,
        (false, false) => 0.0,
    }
}

/// Whether the evidence of a question stands in the prompt; `None` where the question names none or
/// the arm reads none.
fn evidence_in_prompt(job: &TrialJob, question: &Question, grounded: &Grounded) -> Option<bool> {
    if question.evidence.is_empty() || !job.arm.uses_passages() {
        None
    } else if job.arm.uses_gold() {
        Some(true)
    } else {
        grounded.evidence_retrieved(job.passages)
    }
}
