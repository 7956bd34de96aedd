//! The training loop.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::checkpoint::{self, Best, Fingerprint, RunProgress, Vectors};
use super::fingerprint::fingerprint;
use super::history::{Evaluation, StepRecord, TrainEvent, Trained};
use super::memory;
use super::pace::Pace;
use super::packing;
use super::plan::{self, Plan};
use super::run::TrainingRun;
use crate::adapter::Lora;
use crate::decoder::{Loss, Workspace};
use crate::optim::{AdamW, AdamWOptions, Group, Schedule, clip_norm};
use crate::{Error, Result};

impl TrainingRun<'_> {
    /// Trains an adapter on `train`, watched on `dev`.
    ///
    /// # Errors
    /// Options out of range; no examples; an example without a trained token, over `max_length`, or
    /// with ids the model lacks; too little memory ([`Error::Memory`], before anything is
    /// allocated); a loss that is no number any more ([`Error::Diverged`]); a checkpoint that
    /// cannot be written or read, or belongs to another run.
    pub fn train(&self, on_event: &mut dyn FnMut(TrainEvent)) -> Result<Trained> {
        self.estimate()?.check_memory(memory::available_memory())?;
        let mut session = Session::start(self)?;
        if session.progress.step > 0 {
            on_event(TrainEvent::Resumed { step: session.progress.step });
        }
        let end = session.advance(on_event)?;
        Ok(session.finish(end))
    }
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    StoppedEarly,
    Interrupted,
}

/// Whether a step or an evaluation was made, or left out because the `stop` flag was set in the
/// middle of it; a resumed run then makes it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Whole,
    Interrupted,
}

/// A run in progress.
struct Session<'a> {
    run: &'a TrainingRun<'a>,
    plan: Plan,
    dev_packs: Vec<Vec<usize>>,
    schedule: Schedule,
    groups: Vec<Group>,
    adam: AdamW,
    lora: Lora,
    grads: Vec<f32>,
    workspace: Workspace,
    progress: RunProgress,
    /// Step of the last checkpoint.
    saved: usize,
    fingerprint: Fingerprint,
    pace: Pace,
}

impl<'a> Session<'a> {
    /// A fresh run, or one picked up from its checkpoint.
    fn start(run: &'a TrainingRun<'a>) -> Result<Self> {
        let options = run.options;
        let plan = Plan::new(run.train, options)?;
        let dev_packs = plan::dev_packs(run.dev, options)?;
        let mut lora = Lora::new(run.decoder.config(), options.lora.clone(), options.seed)?;
        let parameters = lora.params.len();
        let adam_options =
            AdamWOptions { weight_decay: options.weight_decay, ..AdamWOptions::default() };
        let mut adam = AdamW::new(parameters, adam_options);

        let fingerprint = fingerprint(run);
        let mut progress = RunProgress::default();
        if let Some(checkpointing) =
            options.checkpoint.as_ref().filter(|checkpointing| checkpointing.resume)
            && let Some((stored, vectors)) =
                checkpoint::load(&checkpointing.folder, &fingerprint, parameters)?
        {
            lora.params = vectors.params.into_owned();
            adam.first = vectors.first.into_owned();
            adam.second = vectors.second.into_owned();
            adam.updates = stored.step as u64;
            progress = stored;
        }
        Ok(Session {
            run,
            schedule: Schedule::new(
                options.learning_rate,
                options.warmup,
                plan.steps(),
                options.decay,
            ),
            groups: groups(&lora, options.b_rate_scale),
            pace: Pace::new(progress.seconds),
            grads: vec![0.0; parameters],
            workspace: run.decoder.workspace(&lora, plan.longest_pack()),
            saved: progress.step,
            plan,
            dev_packs,
            fingerprint,
            adam,
            lora,
            progress,
        })
    }

    /// Goes on until the end, the patience or the `stop` flag.
    ///
    /// Each turn does the one thing that the state says is due next. So a run that is resumed,
    /// whatever it was interrupted in, does next what it would have done next.
    fn advance(&mut self, on_event: &mut dyn FnMut(TrainEvent)) -> Result<End> {
        let end = loop {
            let step = self.progress.step;
            let done = if self.evaluates(step) && self.progress.evaluated < step {
                self.evaluate(on_event)?
            } else if let Some(best_step) = self.exhausted() {
                on_event(TrainEvent::StoppedEarly { step, best_step });
                break End::StoppedEarly;
            } else if step == self.plan.steps() {
                break End::Complete;
            } else {
                self.step(on_event)?
            };
            if done == Done::Interrupted {
                break End::Interrupted;
            }
            if self.saves_now() {
                self.save(on_event)?;
            }
        };
        if end == End::Interrupted || self.saved < self.progress.step {
            self.save(on_event)?;
        }
        Ok(end)
    }

    /// Whether the dev examples are evaluated after `step` steps.
    fn evaluates(&self, step: usize) -> bool {
        !self.run.dev.is_empty() && self.plan.evaluates_after(step)
    }

    /// Whether a checkpoint is due: the step was the n-th, or the evaluation due after it has been
    /// made.
    fn saves_now(&self) -> bool {
        let step = self.progress.step;
        if self.evaluates(step) {
            return self.progress.evaluated == step;
        }
        let every =
            self.run.options.checkpoint.as_ref().and_then(|checkpointing| checkpointing.every);
        every.is_some_and(|every| step.is_multiple_of(every.max(1)))
    }

    /// The best step, when the patience is used up before the end.
    fn exhausted(&self) -> Option<usize> {
        let patience = self.run.options.patience?;
        let best = self.progress.best.as_ref()?;
        (self.progress.stale >= patience && self.progress.step < self.plan.steps())
            .then_some(best.step)
    }

