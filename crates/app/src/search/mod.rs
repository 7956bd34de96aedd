//! Finding passages.
//!
//! - [`knowledge`]: an opened store with its encoder, and how it is searched
//! - `tuned`: what is searched for in the questions of a set, as configured or tuned for it
//! - [`rerank`]: the order of the first hits
//! - [`grounding`]: where the evidence of a question stands in the index, and whether it is found

pub(crate) mod chunks;
pub mod grounding;
pub mod index_cost;
pub mod knowledge;
pub mod recipe;
pub mod rerank;
mod tuned;
