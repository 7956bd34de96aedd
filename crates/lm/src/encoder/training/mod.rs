//! Contrastive training of an encoder on questions and the passages that answer them.
//!
//! Equal data, options and weights give equal results bit for bit, whatever the number of threads
//! and however much of the activations is kept, and so does a run that was interrupted and resumed.

mod batches;
mod fingerprint;
mod options;
mod progress;
mod question;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::config::{BertConfig, BertTensors};
use super::contrast::{InfoNce, Matches};
use super::parameters::ParameterLayout;
use super::pass::{BertWeights, KeptPass};
use super::save::save;
use super::texts::{Texts, check_pooling};
use crate::files::{Shards, Tensor, fingerprint, read_json};
use crate::optim::{AdamW, AdamWOptions, Decay, Group, Schedule, clip_norm};
use crate::{Error, Precision, Result};
use batches::{Batch, batches};
use fingerprint::{Fingerprint, run_fingerprint};
use question::check_questions;

pub use options::EmbedderOptions;
pub use progress::{EmbedderEstimate, EmbedderStep, PlannedStep};
pub use question::TrainingQuestion;

/// A training run, epoch by epoch, so that what came out can be measured in between.
#[derive(Debug)]
pub struct EmbedderTraining {
    base: PathBuf,
    config: BertConfig,
    layout: ParameterLayout,
    max_tokens: usize,
    options: EmbedderOptions,
    questions: Vec<TrainingQuestion>,
    /// Ids of the questions' texts, then of the passages'.
    ids: Vec<Vec<u32>>,
    values: Vec<f32>,
    gradients: Vec<f32>,
    adam: AdamW,
    schedule: Schedule,
    /// Steps made.
    step: usize,
    fingerprint: Fingerprint,
}

