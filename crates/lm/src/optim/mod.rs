//! How far does a step of training move the weights?
//!
//! In go gradients and the number of the step; out come new weights. AdamW does the update, the
//! schedule sets its learning rate.

mod adamw;
mod schedule;

pub use adamw::{AdamW, AdamWOptions, Group, clip_norm};
pub use schedule::{Decay, Schedule};
