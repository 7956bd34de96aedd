//! The truth: what the SQLite database holds, and who may write to it.

pub(crate) mod adapters;
pub(crate) mod documents;
pub(crate) mod embeddings;
pub(crate) mod ids;
pub(crate) mod indexes;
pub(crate) mod lock;
pub(crate) mod packed;
pub(crate) mod records;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod synthetic;
