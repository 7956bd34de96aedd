//! Which answer does a prompt get?
//!
//! In go prompts, adapters and options; out comes text, piece by piece, with token counts and
//! timings. [`Model`] gives one answer at a time, [`Engine`] many together; both give the same
//! answer to the last bit. Prefix cache and prompt lookup make answers faster, never different.

mod answer;
mod engine;
mod generate;
mod model;
mod options;
mod prefix_cache;
mod prompt_lookup;
mod sample;

pub use answer::FinishReason;
pub use engine::{Engine, EngineOptions, Event, Stream};
pub use generate::Generation;
pub use model::Model;
pub use options::GenerateOptions;
