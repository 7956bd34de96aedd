//! A written configuration while it is read: its tables, and what is wrong with them.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Config;
use crate::error::{Error, Problem, Result};

/// A table of the file, empty where it is not there.
pub(super) struct Table<'a> {
    values: Option<&'a DeTable<'a>>,
    /// Where it begins.
    pub(super) span: Range<usize>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(values: &'a DeTable<'a>) -> Self {
        Table { values: Some(values), span: 0..0 }
    }

    /// Its keys and their values.
    pub(super) fn values(
        &self,
    ) -> impl Iterator<Item = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        self.values.into_iter().flatten()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.values().find(|(written, _)| written.get_ref() == key).map(|(_, value)| value)
    }

    /// Where the value of a key stands.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The table `[name]`.
    pub(super) fn table(&self, name: &str, check: &mut Check<'_>) -> Table<'a> {
        let Some(value) = self.get(name) else { return Table { values: None, span: 0..0 } };
        let values = value.get_ref().as_table();
        if values.is_none() {
            check.problem(&value.span(), name, format!("expected a table [{name}]"));
        }
        Table { values, span: value.span() }
    }

    /// The tables `[[name]]`.
    pub(super) fn tables(&self, name: &str, check: &mut Check<'_>) -> Vec<Table<'a>> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let tables = value.get_ref().as_array().map(|values| {
            let table = |value: &'a Spanned<DeValue<'a>>| {
                let values = value.get_ref().as_table()?;
                Some(Table { values: Some(values), span: value.span() })
            };
            values.iter().map(table).collect::<Option<Vec<_>>>()
        });
        tables.flatten().unwrap_or_else(|| {
            check.problem(&value.span(), name, format!("expected tables [[{name}]]"));
            Vec::new()
        })
    }
}

/// Collects problems while a file is read.
pub(super) struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Check { path, text, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, span: &Range<usize>, field: &str, message: String) {
        self.note(Some(span.clone()), Some(field), message);
    }

    pub(super) fn unknown(&mut self, key: &Spanned<DeString<'_>>, place: &str, known: &[&str]) {
        let message = format!("not a key of {place}; expected one of {}", known.join(", "));
        self.problem(&key.span(), key.get_ref(), message);
    }

    pub(super) fn note(
        &mut self,
        span: Option<Range<usize>>,
        field: Option<&str>,
        message: String,
    ) {
        self.problems.push(Problem {
            file: self.path.to_owned(),
            line: span.map(|span| line_at(self.text, &span)),
            field: field.map(str::to_owned),
            message,
        });
    }

    /// Looks whether the `collections` of a table are among the known ones.
    pub(super) fn collections(&mut self, table: &Table<'_>, known: &[String]) {
        let written = table.get("collections").and_then(|value| value.get_ref().as_array());
        for name in written.into_iter().flatten() {
            if let Some(text) = name.get_ref().as_str()
                && !known.iter().any(|known| known == text)
            {
                let message = format!("expected one of {}, found {text:?}", known.join(", "));
                self.problem(&name.span(), "collections", message);
            }
        }
    }

    /// The configuration if nothing is wrong with it, else all problems from the top of the file
    /// to its end.
    pub(super) fn finish(mut self, config: Config) -> Result<Config> {
        self.problems.sort_by_key(|problem| problem.line);
        if self.problems.is_empty() { Ok(config) } else { Err(Error::Problems(self.problems)) }
    }
}

/// The line (from 1) on which a span starts.
fn line_at(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