    /// One optimiser step: forward and backward over its packs, clip, update.
    fn step(&mut self, on_event: &mut dyn FnMut(TrainEvent)) -> Result<Done> {
        let step = self.progress.step;
        let count = self.plan.count(step..step + 1);

        self.grads.fill(0.0);
        let mut loss = Loss::default();
        for pack in self.plan.packs(step) {
            if self.stopped() {
                return Ok(Done::Interrupted);
            }
            let pack = packing::join(pack.iter().map(|&index| &self.run.train[index]));
            // One divisor for the whole step, so that the cut into packs cannot matter.
            let scale = 1.0 / count.trained as f32;
            let part = self.run.decoder.loss_and_grad(
                &self.lora,
                &pack,
                scale,
                &mut self.grads,
                &mut self.workspace,
            )?;
            loss.sum += part.sum;
            loss.tokens += part.tokens;
        }
        let mean = loss.sum / loss.tokens as f64;
        let gradient_norm = clip_norm(&mut self.grads, self.run.options.clip);
        if !(mean.is_finite() && gradient_norm.is_finite()) {
            return Err(Error::Diverged { step: step + 1, loss: mean, gradient_norm });
        }
        let learning_rate = self.schedule.rate(step);
        self.adam.update(&mut self.lora.params, &self.grads, learning_rate, &self.groups);

        self.progress.step += 1;
        self.progress.tokens += count.tokens;
        self.progress.trained_tokens += count.trained;
        self.progress.history.steps.push(StepRecord { loss: mean, learning_rate, gradient_norm });
        self.pace.stepped(count.tokens);
        let steps = self.plan.steps();
        let tokens_left = self.plan.count(step + 1..steps).tokens;
        let evaluations_left =
            if self.run.dev.is_empty() { 0 } else { self.plan.evaluations_after(step) };
        on_event(TrainEvent::Step {
            step: step + 1,
            steps,
            epoch: self.plan.epoch(step),
            loss: mean,
            learning_rate,
            gradient_norm,
            tokens_per_second: self.pace.tokens_per_second(),
            seconds_left: self.pace.seconds_left(tokens_left, evaluations_left),
        });
        Ok(Done::Whole)
    }

    /// Dev loss, and the best weights kept.
    fn evaluate(&mut self, on_event: &mut dyn FnMut(TrainEvent)) -> Result<Done> {
        self.pace.evaluating();
        let mut loss = Loss::default();
        for pack in &self.dev_packs {
            if self.stopped() {
                return Ok(Done::Interrupted);
            }
            let pack = packing::join(pack.iter().map(|&index| &self.run.dev[index]));
            let part = self.run.decoder.loss(Some(&self.lora), &pack)?;
            loss.sum += part.sum;
            loss.tokens += part.tokens;
        }
        self.pace.evaluated();
        let (step, dev_loss) = (self.progress.step, loss.sum / loss.tokens as f64);
        if !dev_loss.is_finite() {
            return Err(Error::Diverged { step, loss: dev_loss, gradient_norm: 0.0 });
        }
        let best = self.progress.best.as_ref().is_none_or(|best| dev_loss < best.dev_loss);
        if best {
            self.progress.best = Some(Best { step, dev_loss, params: self.lora.params.clone() });
            self.progress.stale = 0;
        } else {
            self.progress.stale += 1;
        }
        self.progress.evaluated = step;
        self.progress.history.evaluations.push(Evaluation { step, dev_loss });
        on_event(TrainEvent::Evaluated { step, dev_loss, best });
        Ok(Done::Whole)
    }

    fn stopped(&self) -> bool {
        self.run.options.stop.load(Ordering::Relaxed)
    }

    /// Writes a checkpoint, where one is wanted.
    fn save(&mut self, on_event: &mut dyn FnMut(TrainEvent)) -> Result<()> {
        let Some(checkpointing) = &self.run.options.checkpoint else { return Ok(()) };
        self.progress.seconds = self.pace.total_seconds();
        let vectors = Vectors {
            params: Cow::Borrowed(&self.lora.params),
            first: Cow::Borrowed(&self.adam.first),
            second: Cow::Borrowed(&self.adam.second),
        };
        checkpoint::save(&checkpointing.folder, &self.progress, &vectors, &self.fingerprint)?;
        self.saved = self.progress.step;
        on_event(TrainEvent::Saved { step: self.saved });
        Ok(())
    }

    /// The outcome: the best weights, or the last ones when nothing was evaluated.
    fn finish(mut self, end: End) -> Trained {
        let (best_step, dev_loss) = match self.progress.best.take() {
            Some(best) => {
                self.lora.params = best.params;
                (best.step, Some(best.dev_loss))
            }
            None => (self.progress.step, None),
        };
        Trained {
            lora: self.lora,
            best_step,
            dev_loss,
            history: self.progress.history,
            seconds: self.pace.total_seconds(),
            tokens: self.progress.tokens,
            trained_tokens: self.progress.trained_tokens,
            interrupted: end == End::Interrupted,
            stopped_early: end == End::StoppedEarly,
        }
    }
}

/// Every `A` at the plain rate, every `B` at `b_rate_scale` times that.
fn groups(lora: &Lora, b_rate_scale: f64) -> Vec<Group> {
    let of = |module: &crate::Module| {
        [
            Group { range: module.a.clone(), rate_scale: 1.0 },
            Group { range: module.b.clone(), rate_scale: b_rate_scale },
        ]
    };
    lora.modules().iter().flat_map(of).collect()
}
