//! Text to token ids and back, through the `tokenizers` crate.
//!
//! Content is kept from passing for structure in one place, here: [`Tokenizer::mark`] puts an
//! invisible mark into every special token written out inside a message, the template carries the
//! marked text, and [`Tokenizer::encode_marked`] encodes marked spellings as plain text. So no
//! content can end its turn, and content without such spellings is encoded exactly as anywhere
//! else.

mod byte_level;
mod file;
mod sentence_piece;
mod text_stream;
mod vocabulary;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;
use std::sync::OnceLock;

use tokenizers::{AddedToken, TruncationParams};

pub(crate) use byte_level::{ByteLevelBpe, Digits};
pub(crate) use sentence_piece::SentencePiece;
pub use text_stream::TextStream;

use crate::{Error, Result};

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

impl Tokenizer {
    /// Around the library's own, with the token that begins texts and the ids that end them.
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

fn ids(tokenizer: &tokenizers::Tokenizer, text: &str, framed: bool) -> Result<Vec<u32>> {
    let encoding = tokenizer.encode_fast(text, framed).map_err(Error::tokenizer)?;
    Ok(encoding.get_ids().to_vec())
}

#[cfg(test)]
mod tests;
