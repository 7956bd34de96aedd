//! How do examples become an adapter?
//!
//! In go a decoder, rendered examples and options ([`TrainingRun`]); out come events on the way, a
//! checkpoint to resume from, and the adapter with the lowest dev loss ([`Trained`]). [`dataset`]
//! reads the examples, `plan` and [`packing`] say which tokens each step runs, `session` runs them.
//!
//! The loss of a step is the mean negative log-likelihood over all trained tokens of the step,
//! however the step is cut into packs. Two runs with equal data, options and model give equal
//! weights bit for bit, and so does a run that was interrupted and resumed.

mod checkpoint;
mod dataset;
mod estimate;
mod fingerprint;
mod history;
mod memory;
mod options;
mod pace;
pub(crate) mod packing;
mod plan;
mod run;
mod session;

#[cfg(test)]
mod peft_tests;

pub use dataset::{
    DatasetErrors, Example, Form, RowError, parse_examples, read_examples, render_examples, show,
};
pub use estimate::Estimate;
pub use history::{Evaluation, History, StepRecord, TrainEvent, Trained};
pub use memory::{MemoryEstimate, available_memory, peak_memory_of};
pub use options::{Checkpointing, TrainOptions};
pub use run::TrainingRun;
