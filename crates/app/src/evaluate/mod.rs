//! Measuring what [`search`](crate::search) finds and what [`ask`](crate::ask) cites, on questions
//! whose answers are known. Nothing is found or cited in a way of its own here: the figures are
//! those of the code that serves.
//!
//! - [`retrieval`]: a project's own questions, by their evidence
//! - [`beir`]: a public collection with judgements, without a project; also before and after tuning
//!   the embedder on it
//! - [`citations`]: whole answers, by what they cite and by what should have been refused

pub mod beir;
pub mod citations;
mod methods;
pub mod retrieval;
