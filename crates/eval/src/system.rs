//! What can be recommended: a model and an arm, or a system that is already there.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Arm, Error};

/// The name of a model or of a foreign system.
///
/// Names are few and come from a project's configuration, and a system stands in every trial. So
/// each name is kept once for as long as the program runs, and a [`System`] is as cheap to copy as
/// an [`Arm`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(&'static str);

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl Name {
    /// A name of letters, digits, `-`, `_` and `.`, at most 64 characters, that is not an arm's.
    ///
    /// # Errors
    /// [`Error::Name`] for any other: `MODEL/ARM` could not be read back.
    pub fn new(name: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let length = name.chars().count();
        if length == 0 || length > 64 || !name.chars().all(plain) || name.parse::<Arm>().is_ok() {
            return Err(Error::Name {
                kind: "name of a system",
                found: name.to_owned(),
                known: "1 to 64 letters, digits, - _ and ., and not the name of a setup",
            });
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Ok(Self(known));
        }
        let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
        names.insert(kept);
        Ok(Self(kept))
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What can be recommended, and so what a trial belongs to.
///
/// Written as `ARM` where the project has one model, as `MODEL/ARM` where it has several, and as
/// its name where it is foreign. Order of display: by model, then by arm, foreign systems last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// A model answering in one of the ways of the method.
    Setup {
        /// The model; `None` where the project has just one.
        model: Option<Name>,
        /// What stands in its prompt, and with which weights it answers.
        arm: Arm,
    },
    /// A system that is there already, of which only the answers were handed in.
    Foreign(Name),
}

impl System {
    /// The arm; `None` for a foreign system.
    pub const fn arm(self) -> Option<Arm> {
        match self {
            Self::Setup { arm, .. } => Some(arm),
            Self::Foreign(_) => None,
        }
    }

    /// This arm, whatever the model.
    pub fn is(self, arm: Arm) -> bool {
        self.arm() == Some(arm)
    }

    /// Nothing was built for it: `base` or `few-shot`.
    pub fn is_simple(self) -> bool {
        matches!(self.arm(), Some(Arm::Base | Arm::FewShot))
    }

    /// Never a recommendation, see [`Arm::is_diagnostic`].
    pub fn is_diagnostic(self) -> bool {
        self.arm().is_some_and(Arm::is_diagnostic)
    }

    /// A free baseline, see [`Arm::is_floor`].
    pub fn is_floor(self) -> bool {
        self.arm().is_some_and(Arm::is_floor)
    }

    /// Weights that tunesmith fine-tuned answer, so that another training would have answered
    /// otherwise. A foreign system is taken as it is.
    pub fn needs_adapter(self) -> bool {
        self.arm().is_some_and(Arm::needs_adapter)
    }

    /// Weights trained for this comparison answer, see [`Arm::is_trained`].
    pub fn is_trained(self) -> bool {
        self.arm().is_some_and(Arm::is_trained)
    }

    /// The weights that answer: the model, and whether they were trained on prompts with passages.
    /// `None` where nothing was trained.
    pub(crate) fn adapter(self) -> Option<(Option<Name>, bool)> {
        match self {
            Self::Setup { model, arm } if arm.needs_adapter() => {
                Some((model, arm.needs_raft_adapter()))
            }
            _ => None,
        }
    }

    /// The name in tables for people: a baseline is called by what it answers.
    pub fn title(self) -> String {
        match self {
            Self::Setup { model: None, arm } => arm.title().to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<Arm> for System {
    fn from(arm: Arm) -> Self {
        Self::Setup { model: None, arm }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup { model: None, arm } => f.pad(arm.as_str()),
            Self::Setup { model: Some(model), arm } => f.pad(&format!("{}/{arm}", model.as_str())),
            Self::Foreign(name) => f.pad(name.as_str()),
        }
    }
}

impl FromStr for System {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(arm) = text.parse() {
            return Ok(Self::Setup { model: None, arm });
        }
        match text.split_once('/') {
            Some((model, arm)) => {
                Ok(Self::Setup { model: Some(Name::new(model)?), arm: arm.parse()? })
            }
            None => Ok(Self::Foreign(Name::new(text)?)),
        }
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for System {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for text in ["rag", "tuned+rag", "small/raft+oracle", "qwen2.5-7b/rag", "the_old-one"] {
            let system: System = text.parse().unwrap();
            assert_eq!(system.to_string(), text);
            let json = serde_json::to_string(&system).unwrap();
            assert_eq!(serde_json::from_str::<System>(&json).unwrap(), system);
        }
        assert_eq!("rag".parse::<System>().unwrap(), Arm::Rag.into());
        assert!(matches!("the_old-one".parse::<System>().unwrap(), System::Foreign(_)));
        for bad in ["", "small/both", "rag/rag", "a b", "a/b/rag", "/rag"] {
            assert!(bad.parse::<System>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let (one, two) = (Name::new("same").unwrap(), Name::new("same").unwrap());
        assert!(std::ptr::eq(one.as_str(), two.as_str()));
    }
}
