//! What a key of `tunesmith.toml` is: a name, a kind, a place in the configuration and a meaning.
//!
//! [`super::fields`] lists all of them. Reading the file, checking it, the reference in
//! `docs/configuration.md` and the comments of a new project's file all come from that list.

use toml::de::DeValue;

use super::check::{Check, Table};
use super::kinds::{Kind, found};

/// A table of the file, of which every key fills a place in a `T`.
pub(super) struct Section<T> {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// Whether there may be many, as `[[name]]`.
    pub(super) repeated: bool,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys, in the order of the reference.
    pub(super) fields: Vec<Field<T>>,
}

/// Puts a value into its place, and says whether it was understood.
type Read<T> = Box<dyn Fn(&mut T, &DeValue<'_>) -> bool>;
/// What stands in the place, as TOML.
type Write<T> = Box<dyn Fn(&mut T) -> Option<String>>;

/// A key that fills a place in a `T`.
pub(super) struct Field<T> {
    key: &'static str,
    meaning: &'static str,
    example: Option<String>,
    required: bool,
    tuned: bool,
    secret: bool,
    template: Template,
    expected: String,
    read: Read<T>,
    default: Write<T>,
}

/// How a key appears in the file of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// As a comment.
    Commented,
    /// As a value.
    Set,
    /// Not at all.
    Absent,
}

/// What is known of a key without reading a file.
pub(super) struct Described {
    pub(super) key: &'static str,
    pub(super) meaning: &'static str,
    pub(super) expected: String,
    pub(super) required: bool,
    /// Whether `tunesmith compare` chooses a value where it is left out; then the example is what
    /// holds until then.
    pub(super) tuned: bool,
    pub(super) template: Template,
    /// What holds where it is left out, as TOML.
    pub(super) default: Option<String>,
    /// A value to show where there is no default, as TOML.
    pub(super) example: Option<String>,
}

impl<T: 'static> Field<T> {
    /// A key that may be left out: `place` then keeps the value that it has by default.
    pub(super) fn new<V: 'static>(
        key: &'static str,
        kind: impl Kind<V> + Clone + 'static,
        place: fn(&mut T) -> &mut V,
        meaning: &'static str,
    ) -> Self {
        let written = kind.clone();
        Self {
            key,
            meaning,
            example: None,
            required: false,
            tuned: false,
            secret: false,
            template: Template::Commented,
            expected: kind.expected(),
            read: Box::new(move |into, value| {
                let read = kind.read(value);
                let understood = read.is_some();
                if let Some(value) = read {
                    *place(into) = value;
                }
                understood
            }),
            default: Box::new(move |usual| written.write(place(usual))),
        }
    }

    /// The key must be there.
    pub(super) fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// A value to show, as TOML.
    pub(super) fn example(self, toml: &str) -> Self {
        Self { example: Some(toml.to_owned()), ..self }
    }

    /// `tunesmith compare` chooses the value of a key that is left out; until then this one holds.
    pub(super) fn tuned_from(self, number: impl ToString) -> Self {
        Self { example: Some(number.to_string()), tuned: true, ..self }
    }

    /// No message repeats the value: it could be a secret that was written by mistake.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// How the key appears in the file of a new project.
    pub(super) fn template(self, template: Template) -> Self {
        Self { template, ..self }
    }
}

impl<T: Default + 'static> Section<T> {
    /// Fills `into` from a table, and notes each key that is unknown, missing or not of its kind.
    pub(super) fn read(&self, table: &Table<'_>, into: &mut T, check: &mut Check<'_>) {
        for (key, value) in table.values() {
            match self.fields.iter().find(|field| field.key == key.get_ref()) {
                None => {
                    let known: Vec<&str> = self.fields.iter().map(|field| field.key).collect();
                    let title = self.title();
                    check.unknown(key, &title, &known);
                }
                Some(field) if (field.read)(into, value.get_ref()) => {}
                Some(field) => {
                    let mut message = format!("expected {}", field.expected);
                    if !field.secret {
                        message.push_str(&format!(", found {}", found(value.get_ref())));
                    }
                    check.problem(&value.span(), field.key, message);
                }
            }
        }
        for field in self.fields.iter().filter(|field| field.required) {
            if table.get(field.key).is_none() {
                let message =
                    format!("expected {} in {}, found nothing", field.expected, self.title());
                check.problem(&table.span, field.key, message);
            }
        }
    }

    /// `[name]` or `[[name]]`.
    pub(super) fn title(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    /// Its keys, for whoever wants to print them.
    pub(super) fn described(&self) -> Vec<Described> {
        let mut usual = T::default();
        let describe = |field: &Field<T>| Described {
            key: field.key,
            meaning: field.meaning,
            expected: field.expected.clone(),
            required: field.required,
            tuned: field.tuned,
            template: field.template,
            default: if field.required { None } else { (field.default)(&mut usual) },
            example: field.example.clone(),
        };
        self.fields.iter().map(describe).collect()
    }
}
