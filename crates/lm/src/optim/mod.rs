//! The optimizer: AdamW, clipping and the learning rate over a run.

pub(crate) mod adamw;
pub(crate) mod schedule;
