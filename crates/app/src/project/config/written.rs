//! Reads `tunesmith.toml`: every problem is found, with its line and its field.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fields::{self, WrittenSet};
use super::{Config, SetConfig, SetFiles};
use crate::error::{Error, Problem, Result};
use crate::project::access::{Access, Key};
use crate::project::collections::{Collection, DOCUMENTS};

/// Reads the text of a file; `path` is for the messages.
pub(super) fn read(path: &Path, text: &str) -> Result<Config> {
    let mut check = Check { path, text, problems: Vec::new() };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            check.note(error.span(), None, error.message().trim().to_owned());
            return Err(Error::Problems(check.problems));
        }
    };
    let root = Table { values: Some(root.get_ref()), span: 0..0 };
    let mut config = Config::default();
    let mut known = Vec::new();
    for section in fields::tables() {
        section.read(&root.table(section.name, &mut check), &mut config, &mut check);
        known.push(section.name);
    }
    config.collections = collections(&root, &mut check);
    let named = config.collection_names();
    let sets = sets(&root, &named, &mut check);
    let keys = keys(&root, &named, &mut check);
    (config.sets, config.keys) = (sets, keys);
    known.extend(["collection", "set", "key"]);
    for (key, _) in root.values().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
        check.unknown(key, "tunesmith.toml", &known);
    }
    check.finish(config)
}

fn collections(root: &Table<'_>, check: &mut Check<'_>) -> Vec<Collection> {
    let section = fields::collection();
    let mut names = Names::of("collection", &[DOCUMENTS]);
    let mut all = Vec::new();
    for table in root.tables(section.name, check) {
        let mut collection = Collection::default();
        section.read(&table, &mut collection, check);
        names.add(&table, &collection.name, check);
        all.push(collection);
    }
    all
}

fn sets(root: &Table<'_>, collections: &[String], check: &mut Check<'_>) -> Vec<SetConfig> {
    let section = fields::set();
    let mut names = Names::of("set", &[]);
    let mut all = Vec::new();
    for table in root.tables(section.name, check) {
        let mut written = WrittenSet::default();
        section.read(&table, &mut written, check);
        names.add(&table, &written.set.name, check);
        check.collections(&table, collections);
        all.push(resolved(written, &table, check));
    }
    all
}

fn resolved(written: WrittenSet, table: &Table<'_>, check: &mut Check<'_>) -> SetConfig {
    let files = match (written.questions, written.train, written.dev, written.test) {
        (Some(path), None, None, None) => SetFiles::One(path),
        (None, Some(train), Some(dev), Some(test)) => SetFiles::Three { train, dev, test },
        _ => {
            let message = "expected either `questions`, or `train`, `dev` and `test`, found \
                           another combination";
            check.problem(&table.span, "set", message.to_owned());
            SetFiles::One(PathBuf::new())
        }
    };
    SetConfig { files, ..written.set }
}

fn keys(root: &Table<'_>, collections: &[String], check: &mut Check<'_>) -> Vec<Key> {
    let section = fields::key();
    let mut names = Names::of("key", &[]);
    let mut all: Vec<Key> = Vec::new();
    for table in root.tables(section.name, check) {
        let mut key = Key::default();
        section.read(&table, &mut key, check);
        names.add(&table, &key.name, check);
        check.collections(&table, collections);
        if matches!(&key.access, Access::Collections(names) if names.is_empty()) {
            let message = "expected at least one, found none".to_owned();
            check.problem(&table.span_of("collections"), "collections", message);
        }
        if let Some(other) = all.iter().find(|other| other.sha256 == key.sha256) {
            let message = format!("expected another secret than that of key {:?}", other.name);
            check.problem(&table.span_of("sha256"), "sha256", message);
        }
        all.push(key);
    }
    all
}

/// A table of the file, empty where it is not there.
pub(super) struct Table<'a> {
    values: Option<&'a DeTable<'a>>,
    /// Where it begins.
    pub(super) span: Range<usize>,
}

impl<'a> Table<'a> {
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
    fn span_of(&self, key: &str) -> Range<usize> {
        self.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// The table `[name]`.
    fn table(&self, name: &str, check: &mut Check<'_>) -> Table<'a> {
        let Some(value) = self.get(name) else { return Table { values: None, span: 0..0 } };
        let values = value.get_ref().as_table();
        if values.is_none() {
            check.problem(&value.span(), name, format!("expected a table [{name}]"));
        }
        Table { values, span: value.span() }
    }

    /// The tables `[[name]]`.
    fn tables(&self, name: &str, check: &mut Check<'_>) -> Vec<Table<'a>> {
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

impl Check<'_> {
    pub(super) fn problem(&mut self, span: &Range<usize>, field: &str, message: String) {
        self.note(Some(span.clone()), Some(field), message);
    }

    pub(super) fn unknown(&mut self, key: &Spanned<DeString<'_>>, place: &str, known: &[&str]) {
        let message = format!("not a key of {place}; expected one of {}", known.join(", "));
        self.problem(&key.span(), key.get_ref(), message);
    }

    fn note(&mut self, span: Option<Range<usize>>, field: Option<&str>, message: String) {
        self.problems.push(Problem {
            file: self.path.to_owned(),
            line: span.map(|span| line_at(self.text, &span)),
            field: field.map(str::to_owned),
            message,
        });
    }

    /// Looks whether the `collections` of a table are among the known ones.
    fn collections(&mut self, table: &Table<'_>, known: &[String]) {
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
    fn finish(mut self, config: Config) -> Result<Config> {
        self.problems.sort_by_key(|problem| problem.line);
        if self.problems.is_empty() { Ok(config) } else { Err(Error::Problems(self.problems)) }
    }
}

/// The names that tables of one kind have so far: each is there once.
struct Names {
    what: &'static str,
    taken: BTreeSet<String>,
}

impl Names {
    fn of(what: &'static str, taken: &[&str]) -> Self {
        Self { what, taken: taken.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// Adds the name of a table; one that was not allowed is empty, and a problem already.
    fn add(&mut self, table: &Table<'_>, name: &str, check: &mut Check<'_>) {
        if !name.is_empty() && !self.taken.insert(name.to_owned()) {
            let message = format!("expected another name, found a second {} {name:?}", self.what);
            check.problem(&table.span_of("name"), "name", message);
        }
    }
}

/// The line (from 1) on which a span starts.
fn line_at(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
