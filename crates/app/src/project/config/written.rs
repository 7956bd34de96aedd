//! Reads `tunesmith.toml`: every problem is found, with its line and its field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eval::{Measure, Tolerance};
use toml::de::DeTable;

use super::check::{Check, Table};
use super::fields::{self, WrittenSet};
use super::{Config, ForeignSystem, SetConfig, SetFiles};
use crate::error::Result;
use crate::project::access::{Access, Key};
use crate::project::collections::{Collection, DOCUMENTS};

/// Reads the text of a file; `path` is for the messages.
pub(super) fn read(path: &Path, text: &str) -> Result<Config> {
    let mut check = Check::new(path, text);
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            check.note(error.span(), None, error.message().trim().to_owned());
            return check.finish(Config::default());
        }
    };
    let root = Table::root(root.get_ref());
    let mut config = Config::default();
    let mut known = Vec::new();
    for section in fields::tables() {
        section.read(&root.table(section.name, &mut check), &mut config, &mut check);
        known.push(section.name);
    }
    config.collections = collections(&root, &mut check);
    let named = config.collection_names();
    let sets = sets(&root, &named, &mut check);
    known_general(&root, &sets, &mut check);
    let systems = systems(&root, &sets, &mut check);
    let keys = keys(&root, &named, &mut check);
    (config.sets, config.systems, config.keys) = (sets, systems, keys);
    known.extend(["collection", "set", "system", "key"]);
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
    let tolerance = written.tolerance;
    let mut set = SetConfig { files, ..written.set };
    graded(&mut set, tolerance, table, check);
    set
}

/// Looks whether a set has the keys that its measure needs, and none of another measure.
fn graded(
    set: &mut SetConfig,
    tolerance: Option<Tolerance>,
    table: &Table<'_>,
    check: &mut Check<'_>,
) {
    let mut wrong = |key: &str, message: String| check.problem(&table.span_of(key), key, message);
    let written = table.get("measure").and_then(|value| value.get_ref().as_str());
    // A measure that is none is a problem already.
    let Some(written) = written.filter(|name| name.parse::<Measure>().is_ok()) else { return };
    match (&mut set.measure, tolerance) {
        (Measure::Numeric { .. }, Some(_)) if written.contains(':') => {
            wrong(
                "tolerance",
                format!("expected it once, found it in `measure = {written:?}`, too"),
            );
        }
        (Measure::Numeric { tolerance: place }, Some(tolerance)) => *place = tolerance,
        (_, Some(_)) => {
            wrong("tolerance", format!("expected the measure numeric, found {written:?}"));
        }
        (_, None) => {}
    }
    if set.schema.is_some() && set.measure != Measure::Json {
        wrong("schema", format!("expected the measure json, found {written:?}"));
    }
    let command = set.command.as_ref().map(Vec::is_empty);
    if set.measure == Measure::Command && command != Some(false) {
        wrong("command", "expected a program and its arguments, found nothing".to_owned());
    }
    for key in ["command", "command_seconds"] {
        if set.measure != Measure::Command && table.get(key).is_some() {
            wrong(key, format!("expected the measure command, found {written:?}"));
        }
    }
}

/// Looks whether the sets that show forgetting are there, and none shows its own.
fn known_general(root: &Table<'_>, sets: &[SetConfig], check: &mut Check<'_>) {
    if sets.iter().all(|set| set.general.is_none()) {
        return;
    }
    for (table, set) in root.tables("set", check).iter().zip(sets) {
        let Some(general) = &set.general else { continue };
        let others: Vec<&str> =
            sets.iter().map(|other| other.name.as_str()).filter(|name| *name != set.name).collect();
        if !others.contains(&general.as_str()) {
            let known =
                if others.is_empty() { "another set".to_owned() } else { others.join(", ") };
            let message = format!("expected one of {known}, found {general:?}");
            check.problem(&table.span_of("general"), "general", message);
        }
    }
}

fn systems(root: &Table<'_>, sets: &[SetConfig], check: &mut Check<'_>) -> Vec<ForeignSystem> {
    let section = fields::system();
    let mut all: Vec<ForeignSystem> = Vec::new();
    for table in root.tables(section.name, check) {
        let mut system = ForeignSystem::default();
        section.read(&table, &mut system, check);
        if !system.name.is_empty() && eval::Name::new(&system.name).is_err() {
            let message = format!("expected a name that no setup has, found {:?}", system.name);
            check.problem(&table.span_of("name"), "name", message);
        }
        // One system may have a file for each set.
        let twice = |other: &ForeignSystem| {
            other.name == system.name
                && (other.set == system.set || other.set.is_none() || system.set.is_none())
        };
        if !system.name.is_empty() && all.iter().any(twice) {
            let message =
                format!("expected another name or set, found a second system {:?}", system.name);
            check.problem(&table.span_of("name"), "name", message);
        }
        if let Some(name) = &system.set
            && !sets.iter().any(|set| set.name == *name)
        {
            let known: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
            let message = format!("expected one of {}, found {name:?}", known.join(", "));
            check.problem(&table.span_of("set"), "set", message);
        }
        all.push(system);
    }
    all
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
