//! Text to token ids and back, through the `tokenizers` crate.
//!
//! Content is kept from passing for structure in one place, here: [`Tokenizer::mark`] puts an
//! invisible mark into every special token written out inside a message, the template carries the
//! marked text, and [`Tokenizer::encode_marked`] encodes marked spellings as plain text. So no
//! content can end its turn, and content without such spellings is encoded exactly as anywhere
//! else.

mod sentence_piece;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits as SplitDigits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, TruncationParams};

pub(crate) use sentence_piece::SentencePiece;

use crate::{Error, Result};

/// The format's name in errors.
const FORMAT: &str = "tokenizer.json";

/// A noncharacter: Unicode reserves it for internal use, so texts do not hold it, and those that do
/// are escaped.
const MARK: char = '\u{FDD0}';

/// A tokenizer with the ids of its special tokens.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same without recognition of special tokens, built when first needed.
    plain: OnceLock<tokenizers::Tokenizer>,
    /// Spelling and id, longest first.
    specials: Vec<(String, u32)>,
    begin: Option<String>,
    end: Vec<u32>,
}

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

    fn new(
        mut inner: tokenizers::Tokenizer,
        begin: Option<String>,
        mut end: Vec<u32>,
    ) -> Result<Self> {
        // A tokenizer.json may carry the padding and truncation of its training; callers of ours
        // decide.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(Error::tokenizer)?;
        let mut seen = HashSet::new();
        end.retain(|id| inner.id_to_token(*id).is_some() && seen.insert(*id));
        // What ends a turn is structure even in files that do not mark it so.
        let known = inner.get_added_tokens_decoder();
        let unmarked = end.iter().filter(|id| known.get(id).is_none_or(|token| !token.special));
        let ends: Vec<AddedToken> = unmarked
            .filter_map(|id| Some(AddedToken::from(inner.id_to_token(*id)?, true)))
            .collect();
        inner.add_special_tokens(ends).map_err(Error::tokenizer)?;
        let added = inner.get_added_tokens_decoder();
        let special =
            added.into_iter().filter(|(_, token)| token.special && !token.content.is_empty());
        let mut specials: Vec<(String, u32)> =
            special.map(|(id, token)| (token.content, id)).collect();
        specials.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        Ok(Self { inner, plain: OnceLock::new(), specials, begin, end })
    }

    /// Ids of `text`; special tokens written out in it are recognised, none are added.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        ids(&self.inner, text, false)
    }

    /// Ids of `text` as plain text: what looks like a special token is spelled out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let plain = self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            plain
        });
        ids(plain, text, false)
    }

    /// Ids of a text that stands by itself, framed as the tokenizer wishes: with the token that
    /// begins a text, where the model was trained with one, or as `[CLS] … [SEP]`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_framed(&self, text: &str) -> Result<Vec<u32>> {
        ids(&self.inner, text, true)
    }

    /// Ids of two texts that belong together, framed as the tokenizer wishes: `[CLS] … [SEP] …
    /// [SEP]`, and the place where the second begins.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], also for a tokenizer that does not tell the two apart.
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<(Vec<u32>, usize)> {
        let encoding = self.inner.encode_fast((first, second), true).map_err(Error::tokenizer)?;
        let types = encoding.get_type_ids();
        let start = types.iter().take_while(|kind| **kind == 0).count();
        if start == types.len() || types[start..].iter().any(|kind| *kind != 1) {
            return Err(Error::tokenizer(
                "question and passage are not told apart as two types of tokens",
            ));
        }
        Ok((encoding.get_ids().to_vec(), start))
    }

    /// Cuts framed texts at this many tokens, the frame included.
    pub(crate) fn truncate_at(&mut self, tokens: usize) -> Result<()> {
        let params = TruncationParams { max_length: tokens, ..Default::default() };
        self.inner.with_truncation(Some(params)).map_err(Error::tokenizer)?;
        Ok(())
    }

    /// Text of `ids`, special tokens left out, bytes that are no UTF-8 replaced.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Decoders of this library fail on malformed decoder settings alone, which building has
        // ruled out.
        self.inner.decode(ids, true).unwrap_or_default()
    }

    /// Text of `ids` with special tokens written out, for people to read.
    pub fn decode_all(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).unwrap_or_default()
    }

    /// The token as it stands in the vocabulary, for display.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Writes a `tokenizer.json`.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        self.inner.save(path, false).map_err(Error::tokenizer)
    }

    /// Id of a token by its spelling in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Ids that end a turn or a text, the model's main one first; may be empty.
    pub fn end_ids(&self) -> &[u32] {
        &self.end
    }

    /// Spelling of the token that begins a text, where the model has one.
    pub fn begin_token(&self) -> Option<&str> {
        self.begin.as_deref()
    }

    /// `content` with a mark inside every spelling of a special token; unchanged in all ordinary
    /// cases.
    pub(crate) fn mark<'a>(&self, content: &'a str) -> Cow<'a, str> {
        if !content.contains(MARK) && self.next_special(content).is_none() {
            return Cow::Borrowed(content);
        }
        let escaped = content.replace(MARK, "\u{FDD0}\u{FDD0}");
        let mut rest = escaped.as_str();
        let mut marked = String::with_capacity(content.len() + 16);
        while let Some((start, length, _)) = self.next_special(rest) {
            let first = rest[start..].chars().next().map_or(length, char::len_utf8);
            marked.push_str(&rest[..start + first]);
            marked.push(MARK);
            rest = &rest[start + first..];
        }
        marked.push_str(rest);
        Cow::Owned(marked)
    }

    /// The text that [`Tokenizer::mark`] was given.
    pub(crate) fn unmark(marked: &str) -> Cow<'_, str> {
        if !marked.contains(MARK) {
            return Cow::Borrowed(marked);
        }
        let mut text = String::with_capacity(marked.len());
        let mut characters = marked.chars();
        while let Some(character) = characters.next() {
            // A mark stands before the character that it cuts off; a doubled mark is a mark of the
            // text itself.
            text.extend(if character == MARK { characters.next() } else { Some(character) });
        }
        Cow::Owned(text)
    }

    /// Ids of a template's text whose contents were marked: unmarked special tokens are recognised,
    /// marked ones are spelled out.
    pub(crate) fn encode_marked(&self, marked: &str) -> Result<Vec<u32>> {
        if !marked.contains(MARK) {
            return self.encode(marked);
        }
        let mut all = Vec::new();
        let mut rest = marked;
        while let Some((start, length, id)) = self.next_special(rest) {
            all.extend(self.encode_plain(&Self::unmark(&rest[..start]))?);
            all.push(id);
            rest = &rest[start + length..];
        }
        all.extend(self.encode_plain(&Self::unmark(rest))?);
        Ok(all)
    }

    /// Start, length and id of the first special token spelled out in `text`, the longest one
    /// there.
    fn next_special(&self, text: &str) -> Option<(usize, usize, u32)> {
        let found = self
            .specials
            .iter()
            .filter_map(|(token, id)| Some((text.find(token)?, token.len(), *id)));
        found.min_by_key(|(start, length, _)| (*start, usize::MAX - length))
    }
}

