//! What is printed from the list of keys: the reference, and the file of a new project.

use super::field::{Described, Section, Template};
use super::fields;
use crate::page::{Page, wrap};

/// The reference of `tunesmith.toml`, as `docs/configuration.md` holds it.
pub fn reference() -> String {
    let mut page = Page::new("Configuration");
    page.paragraph(
        "Every key that `tunesmith.toml` may hold. `tunesmith init` writes a file with all of them \
         as comments. Paths are relative to the project's folder. A key or a value that is not \
         allowed is an error that names its line.",
    );
    for (title, about, fields) in sections() {
        page.heading(2, &format!("`{title}`"));
        page.paragraph(about);
        for field in fields {
            page.heading(3, &format!("`{}`", field.key));
            page.paragraph(field.meaning);
            page.list(facts(&field));
        }
    }
    page.into_text()
}

/// What a key may hold and what holds without it, an item each.
fn facts(field: &Described) -> Vec<String> {
    let example = field.example.as_deref().unwrap_or_default();
    let default = match &field.default {
        _ if field.required => "Required".to_owned(),
        _ if field.tuned => format!(
            "Default: what `tunesmith compare` found best on a set's dev questions, else `{example}`"
        ),
        Some(default) => format!("Default: `{default}`"),
        None => "Default: none".to_owned(),
    };
    let mut facts = vec![format!("Value: {}", field.expected), default];
    if !example.is_empty() && !field.tuned {
        facts.push(format!("Example: `{} = {example}`", field.key));
    }
    facts
}

/// Title, purpose and keys of every table.
fn sections() -> Vec<(String, &'static str, Vec<Described>)> {
    fn of<T: Default + 'static>(section: &Section<T>) -> (String, &'static str, Vec<Described>) {
        (section.title(), section.about, section.described())
    }
    let mut all: Vec<_> = fields::tables().iter().map(of).collect();
    all.extend([
        of(&fields::collection()),
        of(&fields::set()),
        of(&fields::system()),
        of(&fields::key()),
    ]);
    all
}

/// A new project's configuration: every setting with its default, commented.
pub fn template(name: &str) -> String {
    let mut file = wrap(
        "Comments that begin with `#` and a space explain; the others are settings to uncomment, \
         with their defaults or an example.",
        "# ",
        "# ",
    );
    for (title, about, fields) in sections() {
        if title == "[[key]]" {
            // A key is of use with its secret alone, which `tunesmith key new` makes.
            continue;
        }
        let comment = if title.starts_with("[[") { "#" } else { "" };
        file.push_str(&format!("\n{}{comment}{title}\n", wrap(about, "# ", "# ")));
        for field in fields.iter().filter(|field| field.template != Template::Absent) {
            file.push_str(&wrap(&explained(field), "# ", "# "));
            let value = match (field.key, title.as_str()) {
                ("name", "[project]") => toml::Value::String(name.to_owned()).to_string(),
                _ => field.shown().to_owned(),
            };
            let comment = if field.template == Template::Set { "" } else { "#" };
            file.push_str(&format!("{comment}{} = {value}\n", field.key));
        }
    }
    file
}

/// The meaning of a key and what it may hold, where that is not any text.
fn explained(field: &Described) -> String {
    let mut text = field.meaning.to_owned();
    let expected = field.expected.as_str();
    if !matches!(expected, "a text" | "the path of a file") && !expected.starts_with("a list of") {
        text.push_str(&format!(" Value: {expected}."));
    }
    if field.tuned {
        text.push_str(" If it is left out, `tunesmith compare` chooses it on dev questions.");
    }
    text
}

impl Described {
    /// A value to show: the example where there is one, else the default.
    fn shown(&self) -> &str {
        self.example.as_deref().or(self.default.as_deref()).unwrap_or_default()
    }
}
