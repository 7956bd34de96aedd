//! The statistics of paired comparisons, written out so that they can be audited.
//!
//! [`PairedTest`] gives the interval and the p-value of a mean or a difference, with the luck of
//! training and exact procedures where these apply. Several comparisons are adjusted as one family
//! by [`holm`]; [`required_questions`] and [`detectable_difference`] say what a number of questions
//! can show. The clustered [`Bootstrap`] serves rankings and citations.

mod bootstrap;
mod holm;
mod interval;
mod joint;
mod mcnemar;
mod normal;
mod paired;
mod power;
mod random;
mod score_interval;
mod student;

pub use bootstrap::{Bootstrap, Resampled, Row};
pub use holm::holm;
pub use interval::Interval;
pub use joint::Joint;
pub use mcnemar::mcnemar_exact;
pub use normal::{normal_cdf, normal_quantile};
pub use paired::{Luck, Paired, PairedTest, Trained};
pub use power::{detectable_difference, questions_for_non_inferiority, required_questions};
pub use random::Random;
pub use score_interval::{tango, wilson};
pub use student::{student_cdf, student_quantile};
