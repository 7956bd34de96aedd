//! Byte-level BPE vocabularies, as GPT-2's: tokens and merges.

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits as SplitDigits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::Tokenizer;
use super::vocabulary::{add_whole, frame, vocabulary};
use crate::{Error, Result};

/// How a byte-level tokenizer cuts text, digits above all, before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digits {
    /// GPT-2: runs of digits stay whole.
    Together,
    /// SmolLM, StarCoder: every digit alone, then GPT-2's rule.
    Singly,
    /// Llama 3: up to three digits.
    Llama3,
    /// Qwen2: every digit alone, Llama 3's rule otherwise.
    Qwen2,
}

/// What a byte-level BPE tokenizer consists of.
pub(crate) struct ByteLevelBpe<'a> {
    /// Token of each id, bytes written as GPT-2's printable characters.
    pub tokens: &'a [String],
    /// `left right`, most important first.
    pub merges: &'a [String],
    pub digits: Digits,
    /// Ids that never stem from text, such as the end of a turn.
    pub special: Vec<u32>,
    /// Ids of spellings that are cut out of text whole.
    pub added: Vec<u32>,
    /// Whether a text that stands by itself begins with `begin`.
    pub framed: bool,
    pub begin: Option<u32>,
    pub end: Vec<u32>,
}

impl Tokenizer {
    pub(crate) fn from_byte_level(parts: ByteLevelBpe<'_>) -> Result<Self> {
        let vocabulary = vocabulary(parts.tokens)?;
        let token = |id: u32| parts.tokens.get(id as usize).cloned();
        let longest = parts.tokens.iter().map(String::len).max().unwrap_or(0);
        let merges = parts
            .merges
            .iter()
            .map(|merge| {
                // A token may itself hold a space, but never begins with one.
                let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
                let (left, right) =
                    at.map(|at| (&merge[..at], &merge[at + 1..])).unwrap_or_default();
                // The library looks both parts and the whole up, but trusts that the whole is no
                // longer than every token.
                if !left.is_empty() && left.len() + right.len() <= longest {
                    Ok((left.to_owned(), right.to_owned()))
                } else {
                    Err(Error::tokenizer(format!(
                        "merge `{merge}` joins tokens that the vocabulary lacks"
                    )))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .build()
            .map_err(Error::tokenizer)?;

        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(pre_tokenizer(parts.digits)?));
        inner.with_decoder(Some(ByteLevel::new(false, false, true)));
        add_whole(&mut inner, parts.tokens, &parts.special, &parts.added)?;
        let begin = parts.begin.and_then(token);
        frame(&mut inner, begin.as_deref().filter(|_| parts.framed))?;
        Self::new(inner, begin, parts.end)
    }
}

fn pre_tokenizer(digits: Digits) -> Result<PreTokenizerWrapper> {
    let split = |pattern: &str| {
        Split::new(SplitPattern::Regex(pattern.to_owned()), SplitDelimiterBehavior::Isolated, false)
            .map_err(Error::tokenizer)
    };
    // Contractions, words with one character before them, digits, punctuation with its newlines,
    // white space.
    let llama3 = |digits: &str| {
        split(&format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))
    };
    let bytes =
        |use_regex: bool| PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, use_regex));
    Ok(match digits {
        Digits::Together => bytes(true),
        Digits::Singly => Sequence::new(vec![SplitDigits::new(true).into(), bytes(true)]).into(),
        Digits::Llama3 => Sequence::new(vec![llama3(r"\p{N}{1,3}")?.into(), bytes(false)]).into(),
        Digits::Qwen2 => Sequence::new(vec![llama3(r"\p{N}")?.into(), bytes(false)]).into(),
    })
}
