//! `[[key]]` as it is written.

use serde::Deserialize;
use toml::Spanned;

use super::Check;
use crate::project::keys::{Access, Key};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) name: Spanned<String>,
    sha256: Spanned<String>,
    collections: Option<Spanned<Vec<Spanned<String>>>>,
}

impl RawKey {
    pub(super) fn resolve(self, check: &mut Check, others: &[Key], collections: &[&str]) -> Key {
        let span = self.sha256.span();
        let sha256 = bytes(self.sha256.get_ref()).unwrap_or_else(|| {
            let message = "expected 64 hexadecimal digits, as `tunesmith key new` writes them";
            check.problem(&span, "sha256", message.to_owned());
            [0; 32]
        });
        if let Some(other) = others.iter().find(|other| other.sha256 == sha256) {
            let message = format!("expected another secret than that of key {:?}", other.name);
            check.problem(&span, "sha256", message);
        }
        let access = match self.collections {
            None => Access::Everything,
            Some(names) => {
                if names.get_ref().is_empty() {
                    check.problem(
                        &names.span(),
                        "collections",
                        "expected at least one, found none".to_owned(),
                    );
                }
                check.collections(names.get_ref(), collections);
                Access::Collections(
                    names.into_inner().into_iter().map(Spanned::into_inner).collect(),
                )
            }
        };
        Key { name: self.name.into_inner(), sha256, access }
    }
}

/// The bytes of a SHA-256 in hex.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
