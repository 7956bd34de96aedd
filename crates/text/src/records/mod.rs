//! CSV and JSON: every row or object becomes a block of its own that names its fields.
//!
//! A row that says `Country: Chile` can be embedded, found and read without its header, so no
//! header has to be repeated when rows are cut apart.

mod csv;
mod json;
mod writer;

pub(crate) use csv::read_csv;
pub(crate) use json::{read_json, read_jsonl};
