//! Fine-tuning the embedder: questions with the passages that answer them -> negatives -> epochs ->
//! measures on dev -> a folder and a verdict.
//!
//! The index is never changed here. The tuned embedder is a model folder like any other; whoever
//! adopts it embeds all passages anew.
//!
//! [`ProjectEmbedder`] lets it learn from a question set of a project. Learning from a collection
//! in BEIR layout, and measuring what that brings on the test split, is `evaluate::beir::tuned`.

mod epochs;
mod event;
mod lessons;
mod mining;
mod options;
mod question_set;
mod rankings;
mod report;
mod tuner;
mod vectors;

pub use event::EmbedderEvent;
pub(crate) use lessons::DEPTH;
pub use lessons::{EmbedderLessons, JudgedQuestion};
pub use options::EmbedderTuneOptions;
pub use question_set::ProjectEmbedder;
pub(crate) use rankings::difference;
pub use report::{EmbedderEpoch, EmbedderMeasures, RankingMeasures, TunedEmbedder, Verdict};
pub use tuner::EmbedderTuner;
