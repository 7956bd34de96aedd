//! The course of a run, known before it starts: which examples each step holds, and when to
//! evaluate.

use super::options::TrainOptions;
use super::packing::{self, PrefixGroups};
use crate::language::Rendered;
use crate::{Error, Result};

/// The steps of a whole run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    groups: PrefixGroups,
    trained: Vec<usize>,
    pack_tokens: usize,
    /// The examples of every step. Eight bytes an example and epoch, so kept for the whole run.
    steps: Vec<Vec<usize>>,
    /// Steps made when each epoch is over, ascending; the last is the number of steps.
    epoch_ends: Vec<usize>,
    eval_every: Option<usize>,
}

impl Plan {
    /// Plans the run over `train`.
    pub(super) fn new(train: &[Rendered], options: &TrainOptions<'_>) -> Result<Self> {
        options.validate()?;
        if train.is_empty() {
            return Err(Error::Option {
                name: "train",
                reason: "there are no examples to train on".into(),
            });
        }
        check("training", train, options.max_length)?;
        let groups = PrefixGroups::of(train);
        let trained = train.iter().map(packing::trained_tokens).collect();
        let limit = options.max_steps.unwrap_or(usize::MAX);
        let mut steps = Vec::new();
        let mut epoch_ends = Vec::new();
        for epoch in 0..options.epochs {
            steps.extend(groups.steps(options.batch_tokens, options.seed, epoch));
            steps.truncate(limit);
            epoch_ends.push(steps.len());
            if steps.len() == limit {
                break;
            }
        }
        let (pack_tokens, eval_every) = (options.pack_tokens, options.eval_every);
        Ok(Plan { groups, trained, pack_tokens, steps, epoch_ends, eval_every })
    }

    /// Steps of the run.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The examples of every step.
    pub(super) fn into_steps(self) -> Vec<Vec<usize>> {
        self.steps
    }

    /// Epoch, from 1, of step `step` (from 0).
    pub(super) fn epoch(&self, step: usize) -> usize {
        self.epoch_ends.partition_point(|&end| end <= step) + 1
    }

    /// The examples of step `step` (from 0), cut into packs.
    pub(super) fn packs(&self, step: usize) -> Vec<Vec<usize>> {
        self.groups.pack(&self.steps[step], self.pack_tokens)
    }

    /// Tokens that the longest pack runs, at most.
    pub(super) fn longest_pack(&self) -> usize {
        let packs = (0..self.steps()).flat_map(|step| self.packs(step));
        packs.map(|pack| self.groups.run_tokens(&pack)).max().unwrap_or(0)
    }

    /// Tokens and trained tokens of these steps, counted from 0.
    pub(super) fn count(&self, steps: std::ops::Range<usize>) -> Count {
        let mut count = Count::default();
        for &index in self.steps[steps].iter().flatten() {
            count.tokens += self.groups.length(index);
            count.trained += self.trained[index];
        }
        count
    }

    /// Whether the dev examples are evaluated after `step` steps.
    pub(super) fn evaluates_after(&self, step: usize) -> bool {
        step > 0
            && (self.epoch_ends.binary_search(&step).is_ok()
                || self.eval_every.is_some_and(|every| step.is_multiple_of(every)))
    }

    /// Evaluations after more than `step` steps.
    pub(super) fn evaluations_after(&self, step: usize) -> usize {
        (step + 1..=self.steps()).filter(|&step| self.evaluates_after(step)).count()
    }
}

/// Tokens run through the model, and those of them that carry loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub tokens: usize,
    pub trained: usize,
}

/// The dev examples in packs of at most `pack_tokens`, in an order that never changes.
pub(super) fn dev_packs(dev: &[Rendered], options: &TrainOptions<'_>) -> Result<Vec<Vec<usize>>> {
    check("dev", dev, options.max_length)?;
    let all: Vec<usize> = (0..dev.len()).collect();
    Ok(PrefixGroups::of(dev).pack(&all, options.pack_tokens))
}

/// Refuses examples that cannot be trained or evaluated on.
fn check(what: &str, examples: &[Rendered], max_length: usize) -> Result<()> {
    for (index, example) in examples.iter().enumerate() {
        let name = || format!("{what} example {}", index + 1);
        if example.ids.len() > max_length {
            return Err(Error::TooLong {
                what: name(),
                tokens: example.ids.len(),
                limit: max_length,
            });
        }
        if example.ids.len() != example.mask.len() {
            let (ids, mask) = (example.ids.len(), example.mask.len());
            return Err(Error::Option {
                name: "examples",
                reason: format!("{} has {ids} ids and a mask of {mask}", name()),
            });
        }
        if packing::trained_tokens(example) == 0 {
            return Err(Error::Option {
                name: "examples",
                reason: format!("{} has no trainable token", name()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn examples(count: usize) -> Vec<Rendered> {
        (0..count)
            .map(|index| {
                let length = 4 + index % 7;
                Rendered {
                    ids: vec![1; length],
                    mask: (0..length).map(|at| u8::from(at >= 2)).collect(),
                }
            })
            .collect()
    }

    #[test]
    fn places_follow_epoch_ends_and_evaluations_are_counted() {
        let options = TrainOptions {
            epochs: 3,
            batch_tokens: 20,
            eval_every: Some(4),
            max_steps: Some(22),
            ..TrainOptions::default()
        };
        let plan = Plan::new(&examples(20), &options).unwrap();
        assert_eq!(plan.steps(), 22);
        for step in 0..plan.steps() {
            let turned = step > 0 && plan.epoch(step) != plan.epoch(step - 1);
            assert!(!turned || plan.evaluates_after(step), "an epoch ends after step {step}");
        }
        assert_eq!((plan.epoch(0), plan.epoch(21)), (1, 3));
        // Every epoch holds every example once; the limit cuts the last one short.
        let per_epoch = examples(20).iter().map(|example| example.ids.len()).sum::<usize>();
        let first_two = (0..plan.steps()).filter(|&step| plan.epoch(step) < 3).count();
        assert_eq!(plan.count(0..first_two).tokens, 2 * per_epoch);
        assert!(plan.count(first_two..22).tokens < per_epoch);
        let due = (1..=22).filter(|&step| plan.evaluates_after(step)).count();
        assert_eq!(plan.evaluations_after(0), due);
        assert!(plan.evaluates_after(22) && plan.evaluates_after(4) && !plan.evaluates_after(0));
    }

    #[test]
    fn untrainable_examples_are_refused_by_number() {
        let options = TrainOptions { max_length: 10, ..TrainOptions::default() };
        let mut data = examples(3);
        data[1].mask.fill(0);
        assert!(Plan::new(&data, &options).unwrap_err().to_string().contains("training example 2"));
        data[1] = Rendered { ids: vec![1; 11], mask: vec![1; 11] };
        assert!(Plan::new(&data, &options).unwrap_err().to_string().contains("training example 2"));
        assert!(Plan::new(&[], &options).is_err());
    }
}
