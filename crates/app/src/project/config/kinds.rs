//! The kinds of values in `tunesmith.toml`: how each is read, and how the reference names it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use eval::Tolerance;
use toml::de::{DeInteger, DeValue};

use crate::models::hex;
use crate::project::access::Access;

/// A kind of values that are kept as a `V`.
pub(super) trait Kind<V> {
    /// What is expected, to stand behind "expected" and at the start of a line.
    fn expected(&self) -> String;
    /// The value; `None` where another was expected.
    fn read(&self, value: &DeValue<'_>) -> Option<V>;
    /// The value as TOML; `None` for one that means "left out".
    fn write(&self, value: &V) -> Option<String>;
}

/// A key that may be left out, with no value to take its place.
#[derive(Clone)]
pub(super) struct Optional<K>(pub(super) K);

impl<V, K: Kind<V>> Kind<Option<V>> for Optional<K> {
    fn expected(&self) -> String {
        self.0.expected()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<Option<V>> {
        self.0.read(value).map(Some)
    }

    fn write(&self, value: &Option<V>) -> Option<String> {
        value.as_ref().and_then(|value| self.0.write(value))
    }
}

/// A whole number.
#[derive(Clone)]
pub(super) struct Integer(pub(super) RangeInclusive<u64>);

/// Any number a machine could reach: counts of tokens, steps and queries.
pub(super) const COUNT: Integer = Integer(1..=999_999_999);

impl Integer {
    fn number(&self, value: &DeValue<'_>) -> Option<u64> {
        let DeValue::Integer(written) = value else { return None };
        u64::try_from(integer(written)?).ok().filter(|number| self.0.contains(number))
    }

    fn range(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }
}

impl Kind<u64> for Integer {
    fn expected(&self) -> String {
        self.range()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<u64> {
        self.number(value)
    }

    fn write(&self, value: &u64) -> Option<String> {
        Some(value.to_string())
    }
}

impl Kind<usize> for Integer {
    fn expected(&self) -> String {
        self.range()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<usize> {
        self.number(value).and_then(|number| usize::try_from(number).ok())
    }

    fn write(&self, value: &usize) -> Option<String> {
        Some(value.to_string())
    }
}

fn integer(written: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(written.as_str(), written.radix()).ok()
}

/// A number with a fraction.
#[derive(Clone)]
pub(super) enum Real {
    /// From 0 to 1.
    Share,
    /// Above 0 and below 1.
    Margin,
    /// Above 0, up to this.
    Positive(f64),
}

impl Real {
    fn number(&self, value: &DeValue<'_>) -> Option<f64> {
        let number = match value {
            DeValue::Integer(written) => integer(written)? as f64,
            DeValue::Float(written) => written.as_str().parse().ok()?,
            _ => return None,
        };
        let allowed = match self {
            Self::Share => (0.0..=1.0).contains(&number),
            Self::Margin => number > 0.0 && number < 1.0,
            Self::Positive(most) => number > 0.0 && number <= *most,
        };
        allowed.then_some(number)
    }

    fn range(&self) -> String {
        match self {
            Self::Share => "a number from 0 to 1".to_owned(),
            Self::Margin => "a number above 0 and below 1".to_owned(),
            Self::Positive(most) => format!("a number above 0, up to {most}"),
        }
    }
}

impl Kind<f64> for Real {
    fn expected(&self) -> String {
        self.range()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<f64> {
        self.number(value)
    }

    fn write(&self, value: &f64) -> Option<String> {
        Some(format!("{value:?}"))
    }
}

impl Kind<f32> for Real {
    fn expected(&self) -> String {
        self.range()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<f32> {
        self.number(value).map(|number| number as f32)
    }

    fn write(&self, value: &f32) -> Option<String> {
        Some(format!("{value:?}"))
    }
}

/// Bytes, written in MiB.
#[derive(Clone)]
pub(super) struct Mebibytes;

impl Kind<u64> for Mebibytes {
    fn expected(&self) -> String {
        Kind::<u64>::expected(&COUNT)
    }

    fn read(&self, value: &DeValue<'_>) -> Option<u64> {
        COUNT.number(value).map(|number| number << 20)
    }

