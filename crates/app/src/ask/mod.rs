//! Question -> hits -> passages -> prompt -> answer + citations + timings.
//!
//! - `request` -> `plan`: what is asked, and the same with every default resolved
//! - `answer`, [`citation`]: what comes back, and the sentences of the passages that support it
//! - [`shots`], `repetition`: examples for the prompt, and the end of an answer in circles
//! - [`service`]: opens all that answering needs, runs the stages, and knows who may ask what

mod answer;
pub mod citation;
mod plan;
mod repetition;
mod request;
pub mod service;
pub mod shots;

pub(crate) use plan::SET_MAX_TOKENS;

pub use answer::{ABSTENTION, Answer, StageSeconds, TokenCounts};
pub use request::{AskRequest, NEVER_ABSTAIN};
