//! What a comparison rests on, part by part, so that it can be said later what has changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::bench::Bench;
use super::record::documents_hash;
use crate::error::Result;
use crate::models::hash_bytes;

/// Hexadecimal digits kept of the hash of a part.
const DIGITS: usize = 16;

/// Part of what a comparison rests on -> its value, or a hash of it.
pub(super) type Basis = BTreeMap<String, String>;

/// A part that is no longer what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which part.
    pub what: String,
    /// Its value, or a hash of it, at the comparison; `None` where there was no such part.
    pub before: Option<String>,
    /// The same by now.
    pub now: Option<String>,
}

impl Bench<'_> {
    /// What a comparison would rest on now.
    pub(super) fn basis(&self) -> Result<Basis> {
        let short = |text: &str| hash_bytes(text.as_bytes())[..DIGITS].to_owned();
        let questions = &self.questions;
        let config = &self.project.config;
        let mut basis = Basis::from([
            ("tunesmith".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("model".to_owned(), short(self.model.identity()?)),
            ("embedder".to_owned(), short(self.knowledge.encoder.identity())),
            ("index".to_owned(), short(&format!("{:?}", self.knowledge.recipe))),
            ("documents".to_owned(), documents_hash(&self.knowledge.store)?[..DIGITS].to_owned()),
            ("training questions".to_owned(), short(&format!("{:?}", questions.train))),
            ("dev questions".to_owned(), short(&format!("{:?}", questions.dev))),
            ("test questions".to_owned(), short(&format!("{:?}", questions.test))),
        ]);
        basis.extend(settings("[[set]]", &format!("{:#?}", questions.config)));
        basis.extend(settings("[retrieval]", &format!("{:#?}", config.retrieval)));
        basis.extend(settings("[training]", &format!("{:#?}", config.training)));
        for foreign in &self.foreign {
            let name = format!("answers of {}", foreign.system);
            basis.insert(name, foreign.hash[..DIGITS.min(foreign.hash.len())].to_owned());
        }
        Ok(basis)
    }
}

/// What differs between two.
pub(super) fn changes(before: &Basis, now: &Basis) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| Change {
            what: name.clone(),
            before: before.get(name).cloned(),
            now: now.get(name).cloned(),
        })
        .collect()
}

/// The settings of a table from its debug form, in which each stands on a line of its own, four
/// spaces in; what belongs to it follows further in. Whatever field is added later is among them.
fn settings(table: &str, shown: &str) -> Basis {
    let mut settings = Basis::new();
    let mut last: Option<String> = None;
    for line in shown.lines() {
        let Some(inner) = line.strip_prefix("    ") else { continue };
        match inner.split_once(": ") {
            Some((key, value)) if !key.starts_with([' ', ')', ']', '}']) => {
                let name = format!("{table} {key}");
                settings.insert(name.clone(), value.trim_end_matches(',').to_owned());
                last = Some(name);
            }
            _ => {
                if let Some(value) = last.as_ref().and_then(|name| settings.get_mut(name)) {
                    value.push_str(inner.trim().trim_end_matches(','));
                    value.push(' ');
                }
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::config::SetConfig;

    #[test]
    fn every_setting_is_told_by_its_name() {
        let of = |set: &SetConfig| settings("[[set]]", &format!("{set:#?}"));
        let set = SetConfig { margin: 0.05, target: None, ..SetConfig::default() };
        let other = SetConfig { margin: 0.1, target: Some(0.7), ..set.clone() };
        let found = changes(&of(&set), &of(&other));
        let names: Vec<&str> = found.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(names, ["[[set]] margin", "[[set]] target"]);
        assert_eq!(found[0].now.as_deref(), Some("0.1"));
        assert!(found[1].now.as_ref().is_some_and(|now| now.contains("0.7")), "{found:?}");
        assert!(changes(&of(&set), &of(&set)).is_empty());
    }
}
