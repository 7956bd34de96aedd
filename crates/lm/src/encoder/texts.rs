//! How the encoder of a folder reads texts, and whether it pools them as is done here.

use std::path::Path;

use serde_json::Value;

use super::config::BertConfig;
use crate::files::read_json;
use crate::{Error, Result, Tokenizer};

/// Cut of texts for models that name none.
const DEFAULT_MAX_TOKENS: usize = 256;

/// How a folder's model reads texts.
pub(super) struct Texts {
    /// Frames texts and cuts them at `max_tokens`.
    pub(super) tokenizer: Tokenizer,
    pub(super) max_tokens: usize,
    /// The tokenizer's file.
    pub(super) file: Vec<u8>,
}

impl Texts {
    pub(super) fn open(folder: &Path, config: &BertConfig) -> Result<Self> {
        let settings = folder.join("sentence_bert_config.json");
        let named =
            if settings.exists() { read_json(&settings)?["max_seq_length"].as_u64() } else { None };
        let max_tokens =
            named.map_or(DEFAULT_MAX_TOKENS, |n| n as usize).clamp(8, config.positions.max(8));
        if max_tokens > config.positions {
            return Err(Error::Config(format!("only {} positions for a text", config.positions)));
        }
        let path = folder.join("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&path)?;
        tokenizer.truncate_at(max_tokens)?;
        let file = std::fs::read(&path).map_err(Error::io(&path))?;
        Ok(Self { tokenizer, max_tokens, file })
    }
}

/// Other poolings give other vectors; better refused than silently wrong.
pub(super) fn check_pooling(path: &Path) -> Result<()> {
    if path.exists() && read_json(path)?["pooling_mode_mean_tokens"] != Value::Bool(true) {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            what: "pooling other than the mean".into(),
        });
    }
    Ok(())
}
