//! Question sets: reading them with every format error at once, splitting them so that nothing
//! leaks, finding what leaked anyway.

mod contradiction;
mod leak;
mod pattern;
mod question;
mod read;
mod set;
mod split;
pub mod synthetic;
#[cfg(test)]
mod tests;

pub use contradiction::Contradiction;
pub(crate) use leak::similar;
pub use leak::{
    Leak, LeakSide, Likeness, SharedDocument, leaks, normalised_tokens, shared_documents,
};
pub use pattern::Pattern;
pub use question::{Evidence, Place, Question, Split};
pub use set::QuestionSet;
pub(crate) use set::sample;
