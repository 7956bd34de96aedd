//! The tokenizer stored in a GGUF file.

use super::Gguf;
use super::header::Value;
use crate::language::tokenizer::{ByteLevelBpe, Digits, SentencePiece};
use crate::{Result, Tokenizer};

/// Token types of `tokenizer.ggml.token_type`.
const UNKNOWN: f64 = 2.0;
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

impl Gguf {
    /// The tokenizer stored in the file.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => self.byte_level(),
            Some("llama") => self.sentence_piece(),
            Some(other) => Err(self.unsupported(format!("tokenizer model `{other}`"))),
            None => Err(self.malformed("no `tokenizer.ggml.model`")),
        }
    }

    fn byte_level(&self) -> Result<Tokenizer> {
        let pre_tokenizer = self.text("tokenizer.ggml.pre").unwrap_or("gpt2");
        let digits = match pre_tokenizer {
            "gpt2" | "gpt-2" => Digits::Together,
            "smollm" | "starcoder" | "refact" | "command-r" => Digits::Singly,
            "qwen2" => Digits::Qwen2,
            "llama-bpe" | "llama3" | "llama-v3" => Digits::Llama3,
            other => return Err(self.unsupported(format!("pre-tokenizer `{other}`"))),
        };
        Tokenizer::from_byte_level(ByteLevelBpe {
            tokens: self.texts("tokenizer.ggml.tokens")?,
            merges: self.texts("tokenizer.ggml.merges")?,
            digits,
            special: self.of_type(CONTROL)?,
            added: self.of_type(USER_DEFINED)?,
            framed: self.says("tokenizer.ggml.add_bos_token", false),
            begin: self.begin()?,
            end: self.ends()?,
        })
    }

    fn sentence_piece(&self) -> Result<Tokenizer> {
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let scores = match self.value("tokenizer.ggml.scores") {
            Some(Value::Numbers(scores)) if scores.len() == tokens.len() => scores.as_slice(),
            _ => {
                return Err(
                    self.malformed(format!("no {} numbers `tokenizer.ggml.scores`", tokens.len()))
                );
            }
        };
        Tokenizer::from_sentence_piece(SentencePiece {
            tokens,
            scores,
            special: self.of_type(CONTROL)?,
            added: self.of_type(USER_DEFINED)?,
            unknown: match self.ids(&["tokenizer.ggml.unknown_token_id"])?.first() {
                Some(id) => Some(*id),
                None => self.of_type(UNKNOWN)?.first().copied(),
            },
            space_before: self.says("tokenizer.ggml.add_space_prefix", true),
            framed: self.says("tokenizer.ggml.add_bos_token", true),
            begin: self.begin()?,
            end: self.ends()?,
        })
    }

    /// Ids of the tokens of a type.
    fn of_type(&self, wanted: f64) -> Result<Vec<u32>> {
        let types: &[f64] = match self.value("tokenizer.ggml.token_type") {
            Some(Value::Numbers(types)) => types,
            _ => &[],
        };
        let count = self.texts("tokenizer.ggml.tokens")?.len();
        let typed = types.iter().zip(0u32..).take(count).filter(|(kind, _)| **kind == wanted);
        Ok(typed.map(|(_, id)| id).collect())
    }

    fn begin(&self) -> Result<Option<u32>> {
        Ok(self.ids(&["tokenizer.ggml.bos_token_id"])?.first().copied())
    }

    fn ends(&self) -> Result<Vec<u32>> {
        self.ids(&["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"])
    }

    fn ids(&self, keys: &[&str]) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for key in keys {
            if self.value(key).is_some() {
                let id = self.number(key)?;
                found.push(
                    u32::try_from(id)
                        .map_err(|_| self.malformed(format!("metadata `{key}` is {id}")))?,
                );
            }
        }
        Ok(found)
    }

    /// Whether `key` holds; `default` where the file does not say.
    fn says(&self, key: &str, default: bool) -> bool {
        match self.value(key) {
            Some(Value::Bool(on)) => *on,
            _ => default,
        }
    }
}
