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
use crate::{Error, Pack, Precision, Result};

/// Size, memory and, once calibrated, time of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Optimiser steps.
    pub steps: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Tokens of all examples over all epochs. What examples of a pack begin with in common is run once.
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
/// With `h` hidden width, `q` and `kv` widths of all query and all key heads, `i` feed-forward width, `r` the adapter's
/// rank times its target projections, `n` tokens of the largest pack, all numbers f32 unless said otherwise:
///
/// - `weights`: as the decoder holds them: a number a parameter, two bytes in bf16, and there once more in few bits where
///   the file had them so;
/// - `transposed`: in bf16, the weights once more, packed for the backward pass;
/// - `adapter`: weights, gradient, two moments, best weights: five numbers an adapter parameter, and one to spare for
///   the copy that is returned;
/// - `activations`: kept for the backward pass, `n * (layers * (2h + 2q + 2kv + heads + 2i + r) + h)`, and for a layer
///   `q + kv` more where heads are normalised and `2h` more where branches are; worked in by
///   one layer, `n * (5h + 3q + 2kv + 5i + r + head_dim)` and, for every row that attention looks at, counting those of
///   a common beginning once a sequence, `3q + 4kv`; logits of at most 128 targets, with their bf16 copy; scores
///   of 64 rows of the longest sequence, twice for each thread; and a third of all that for what the allocator cannot
///   reuse while buffers grow.
///
/// Measured on SmolLM2-135M, bf16, packs of 1,024 tokens: 1,314 MiB beyond the model, estimated 1,321; without the last
/// third 1,084, which is what an allocator that maps every buffer by itself needs (1,045).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryEstimate {
    /// The frozen model; in use before training starts.
    pub weights: u64,
    /// The frozen model, packed a second time.
    pub transposed: u64,
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
        self.transposed + self.adapter + self.activations
    }
}

impl Estimate {
    /// Times one step of the run on `run`'s own longest packs and fills [`Estimate::seconds`].
    ///
    /// Takes as long as one optimiser step and one dev pack, twice: the first time warms buffers up.
    ///
    /// # Errors
    /// As [`TrainingRun::train`] in its first step.
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
                let MemoryEstimate { transposed, adapter, activations, .. } = self.memory;
                Err(Error::Memory { needed, available, adapter, activations: activations + transposed })
            }
            _ => Ok(()),
        }
    }
}

impl TrainingRun<'_> {
    /// The examples of every step, as places in `train`.
    ///
    /// # Errors
    /// As [`TrainingRun::train`] before its first step.
    pub fn batches(&self) -> Result<Vec<Vec<usize>>> {
        Ok(Plan::new(self.train, self.options)?.into_steps())
    }

    /// What [`TrainingRun::train`] will take. Instant; [`Estimate::calibrate`] adds seconds.
    ///
    /// # Errors
    /// As [`TrainingRun::train`] before its first step, lack of memory excepted.
    pub fn estimate(&self) -> Result<Estimate> {
        let plan = Plan::new(self.train, self.options)?;
        let dev_packs = plan::dev_packs(self.dev, self.options)?;
        let count = plan.count(0..plan.steps());
        let config = self.decoder.config();
        let parameters = Lora::zeros(config, self.options.lora.clone())?.params.len() as u64;
        let packs = (0..plan.steps()).flat_map(|step| join(self.train, &plan.packs(step)));
        let mut activations = 0;
        for pack in packs.chain(join(self.dev, &dev_packs)) {
            pack.validate(config)?;
            activations = activations.max(activation_bytes(config, &self.options.lora, &pack));
        }
        let weights = self.decoder.weight_bytes() as u64;
        let bf16 = self.decoder.precision() == Precision::Bf16;
        let transposed = if bf16 { 2 * frozen_parameters(config) } else { 0 };
        Ok(Estimate {
            steps: plan.steps(),
            epochs: plan.epoch(plan.steps().saturating_sub(1)),
            tokens: count.tokens,
            trained_tokens: count.trained,
            dev_tokens: self.dev.iter().map(|example| example.ids.len()).sum(),
            evaluations: if dev_packs.is_empty() { 0 } else { plan.evaluations_after(0) },
            memory: MemoryEstimate { weights, transposed, adapter: 6 * 4 * parameters, activations },
            seconds: None,
        })
    }
}