/// Ids by token.
fn vocabulary(tokens: &[String]) -> Result<Vocab> {
    let vocabulary: Vocab = tokens.iter().cloned().zip(0u32..).collect();
    if vocabulary.len() != tokens.len() {
        return Err(Error::tokenizer("a token stands twice in the vocabulary"));
    }
    Ok(vocabulary)
}

/// Adds the tokens that are cut out of text whole: those that never stem from text, and other
/// spellings.
fn add_whole(
    inner: &mut tokenizers::Tokenizer,
    tokens: &[String],
    special: &[u32],
    added: &[u32],
) -> Result<()> {
    let list = |ids: &[u32], special: bool| -> Vec<AddedToken> {
        let known = ids.iter().filter_map(|id| tokens.get(*id as usize));
        known.map(|text| AddedToken::from(text.clone(), special).normalized(false)).collect()
    };
    inner.add_special_tokens(list(special, true)).map_err(Error::tokenizer)?;
    inner.add_tokens(list(added, false)).map_err(Error::tokenizer)?;
    Ok(())
}

/// Makes framed texts begin with this token.
fn frame(inner: &mut tokenizers::Tokenizer, begin: Option<&str>) -> Result<()> {
    let Some((begin, id)) = begin.and_then(|begin| Some((begin, inner.token_to_id(begin)?))) else {
        return Ok(());
    };
    let processor = TemplateProcessing::builder()
        .try_single(vec![begin.to_owned(), "$A".to_owned()])
        .map_err(Error::tokenizer)?
        .special_tokens(vec![(begin.to_owned(), id)])
        .build()
        .map_err(Error::tokenizer)?;
    inner.with_post_processor(Some(processor));
    Ok(())
}

fn ids(tokenizer: &tokenizers::Tokenizer, text: &str, framed: bool) -> Result<Vec<u32>> {
    let encoding = tokenizer.encode_fast(text, framed).map_err(Error::tokenizer)?;
    Ok(encoding.get_ids().to_vec())
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

/// A merge that the library would panic on.
#[derive(Debug, thiserror::Error)]
enum BadMerge {
    #[error("merge {0} is no pair of tokens")]
    NoPair(Value),
    #[error("merge {merge} lacks `{prefix}`")]
    NoPrefix { merge: Value, prefix: String },
    #[error("merge {0} makes a token that the vocabulary lacks")]
    Unknown(Value),
}

/// The library panics on a BPE merge whose result is longer than every token; refused here with a
/// reason.
fn check_merges(json: &Value) -> Result<(), BadMerge> {
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

/// Turns ids that arrive one by one into text, holding back characters whose bytes are not yet
/// complete.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// The ids from here on give the text that decoding needs as context.
    context: usize,
    /// The ids before this one have been handed out.
    done: usize,
}

impl<'a> TextStream<'a> {
    /// An empty stream.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, ids: Vec::new(), context: 0, done: 0 }
    }

    /// The text that `id` completes; often empty inside a character of several bytes.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        self.take(false)
    }

    /// What was held back, with replacement characters for bytes that never became complete.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> String {
        let before = self.tokenizer.decode(&self.ids[self.context..self.done]);
        let now = self.tokenizer.decode(&self.ids[self.context..]);
        if now.ends_with(char::REPLACEMENT_CHARACTER) && !all {
            return String::new();
        }
        let new = now.strip_prefix(before.as_str()).unwrap_or_default().to_owned();
        if !new.is_empty() {
            self.context = self.done;
            self.done = self.ids.len();
        }
        new
    }
}

#[cfg(test)]
mod tests;
