//! `tokenizer.json`, and what the files beside it say.

use std::path::Path;

use serde_json::Value;

use super::Tokenizer;
use crate::{Error, Result};

/// The format's name in errors.
const FORMAT: &str = "tokenizer.json";

impl Tokenizer {
    /// Reads a `tokenizer.json`; the ends of turns are those that `tokenizer_config.json`,
    /// `config.json` and `generation_config.json` beside it name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`].
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let json: Value = serde_json::from_slice(&bytes).map_err(Error::malformed(path, FORMAT))?;
        check_merges(&json).map_err(Error::malformed(path, FORMAT))?;
        let inner =
            tokenizers::Tokenizer::from_bytes(&bytes).map_err(Error::malformed(path, FORMAT))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let beside = |name: &str| -> Value {
            let read = std::fs::read(folder.join(name)).ok();
            read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        };

        let names = beside("tokenizer_config.json");
        // A token is named by its text, or by an object that holds it.
        let named = |key: &str| {
            let token = &names[key];
            token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
        };
        let mut end: Vec<u32> =
            named("eos_token").and_then(|t| inner.token_to_id(&t)).into_iter().collect();
        for file in ["generation_config.json", "config.json"] {
            match &beside(file)["eos_token_id"] {
                Value::Number(id) => end.extend(id.as_u64().map(|id| id as u32)),
                Value::Array(ids) => {
                    end.extend(ids.iter().filter_map(Value::as_u64).map(|id| id as u32))
                }
                _ => {}
            }
        }
        Self::new(inner, named("bos_token"), end)
    }
}

/// A merge that the library would panic on.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadMerge {
    #[error("merge {0} is no pair of tokens")]
    NoPair(Value),
    #[error("merge {merge} lacks `{prefix}`")]
    NoPrefix { merge: Value, prefix: String },
    #[error("merge {0} makes a token that the vocabulary lacks")]
    Unknown(Value),
}

/// The library panics on a BPE merge whose result is longer than every token; refused here with a
/// reason.
pub(super) fn check_merges(json: &Value) -> Result<(), BadMerge> {
    let model = &json["model"];
    let (Some(vocabulary), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array())
    else {
        return Ok(());
    };
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    for merge in merges {
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(left), Value::String(right)] => {
                    Some((left.as_str(), right.as_str()))
                }
                _ => None,
            },
            _ => None,
        };
        let (left, right) = pair.ok_or_else(|| BadMerge::NoPair(merge.clone()))?;
        let right = right.strip_prefix(prefix).ok_or_else(|| BadMerge::NoPrefix {
            merge: merge.clone(),
            prefix: prefix.to_owned(),
        })?;
        if !vocabulary.contains_key(&format!("{left}{right}")) {
            return Err(BadMerge::Unknown(merge.clone()));
        }
    }
    Ok(())
}