impl EmbedderTraining {
    /// Opens the encoder in the folder `base` for training on `questions` over `passages`.
    ///
    /// # Errors
    /// As [`crate::Encoder::open`]; options out of range; no questions, a question without a
    /// passage, or with one that `passages` lacks.
    pub fn new(
        base: &Path,
        questions: Vec<TrainingQuestion>,
        passages: &[String],
        options: EmbedderOptions,
    ) -> Result<Self> {
        options.validate()?;
        let options = EmbedderOptions { precision: options.precision.resolve(), ..options };
        check_questions(&questions, passages.len())?;
        let path = base.join("config.json");
        let config = BertConfig::read(&read_json(&path)?, &path)?;
        check_pooling(&base.join("1_Pooling/config.json"))?;
        let shards = Shards::open(base)?;
        let layout = ParameterLayout::of(&config);
        let values = layout.read(&BertTensors::of(&shards, &path)?)?;
        let Texts { tokenizer, max_tokens, file } = Texts::open(base, &config)?;
        let identity = fingerprint([file.as_slice()].into_iter().chain(shards.bytes()));
        let asked = questions.iter().map(|question| &question.text);
        let texts: Vec<&String> = asked.chain(passages).collect();
        let ids = texts
            .par_iter()
            .map(|text| tokenizer.encode_framed(text))
            .collect::<Result<Vec<_>>>()?;
        let pairs: usize = questions.iter().map(|question| question.positives.len()).sum();
        let steps = pairs.div_ceil(options.batch) * options.epochs;
        let adam_options =
            AdamWOptions { weight_decay: options.weight_decay, ..AdamWOptions::default() };
        Ok(Self {
            fingerprint: run_fingerprint(&identity, &questions, &ids, &options),
            gradients: vec![0.0; values.len()],
            adam: AdamW::new(values.len(), adam_options),
            schedule: Schedule::new(options.learning_rate, options.warmup, steps, Decay::Linear),
            base: base.to_owned(),
            step: 0,
            config,
            layout,
            max_tokens,
            options,
            questions,
            ids,
            values,
        })
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> usize {
        self.schedule.steps
    }

    /// Steps made.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Epochs that are over.
    pub fn epochs_made(&self) -> usize {
        self.step / self.steps_per_epoch()
    }

    /// Whether all epochs are over.
    pub fn is_over(&self) -> bool {
        self.step >= self.steps()
    }

    fn steps_per_epoch(&self) -> usize {
        self.steps() / self.options.epochs
    }

    /// What the whole run takes.
    pub fn estimate(&self) -> EmbedderEstimate {
        let BertConfig { hidden, inner, layers, .. } = self.config;
        let (mut tokens, mut squares, mut longest) = (0, 0.0, 0);
        for epoch in 0..self.options.epochs {
            for batch in batches(&self.questions, &self.options, epoch) {
                let lengths = || self.texts(&batch).into_iter().map(<[u32]>::len);
                tokens += lengths().sum::<usize>();
                longest = longest.max(lengths().sum::<usize>());
                squares += lengths().map(|length| (length * length) as f64).sum::<f64>();
            }
        }
        let per_token = KeptPass::bytes_per_token(&self.config);
        let kept = (longest * per_token).min(self.options.kept_bytes);
        let twice = 1.0 - kept as f64 / (longest * per_token).max(1) as f64;
        // A multiplication and an addition for each weight and token, forward, and twice that
        // backward.
        let linear =
            2.0 * (layers * (4 * hidden * hidden + 2 * hidden * inner)) as f64 * tokens as f64;
        let attention = 4.0 * (layers * hidden) as f64 * squares;
        let pack = self.options.pack_tokens.max(self.max_tokens);
        let passing = pack * (per_token + 4 * (8 * hidden + 4 * inner));
        EmbedderEstimate {
            pairs: self.questions.iter().map(|question| question.positives.len()).sum(),
            steps: self.steps(),
            tokens,
            operations: (3.0 + twice) * linear + (3.5 + twice) * attention,
            bytes: (16 * self.values.len() + kept + passing) as u64,
        }
    }

    /// Trains to the end of the current epoch; `false` when `stop` was set before that, in which
    /// case the step in hand was left off.
    ///
    /// # Errors
    /// [`Error::Diverged`]; [`Error::TokenOutOfRange`] when the tokenizer does not belong to the
    /// weights.
    pub fn finish_epoch(
        &mut self,
        stop: &AtomicBool,
        on_step: &mut dyn FnMut(EmbedderStep),
    ) -> Result<bool> {
        if self.is_over() {
            return Ok(true);
        }
        let epoch = self.epochs_made();
        let made = self.step % self.steps_per_epoch();
        for batch in batches(&self.questions, &self.options, epoch).into_iter().skip(made) {
            match self.make_step(&batch, stop)? {
                Some(step) => on_step(step),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// One optimiser step; `None` when it was stopped, and nothing has changed.
    fn make_step(&mut self, batch: &Batch, stop: &AtomicBool) -> Result<Option<EmbedderStep>> {
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.fill(0.0);
        let loss = self.loss_and_gradients(batch, stop, &mut gradients);
        self.gradients = gradients;
        let Some(loss) = loss? else { return Ok(None) };
        let gradient_norm = clip_norm(&mut self.gradients, self.options.clip);
        if !(loss.is_finite() && gradient_norm.is_finite()) {
            return Err(Error::Diverged { step: self.step + 1, loss, gradient_norm });
        }
        let learning_rate = self.schedule.rate(self.step);
        let all = [Group { range: 0..self.values.len(), rate_scale: 1.0 }];
        self.adam.update(&mut self.values, &self.gradients, learning_rate, &all);
        self.step += 1;
        let tokens = self.texts(batch).into_iter().map(<[u32]>::len).sum();
        let (step, steps) = (self.step, self.steps());
        Ok(Some(EmbedderStep { step, steps, loss, learning_rate, gradient_norm, tokens }))
    }

    fn model(&self) -> BertWeights<'_> {
        let rounded = self.options.precision == Precision::Bf16;
        BertWeights { config: &self.config, layout: &self.layout, values: &self.values, rounded }
    }

    /// The loss of a step, its gradients added to `gradients`; `None` when stopped.
    fn loss_and_gradients(
        &self,
        batch: &Batch,
        stop: &AtomicBool,
        gradients: &mut [f32],
    ) -> Result<Option<f64>> {
        let model = self.model();
        let hidden = self.config.hidden;
        let texts = self.texts(batch);
        let packs = packs(&texts, self.options.pack_tokens);
        let mut vectors = vec![0.0; texts.len() * hidden];
        let mut room = self.options.kept_bytes;
        let mut all_kept: Vec<Option<KeptPass>> = Vec::with_capacity(packs.len());
        for pack in &packs {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let of_pack = select(&texts, pack);
            let kept = model.forward(&of_pack)?;
            for (text, vector) in pack.iter().zip(kept.vectors().chunks_exact(hidden)) {
                vectors[text * hidden..][..hidden].copy_from_slice(vector);
            }
            let tokens: usize = of_pack.iter().map(|text| text.len()).sum();
            let bytes = tokens * KeptPass::bytes_per_token(&self.config);
            let fits = bytes <= room;
            room -= if fits { bytes } else { 0 };
            all_kept.push(fits.then_some(kept));
        }
        let (questions, passages) = vectors.split_at(batch.questions.len() * hidden);
        let EmbedderOptions { scale, symmetric, .. } = self.options;
        let loss = InfoNce { scale, symmetric };
        let found = loss.contrast(questions, passages, hidden, &batch.matches);
        let d_vectors = [found.d_questions, found.d_passages].concat();
        for (pack, kept) in packs.iter().zip(all_kept) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let of_pack = select(&texts, pack);
            let kept = match kept {
                Some(kept) => kept,
                None => model.forward(&of_pack)?,
            };
            let rows = pack.iter().flat_map(|text| &d_vectors[text * hidden..][..hidden]);
            let d: Vec<f32> = rows.copied().collect();
            model.backward(&of_pack, &kept, &d, gradients);
        }
        Ok(Some(found.loss))
    }

    /// What each step of an epoch (from 0) holds, for those who repeat a run elsewhere.
    pub fn plan(&self, epoch: usize) -> Vec<PlannedStep> {
        let steps = batches(&self.questions, &self.options, epoch).into_iter();
        let planned = steps.map(|batch| {
            let texts: Vec<Vec<u32>> =
                self.texts(&batch).into_iter().map(<[u32]>::to_vec).collect();
            let (questions, passages) = texts.split_at(batch.questions.len());
            let Matches { positives, also } = batch.matches;
            PlannedStep {
                questions: questions.to_vec(),
                passages: passages.to_vec(),
                positives,
                also,
            }
        });
        planned.collect()
    }

    /// Loss and gradients of the next step with the weights as they are, by the tensors' names;
    /// `None` at the end of the run.
    ///
    /// # Errors
    /// As [`EmbedderTraining::finish_epoch`].
    pub fn gradients(&self) -> Result<Option<(f64, BTreeMap<String, Tensor>)>> {
        if self.is_over() {
            return Ok(None);
        }
        let made = self.step % self.steps_per_epoch();
        let epoch = batches(&self.questions, &self.options, self.epochs_made());
        let mut gradients = vec![0.0; self.values.len()];
        let loss = match epoch.get(made) {
            Some(batch) => {
                self.loss_and_gradients(batch, &AtomicBool::new(false), &mut gradients)?
            }
            None => None,
        };
        let tensors = self.layout.tensors().iter().map(|(name, shape, range)| {
            (name.clone(), Tensor { shape: shape.clone(), data: gradients[range.clone()].to_vec() })
        });
        Ok(loss.map(|loss| (loss, tensors.collect())))
    }

    /// Ids of a step's texts: its questions, then its passages.
    fn texts(&self, batch: &Batch) -> Vec<&[u32]> {
        let passages = batch.passages.iter().map(|passage| self.questions.len() + passage);
        let places = batch.questions.iter().copied().chain(passages);
        places.map(|place| self.ids[place].as_slice()).collect()
    }

    /// Writes the encoder as it is now into `folder`, which is made when missing: in the layout
    /// that sentence-transformers loads, in f32, with everything but the weights as in the folder
    /// it came from.
    ///
    /// # Errors
    /// [`Error::Io`]; a folder whose writing failed holds no weights.
    pub fn save(&self, folder: &Path) -> Result<()> {
        save(&self.layout, &self.values, &self.base, self.max_tokens, folder)
    }
}

/// Cuts texts into packs of at most `most` tokens, or one text: longest first, so that those of a
/// pack are much alike.
fn packs(texts: &[&[u32]], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|text| std::cmp::Reverse(texts[*text].len()));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut tokens = most;
    for text in order {
        tokens += texts[text].len();
        match packs.last_mut() {
            Some(pack) if tokens <= most => pack.push(text),
            _ => {
                packs.push(vec![text]);
                tokens = texts[text].len();
            }
        }
    }
    packs
}

fn select<'a>(texts: &[&'a [u32]], pack: &[usize]) -> Vec<&'a [u32]> {
    pack.iter().map(|text| texts[*text]).collect()
}