    fn write(&self, value: &u64) -> Option<String> {
        Some((value >> 20).to_string())
    }
}

/// Yes or no.
#[derive(Clone)]
pub(super) struct Flag;

impl Kind<bool> for Flag {
    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<bool> {
        match value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    fn write(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// How far a number may be off: a number, or a percentage as a text.
#[derive(Clone)]
pub(super) struct Within;

impl Kind<Tolerance> for Within {
    fn expected(&self) -> String {
        "a number from 0 on, or a percentage such as \"1%\"".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<Tolerance> {
        match value {
            DeValue::Integer(written) => integer(written)?.to_string().parse().ok(),
            DeValue::Float(written) => written.as_str().parse().ok(),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn write(&self, value: &Tolerance) -> Option<String> {
        Some(match value {
            Tolerance::Absolute(_) => value.to_string(),
            Tolerance::Relative(_) => quoted(&value.to_string()),
        })
    }
}

/// Any text.
#[derive(Clone)]
pub(super) struct Text;

impl Kind<String> for Text {
    fn expected(&self) -> String {
        "a text".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    fn write(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

/// The path of a file.
#[derive(Clone)]
pub(super) struct File;

impl Kind<PathBuf> for File {
    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<PathBuf> {
        value.as_str().map(PathBuf::from)
    }

    fn write(&self, value: &PathBuf) -> Option<String> {
        Some(quoted(&value.to_string_lossy()))
    }
}

/// Texts of one sort, such as paths or tags.
#[derive(Clone)]
pub(super) struct List(pub(super) &'static str);

impl<V: for<'a> From<&'a str> + AsRef<std::ffi::OsStr>> Kind<Vec<V>> for List {
    fn expected(&self) -> String {
        format!("a list of {}", self.0)
    }

    fn read(&self, value: &DeValue<'_>) -> Option<Vec<V>> {
        value.as_array()?.iter().map(|one| one.get_ref().as_str().map(V::from)).collect()
    }

    fn write(&self, value: &Vec<V>) -> Option<String> {
        let texts = value.iter().map(|one| quoted(&one.as_ref().to_string_lossy()));
        Some(format!("[{}]", texts.collect::<Vec<_>>().join(", ")))
    }
}

/// A name that may also be a folder's.
#[derive(Clone)]
pub(super) struct Name;

impl Kind<String> for Name {
    fn expected(&self) -> String {
        "letters, digits, `-` and `_` (and not `all`)".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = value.as_str()?;
        let allowed = !name.is_empty() && name != "all" && name.chars().all(plain);
        allowed.then(|| name.to_owned())
    }

    fn write(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

/// One of the names that a type parses.
#[derive(Clone)]
pub(super) struct OneOf(pub(super) &'static [&'static str]);

impl<V: FromStr + PartialEq> Kind<V> for OneOf {
    fn expected(&self) -> String {
        match self.0 {
            [names @ .., last] => format!("{} or {last}", names.join(", ")),
            [] => String::new(),
        }
    }

    fn read(&self, value: &DeValue<'_>) -> Option<V> {
        value.as_str()?.parse().ok()
    }

    fn write(&self, value: &V) -> Option<String> {
        let is_it = |name: &&&str| name.parse::<V>().is_ok_and(|parsed| parsed == *value);
        self.0.iter().find(is_it).map(|name| quoted(name))
    }
}

/// An ISO 639-1 code.
#[derive(Clone)]
pub(super) struct Language;

impl Kind<String> for Language {
    fn expected(&self) -> String {
        "two letters such as en or de".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<String> {
        let code = value.as_str()?;
        let allowed = code.len() == 2 && code.chars().all(|c| c.is_ascii_lowercase());
        allowed.then(|| code.to_owned())
    }

    fn write(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }
}

/// A SHA-256 in hex.
#[derive(Clone)]
pub(super) struct Sha256;

impl Kind<[u8; 32]> for Sha256 {
    fn expected(&self) -> String {
        "64 hexadecimal digits, as `tunesmith key new` writes them".to_owned()
    }

    fn read(&self, value: &DeValue<'_>) -> Option<[u8; 32]> {
        let digits = value.as_str()?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(bytes)
    }

    fn write(&self, value: &[u8; 32]) -> Option<String> {
        Some(quoted(&hex(value)))
    }
}

/// The collections that a key opens; everything where it is left out.
#[derive(Clone)]
pub(super) struct Opened;

impl Kind<Access> for Opened {
    fn expected(&self) -> String {
        Kind::<Vec<String>>::expected(&List("names of collections"))
    }

    fn read(&self, value: &DeValue<'_>) -> Option<Access> {
        List("").read(value).map(Access::Collections)
    }

    fn write(&self, value: &Access) -> Option<String> {
        match value {
            Access::Everything => None,
            Access::Collections(names) => List("").write(names),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A value in the words of an error message.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
