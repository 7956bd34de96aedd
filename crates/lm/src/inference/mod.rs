//! Answers: one after the other or in a batch, sampled, drafted from the prompt, with what earlier
//! prompts have left.

pub(crate) mod engine;
pub(crate) mod generate;
pub(crate) mod model;
pub(crate) mod prefix_cache;
pub(crate) mod prompt_lookup;
pub(crate) mod sample;