fn join(examples: &[Rendered], packs: &[Vec<usize>]) -> Vec<Pack> {
    packs.iter().map(|pack| packing::join(pack.iter().map(|&index| &examples[index]))).collect()
}

/// Wall-clock seconds of `work` on every pack, per token of its sequences (a common beginning counts for each, as in
/// [`Estimate::tokens`]).
fn seconds_per_token(packs: &[Pack], work: &mut dyn FnMut(&Pack) -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for pack in packs {
        work(pack)?;
    }
    let tokens: usize = packs.iter().map(Pack::sequence_tokens).sum();
    Ok(started.elapsed().as_secs_f64() / tokens.max(1) as f64)
}

/// Numbers in the frozen weights.
fn frozen_parameters(config: &DecoderConfig) -> u64 {
    let DecoderConfig { hidden, layers, intermediate, vocabulary, .. } = *config;
    let (query, kv) = (config.query_width(), config.kv_width());
    let norms = if config.post_norms { 4 } else { 2 } * hidden;
    let head_norms = if config.query_key_norm { 2 * config.head_dim } else { 0 };
    let layer = 2 * hidden * query + 2 * hidden * kv + 3 * hidden * intermediate + norms + head_norms;
    let tables = if config.tied_embeddings { 1 } else { 2 };
    (layers * layer + tables * vocabulary * hidden + hidden) as u64
}

/// Bytes that the forward and backward pass of `pack` keeps and works in; see [`MemoryEstimate`].
fn activation_bytes(config: &DecoderConfig, lora: &LoraConfig, pack: &Pack) -> u64 {
    let DecoderConfig { hidden, layers, intermediate, heads, head_dim, vocabulary, .. } = *config;
    let (query, kv) = (config.query_width(), config.kv_width());
    let low = lora.rank * lora.targets.len();
    let before_norms =
        if config.query_key_norm { query + kv } else { 0 } + if config.post_norms { 2 * hidden } else { 0 };
    let kept =
        layers * (2 * hidden + 2 * query + 2 * kv + heads + 2 * intermediate + low + before_norms) + hidden;
    let worked_in = 5 * hidden + 3 * query + 2 * kv + 5 * intermediate + low + head_dim;
    let logits = pack.targets().min(128) * (vocabulary + vocabulary / 2 + 4 * hidden);
    let layout = pack.layout();
    let seen = layout.seen() * (3 * query + if pack.shared > 0 { 4 * kv } else { 0 });
    let longest = pack.shared + pack.lengths.iter().max().copied().unwrap_or(0);
    let scores = rayon::current_num_threads() * 2 * 64 * longest;
    let numbers = pack.len() * (kept + worked_in) + seen + logits + scores;
    4 * (numbers + numbers / 3) as u64
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_larger_than_memory_is_refused_with_numbers() {
        let mib = 1 << 20;
        let memory = MemoryEstimate {
            weights: 500 * mib,
            transposed: 100 * mib,
            adapter: 110 * mib,
            activations: 800 * mib,
        };
        let estimate = Estimate {
            steps: 1,
            epochs: 1,
            tokens: 1,
            trained_tokens: 1,
            dev_tokens: 0,
            evaluations: 0,
            memory,
            seconds: None,
        };
        assert_eq!((memory.additional(), memory.total()), (1010 * mib, 1510 * mib));
        assert!(estimate.check_memory(None).is_ok());
        assert!(estimate.check_memory(Some(1010 * mib)).is_ok());
        let error = estimate.check_memory(Some(1009 * mib)).unwrap_err().to_string();
        for number in ["1010 MiB more", "110 MiB", "900 MiB", "1009 MiB are free"] {
            assert!(error.contains(number), "{error}");
        }
    }

    #[test]
    fn available_memory_is_read_from_meminfo() {
        let text = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   12345678 kB\n";
        assert_eq!(available_on_machine(text), Some(12_345_678 * 1024));
        assert_eq!(available_on_machine("MemTotal: 1 kB\n"), None);
        assert_eq!(available_on_machine("MemAvailable: lots\n"), None);
    }

    #[test]
    fn weights_of_a_known_model_are_counted() {
        let smollm2 = DecoderConfig {
            hidden: 576,
            layers: 30,
            heads: 9,
            kv_heads: 3,
            head_dim: 64,
            intermediate: 1536,
            vocabulary: 49152,
            ..DecoderConfig::tiny()
        };
        assert_eq!(frozen_parameters(&smollm2), 134_515_008);
    }
}
