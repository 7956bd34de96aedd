//! Arms x questions -> trials -> measures: what a decision is made from.
//!
//! Dev first: retrieval is tuned, `rag` and `oracle` run, and the ceiling gate is read. The
//! fine-tuned arms are trained when it opens or the user asks. Only then is the test split opened,
//! which the store logs, and every arm runs on it. Trials are kept under a hash of all they depend
//! on, so a repeated comparison costs nothing and a changed input runs again.

mod bench;
mod costs;
pub mod decide;
mod estimate;
mod event;
mod floor;
mod plan;
mod record;
mod trials;
mod tuning;

pub use bench::Bench;
pub use event::{CompareEvent, CompareOptions, TrialDone};
pub use plan::{ArmChoice, ComparisonEstimate};
pub use record::{Comparison, RerankFinding, TrainingRecord};
