//! Documents packed as a zip archive of XML parts: Office Open XML (docx, pptx, xlsx) and
//! electronic books (epub).
//!
//! Reference: ECMA-376, part 1: WordprocessingML (17), SpreadsheetML (18), PresentationML (19),
//! DrawingML (20, 21).

pub(crate) mod docx;
pub(crate) mod epub;
#[cfg(test)]
mod hostile_tests;
mod ooxml;
mod package;
pub(crate) mod pptx;
pub(crate) mod xlsx;
mod xml;
