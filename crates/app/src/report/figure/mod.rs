//! The plots: inline SVG, coloured by the style sheet, each with a title and a description for
//! those who can't see it.

mod arms;
mod cost;
mod curves;
mod errors;
mod plot;
mod whiskers;

pub(super) use arms::arms;
pub(super) use cost::cost;
pub(super) use curves::{learning, loss};
pub(super) use errors::{class_name, errors};
pub(super) use plot::arm_class;
pub(super) use whiskers::{Row, whiskers};
