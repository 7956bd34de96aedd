//! What a run will take, before it starts.

use std::time::Instant;

use super::memory::{self, MemoryEstimate};
use super::packing;
use super::plan::{self, Plan};
use super::run::TrainingRun;
use crate::adapter::Lora;
use crate::decoder::Workspace;
use crate::language::Rendered;
use crate::{Error, Pack, Result};

/// Size, memory and, once calibrated, time of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Optimiser steps.
    pub steps: usize,
    /// Epochs begun.
    pub epochs: usize,
    /// Tokens of all examples over all epochs, a prefix that examples of a pack share counted for
    /// each although it is run once.
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

impl Estimate {
    /// Times one step of the run on `run`'s own longest packs and fills [`Estimate::seconds`].
    ///
    /// Takes as long as one optimiser step and one dev pack, twice: the first time warms buffers
    /// up.
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
            let forward = seconds_per_token(&first, &mut |pack| {
                run.decoder.loss(Some(&lora), pack).map(drop)
            })?;
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
            activations = activations.max(memory::activations(
                config,
                self.decoder.precision(),
                &self.options.lora,
                &pack,
            ));
        }
        let resident = memory::resident().unwrap_or(self.decoder.weight_bytes() as u64);
        Ok(Estimate {
            steps: plan.steps(),
            epochs: plan.epoch(plan.steps().saturating_sub(1)),
            tokens: count.tokens,
            trained_tokens: count.trained,
            dev_tokens: self.dev.iter().map(|example| example.ids.len()).sum(),
            evaluations: if dev_packs.is_empty() { 0 } else { plan.evaluations_after(0) },
            memory: MemoryEstimate { resident, adapter: memory::adapter(parameters), activations },
            seconds: None,
        })
    }
}

fn join(examples: &[Rendered], packs: &[Vec<usize>]) -> Vec<Pack> {
    packs.iter().map(|pack| packing::join(pack.iter().map(|&index| &examples[index]))).collect()
}

/// Wall-clock seconds of `work` on all packs, per token of their sequences (a shared prefix counts
/// for each, as in [`Estimate::tokens`]).
fn seconds_per_token(packs: &[Pack], work: &mut dyn FnMut(&Pack) -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    for pack in packs {
        work(pack)?;
    }
    let tokens: usize = packs.iter().map(Pack::sequence_tokens).sum();
    Ok(started.elapsed().as_secs_f64() / tokens.max(1) as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_larger_than_memory_is_refused_with_numbers() {
        let mib = 1 << 20;
        let memory =
            MemoryEstimate { resident: 500 * mib, adapter: 110 * mib, activations: 900 * mib };
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
}
