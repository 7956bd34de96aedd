//! What a run will take, before it starts.

use std::fs;
use std::time::Instant;

use super::TrainingRun;
use super::plan::{self, Plan};
use crate::config::DecoderConfig;
use crate::decoder::Workspace;
use crate::lora::{Lora, LoraConfig};
use crate::packing;
use crate::template::Rendered;
use crate::{Error, Pack, Result};

/// Size, memory and, once calibrated, time of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Optimiser steps.
    pub steps: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Tokens run forward and backward, over all epochs.
    pub tokens: usize,
    /// Tokens of these that carry loss.
    pub trained_tokens: usize,
    /// Tokens of one evaluation.
    pub dev_tokens: usize,
    /// Evaluations, if no patience ends the run early.
    pub evaluations: usize,
    /// Bytes needed.
    pub memory: MemoryEstimate,
    /// Wall-clock seconds; `None` until [`Estimate::calibrate`].
    pub seconds: Option<f64>,
}

/// Bytes a run needs at its peak.
///
/// - `weights`: what the loaded model occupies; already in use when training starts.
/// - `adapter`: six vectors of one f32 per adapter parameter: weights, gradient, two moments, best weights, and
///   one to spare for the final copy.
/// - `activations`: what the backward pass of the largest pack keeps and works in; see [`activation_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryEstimate {
    /// The frozen model.
    pub weights: u64,
    /// Adapter, gradient, moments.
    pub adapter: u64,
    /// Largest pack.
    pub activations: u64,
}

impl MemoryEstimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.additional()
    }

    /// What is needed beyond the loaded model.
    pub fn additional(&self) -> u64 {
        self.adapter + self.activations
    }
}

impl Estimate {
    /// Times one step of the run on `run`'s own longest packs and fills [`Estimate::seconds`].
    ///
    /// Takes as long as one optimiser step and one dev pack, twice: the first time warms buffers up.
    ///
    /// # Errors
    /// As [`train`](super::train) in its first step.
    pub fn calibrate(&mut self, run: &TrainingRun<'_>) -> Result<()> {
        let plan = Plan::new(run.train, run.options)?;
        let lora = Lora::new(run.decoder.config(), run.options.lora.clone(), run.options.seed)?;
        let mut grads = vec![0.0; lora.params.len()];
        let mut workspace = Workspace::default();
        let step = join(run.train, &plan.packs(0));
        let mut backward = || {
            seconds_per_token(&step, &mut |pack| {
                run.decoder.loss_and_grad(&lora, pack, 1.0, &mut grads, &mut workspace).map(drop)
            })
        };
        backward()?;
        let mut seconds = self.tokens as f64 * backward()?;
        if self.evaluations > 0 {
            let packs = plan::dev_packs(run.dev, run.options)?;
            let first = join(run.dev, packs.get(..1).unwrap_or_default());
            let forward =
                seconds_per_token(&first, &mut |pack| run.decoder.loss(Some(&lora), pack).map(drop))?;
            seconds += (self.evaluations * self.dev_tokens) as f64 * forward;
        }
        self.seconds = Some(seconds);
        Ok(())
    }

    /// Refuses a run that would not fit into `available` bytes; `None` = unknown, which passes.
    ///
    /// # Errors
    /// [`Error::Memory`] with all numbers.
    pub fn check_memory(&self, available: Option<u64>) -> Result<()> {
        let needed = self.memory.additional();
        match available {
            Some(available) if needed > available => {
                let MemoryEstimate { adapter, activations, .. } = self.memory;
                Err(Error::Memory { needed, available, adapter, activations })
            }
            _ => Ok(()),
        }
    }
}

impl TrainingRun<'_> {
    /// [`estimate`](super::estimate).
    ///
    /// # Errors
    /// As [`estimate`](super::estimate).
    pub fn estimate(&self) -> Result<Estimate> {
        let plan = Plan::new(self.train, self.options)?;
        let dev_packs = plan::dev_packs(self.dev, self.options)?;
        let count = plan.count(0..plan.steps());
        let config = self.decoder.config();
        let parameters = Lora::zeros(config, self.options.lora.clone())?.params.len() as u64;
        let train_packs = (0..plan.steps()).flat_map(|step| plan.packs(step));
        let activations = train_packs
            .map(|pack| join(self.train, &[pack]))
            .flatten()
            .map(|pack| activation_bytes(config, &self.options.lora, &pack))
            .max()
            .unwrap_or(0);
        Ok(Estimate {
            steps: plan.steps(),
            epochs: plan.epoch(plan.steps().saturating_sub(1)),
            tokens: count.tokens,
            trained_tokens: count.trained,
            dev_tokens: self.dev.iter().map(|example| example.ids.len()).sum(),
            evaluations: if dev_packs.is_empty() { 0 } else { plan.evaluations_after(0) },
            memory: MemoryEstimate {
                weights: weight_bytes(config),
                adapter: 6 * 4 * parameters,
                activations,
            },
            seconds: None,
        })
    }
}

fn join(examples: &[Rendered], packs: &[Vec<usize>]) -> Vec<Pack> {
    packs.iter().map(|pack| packing::join(pack.iter().map(|&index| &examples[index]))).collect()
}

/// Wall-clock seconds of `work` on every pack, per token.
fn seconds_per_token(packs: &[Pack], work: &mut dyn FnMut(&Pack) -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for pack in packs {
        work(pack)?;
    }
    let tokens: usize = packs.iter().map(Pack::len).sum();
    Ok(started.elapsed().as_secs_f64() / tokens.max(1) as f64)
}

/// Bytes of the frozen weights in f32.
fn weight_bytes(config: &DecoderConfig) -> u64 {
    let DecoderConfig { hidden, layers, intermediate, vocabulary, .. } = *config;
    let (query, kv) = (config.query_width(), config.kv_width());
    let layer = 2 * hidden * query + 2 * hidden * kv + 3 * hidden * intermediate + 2 * hidden;
    let heads = if config.tied_embeddings { 1 } else { 2 };
    4 * (layers * layer + heads * vocabulary * hidden + hidden) as u64
}

/// Bytes that the forward and backward pass of `pack` keeps.
fn activation_bytes(config: &DecoderConfig, lora: &LoraConfig, pack: &Pack) -> u64 {
    let DecoderConfig { hidden, layers, intermediate, .. } = *config;
    let (query, kv) = (config.query_width(), config.kv_width());
    let layer = 4 * hidden + 2 * query + 2 * kv + 3 * intermediate + 7 * lora.rank;
    4 * (pack.len() * (layers + 2) * layer) as u64
}

/// Bytes of memory that a new allocation can use: the kernel's estimate, less where a control group allows less.
/// `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    let machine = available_on_machine(&fs::read_to_string("/proc/meminfo").ok()?);
    let number =
        |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let group =
        number("memory.max").zip(number("memory.current")).map(|(limit, used)| limit.saturating_sub(used));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_on_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
