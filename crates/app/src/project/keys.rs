//! Keys of the server: a secret that its holder alone knows, and the collections it opens.
//!
//! `tunesmith.toml` holds the SHA-256 of each secret. A secret is 256 random bits, so nobody finds
//! it from its hash.

use std::fs;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, IoContext, Result};
use crate::models::hex;
use crate::project::Project;
use crate::project::config::{self, Config};

pub use crate::project::access::{Access, Key, holder};

/// What secrets begin with, so that one found in a log or a file is known for what it is.
const PREFIX: &str = "tunesmith-";

/// Makes a key, adds it to the project's `tunesmith.toml`, and returns its secret, which is written
/// nowhere.
///
/// # Errors
/// [`Error::Problems`] for a name that is taken or not allowed and for collections that are not
/// there: nothing is written then.
pub fn add(project: &Project, name: &str, collections: Option<&[String]>) -> Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Error::Random)?;
    let secret = format!("{PREFIX}{}", hex(&random));
    let path = project.root.join(config::FILE);
    let before = fs::read_to_string(&path).context("read", &path)?;
    let table = table(name, &Sha256::digest(secret.as_bytes()), collections);
    let gap = if before.is_empty() || before.ends_with('\n') { "\n" } else { "\n\n" };
    Config::parse(Path::new(config::FILE), &format!("{before}{gap}{table}"))?;
    let mut file = fs::OpenOptions::new().append(true).open(&path).context("open", &path)?;
    file.write_all(format!("{gap}{table}").as_bytes()).context("write", &path)?;
    Ok(secret)
}

fn table(name: &str, sha256: &[u8], collections: Option<&[String]>) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut table = format!("[[key]]\nname = {}\nsha256 = \"{}\"\n", text(name), hex(sha256));
    if let Some(names) = collections {
        let names: Vec<String> = names.iter().map(|name| text(name)).collect();
        table.push_str(&format!("collections = [{}]\n", names.join(", ")));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_written_with_the_hash_of_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(config::FILE);
        let written = "[project]\nname = \"p\" # mine\n[[collection]]\nname = \"staff\"\ndocuments = [\"staff\"]";
        fs::write(&path, written).unwrap();
        let open = || Project::open(folder.path()).unwrap();
        let all = add(&open(), "all", None);
        assert!(all.unwrap_err().to_string().contains("and not `all`"));
        let robot = add(&open(), "robot", None).unwrap();
        let clerk = add(&open(), "clerk", Some(&["staff".to_owned()])).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(written) && !text.contains(&robot) && !text.contains(&clerk),
            "{text}"
        );
        let project = open();
        assert_eq!(
            holder(&project.config.keys, &robot).map(|key| &key.access),
            Some(&Access::Everything)
        );
        let names = Access::Collections(vec!["staff".to_owned()]);
        assert_eq!(holder(&project.config.keys, &clerk).map(|key| &key.access), Some(&names));

        let twice = add(&project, "clerk", None).unwrap_err().to_string();
        assert!(twice.contains("expected another name, found a second key \"clerk\""), "{twice}");
        let unknown = add(&project, "other", Some(&["cellar".to_owned()])).unwrap_err().to_string();
        assert!(
            unknown.contains("expected one of staff, documents, found \"cellar\""),
            "{unknown}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
