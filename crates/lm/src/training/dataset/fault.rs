//! Faults of a dataset file: where, what was found, what was expected.

use std::fmt;
use std::path::{Path, PathBuf};

/// One fault. Displays as `FILE:LINE:COLUMN: FIELD: found …, expected …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// Line, counted from 1; 0 when the fault is the whole file's.
    pub line: usize,
    /// Byte column in the line, counted from 1, where it is known.
    pub column: Option<usize>,
    /// The field, like `messages[1].role`; `row` for the line as a whole, `file` for the file.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}: found {}, expected {}", self.field, self.found, self.expected)
    }
}

/// Every fault of a dataset file, in line order. Displays one a line (the first hundred, then their
/// number).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetErrors {
    /// Never empty.
    pub errors: Vec<RowError>,
}

/// More lines than this help nobody; the count is still given.
const SHOWN: usize = 100;

impl fmt::Display for DatasetErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().take(SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        match self.errors.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for DatasetErrors {}

impl DatasetErrors {
    /// A single fault of the whole file.
    pub(super) fn file(path: &Path, field: &str, found: String, expected: &str) -> Self {
        let error = RowError {
            path: path.to_owned(),
            line: 0,
            column: None,
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        DatasetErrors { errors: vec![error] }
    }
}

/// Collects the faults of one line.
pub(super) struct Row<'a> {
    path: &'a Path,
    line: usize,
    errors: &'a mut Vec<RowError>,
}

impl<'a> Row<'a> {
    pub(super) fn new(path: &'a Path, line: usize, errors: &'a mut Vec<RowError>) -> Self {
        Row { path, line, errors }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn fault(
        &mut self,
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push(None, field.into(), found.into(), expected.into());
    }

    pub(super) fn fault_at(&mut self, column: usize, field: &str, found: String, expected: &str) {
        self.push(Some(column), field.to_owned(), found, expected.to_owned());
    }

    fn push(&mut self, column: Option<usize>, field: String, found: String, expected: String) {
        let (path, line) = (self.path.to_owned(), self.line);
        self.errors.push(RowError { path, line, column, field, found, expected });
    }
}

/// Short words for what was found.
pub(super) mod describe {
    use serde_json::Value;

    /// At most this many characters of the user's text are quoted back.
    const QUOTED: usize = 60;

    pub(crate) fn clip(text: &str) -> String {
        match text.char_indices().nth(QUOTED) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    pub(crate) fn value(value: &Value) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => format!("{flag}"),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) => format!("{:?}", clip(text)),
            Value::Array(items) if items.is_empty() => "an empty array".to_owned(),
            Value::Array(items) => format!("an array of {}", items.len()),
            Value::Object(_) => "an object".to_owned(),
        }
    }

    pub(crate) fn field(found: Option<&Value>) -> String {
        found.map_or_else(|| "nothing".to_owned(), value)
    }

    /// The JSON reader's message without its own "at line 1 column N", which would count lines
    /// inside the row.
    pub(crate) fn cause(error: &serde_json::Error) -> String {
        let text = error.to_string();
        match text.find(" at line ") {
            Some(end) => text[..end].to_owned(),
            None => text,
        }
    }
}
