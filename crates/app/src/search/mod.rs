//! Finding passages: what a project knows, the order of hits, and where the evidence of a question stands.

pub(crate) mod chunks;
pub mod grounding;
pub mod index_cost;
pub mod knowledge;
pub mod recipe;
pub mod rerank;
