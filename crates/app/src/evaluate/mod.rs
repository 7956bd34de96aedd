//! Measuring retrieval and citations on questions whose answers are known.

pub mod beir;
pub mod citations;
pub mod retrieval;
