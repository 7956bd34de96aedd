//! Web pages, and emails, whose text is often a web page.

pub(crate) mod email;
pub(crate) mod html;
