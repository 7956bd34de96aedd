//! Who may read what: a key of the server, and the collections it opens.

use std::hint::black_box;

use sha2::{Digest, Sha256};

/// `[[key]]`: somebody who may ask the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// What it may read.
    pub access: Access,
}

/// Which documents somebody may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// All there are and will be.
    #[default]
    Everything,
    /// Those of these collections.
    Collections(Vec<String>),
}

impl Access {
    /// Whether a collection may be read.
    pub fn allows(&self, collection: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Collections(names) => names.iter().any(|name| name == collection),
        }
    }

    /// A name that is the same for all who may read the same; empty for everything.
    pub(crate) fn scope(&self) -> String {
        match self {
            Self::Everything => String::new(),
            Self::Collections(names) => {
                let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                names.dedup();
                format!("collections {}", names.join(","))
            }
        }
    }
}

/// The key that a secret belongs to. Takes the same time whichever key it is, and whether or not it
/// is one.
pub fn holder<'a>(keys: &'a [Key], secret: &str) -> Option<&'a Key> {
    let shown: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    let mut found = None;
    for key in keys {
        let difference =
            shown.iter().zip(&key.sha256).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        if difference == 0 {
            found = Some(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::hex;

    fn key(name: &str, secret: &str, collections: &[&str]) -> Key {
        let names = collections.iter().map(|name| (*name).to_owned()).collect();
        let sha256 = Sha256::digest(secret.as_bytes()).into();
        Key { name: name.to_owned(), sha256, access: Access::Collections(names) }
    }

    #[test]
    fn a_secret_opens_its_own_key_alone() {
        let keys = [key("one", "first", &["a"]), key("two", "second", &["b"])];
        let name = |secret| holder(&keys, secret).map(|key| key.name.as_str());
        assert_eq!(name("first"), Some("one"));
        assert_eq!(name("second"), Some("two"));
        for wrong in ["", "firs", "first ", "FIRST", &hex(&keys[0].sha256)] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
        assert!(holder(&[], "first").is_none());
    }

    #[test]
    fn whoever_may_read_the_same_is_of_one_scope() {
        let scope = |names: &[&str]| key("k", "s", names).access.scope();
        assert_eq!(scope(&["a", "b"]), scope(&["b", "a", "b"]));
        assert_ne!(scope(&["a"]), scope(&["a", "b"]));
        assert_ne!(scope(&[]), Access::Everything.scope());
    }
}
