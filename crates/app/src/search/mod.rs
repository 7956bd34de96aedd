//! Finding passages: what a project knows, the order of hits, and where the evidence of a question stands.

pub mod grounding;
pub mod knowledge;
pub mod rerank;
