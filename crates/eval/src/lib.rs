//! The judge: grades answers, compares arms, and decides between RAG, fine-tuning, both, or
//! neither.
//!
//! Everything here is a pure function of stored trials: no clock, no file, no model, and no
//! dependency but `serde` and Unicode's normal forms, so that a decision can be audited and
//! replayed from its inputs alone.
//!
//! The path through the crate is the path of the evidence:
//!
//! 1. [`grade()`] scores one answer with one [`Measure`]; a [`Trial`] is one [`Arm`] answering one
//!    question.
//! 2. [`stats`] turns paired trials into intervals and p-values.
//! 3. [`attribute()`] says what holds RAG back; [`gate()`] says whether it has hit its ceiling.
//! 4. [`cost`] and [`curve`] price the arms and extrapolate more training data.
//! 5. [`decide()`] applies the rule and explains each step.
//!
//! [`ranking`] measures retrieval on its own, in TREC conventions; [`abstention`] says when to
//! answer at all.

pub mod abstention;
pub mod arm;
pub mod attribute;
mod contrast;
pub mod cost;
pub mod curve;
pub mod decide;
pub mod decision;
mod error;
mod evidence;
pub mod figures;
pub mod gate;
pub mod grade;
pub mod prune;
pub mod ranking;
pub mod stats;
pub mod system;
pub mod trial;

pub use arm::Arm;
pub use attribute::{Attribution, attribute};
pub use cost::Costs;
pub use curve::{CurvePoint, LearningCurve};
pub use decide::decide;
pub use decision::{Decision, DecisionInput, Outcome, Rule};
pub use error::Error;
pub use gate::{Gate, GateAnswer, GateOptions, gate, retrieval_gain};
pub use grade::labels::{LabelAnswer, LabelFigures, label_figures};
pub use grade::{Measure, Tolerance, grade, lenient};
pub use prune::{Pruned, prune};
pub use stats::Interval;
pub use system::{Name, System};
pub use trial::Trial;
