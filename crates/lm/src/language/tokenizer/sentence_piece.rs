//! SentencePiece vocabularies of GGUF files (`tokenizer.ggml.model` = `llama`): tokens and scores,
//! no merges.

use std::collections::HashMap;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::{DecoderWrapper, NormalizerWrapper};

use super::Tokenizer;
use super::vocabulary::{add_whole, frame, vocabulary};
use crate::{Error, Result};

/// What stands for a space.
const SPACE: char = '▁';
/// Longest token, in characters, whose merges are looked for; the work grows with each token's
/// length.
const LONGEST: usize = 512;

/// What a SentencePiece tokenizer consists of.
pub(crate) struct SentencePiece<'a> {
    /// Token of each id.
    pub tokens: &'a [String],
    /// For each token; the highest is merged first.
    pub scores: &'a [f64],
    /// Ids that never stem from text, such as the end of a turn.
    pub special: Vec<u32>,
    /// Ids of spellings that are cut out of text whole.
    pub added: Vec<u32>,
    /// Stands for what the vocabulary lacks.
    pub unknown: Option<u32>,
    /// Whether a space is put before each text.
    pub space_before: bool,
    /// Whether a text that stands by itself begins with `begin`.
    pub framed: bool,
    pub begin: Option<u32>,
    pub end: Vec<u32>,
}

impl Tokenizer {
    pub(crate) fn from_sentence_piece(parts: SentencePiece<'_>) -> Result<Self> {
        let vocabulary = vocabulary(parts.tokens)?;
        if let Some(score) = parts.scores.iter().find(|score| score.is_nan()) {
            return Err(Error::tokenizer(format!("a token's score is {score}")));
        }
        if let Some(token) = parts.tokens.iter().find(|token| token.chars().count() > LONGEST) {
            return Err(Error::tokenizer(format!(
                "a token of {} characters, expected at most {LONGEST}",
                token.chars().count()
            )));
        }
        let token = |id: u32| parts.tokens.get(id as usize).cloned();
        let mut model = BPE::builder()
            .vocab_and_merges(vocabulary, merges(parts.tokens, parts.scores))
            .byte_fallback(true)
            .fuse_unk(true);
        if let Some(unknown) = parts.unknown.and_then(token) {
            model = model.unk_token(unknown);
        }
        let mut inner = tokenizers::Tokenizer::new(model.build().map_err(Error::tokenizer)?);

        let mark = SPACE.to_string();
        let spaces = Replace::new(" ", mark.clone()).map_err(Error::tokenizer)?;
        let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
        if parts.space_before {
            normalizers.push(Prepend::new(mark.clone()).into());
        }
        normalizers.push(spaces.into());
        inner.with_normalizer(Some(Normalizers::new(normalizers))).map_err(Error::tokenizer)?;
        let words = Replace::new(mark, " ").map_err(Error::tokenizer)?;
        let mut decoders: Vec<DecoderWrapper> =
            vec![words.into(), ByteFallback::new().into(), Fuse::new().into()];
        if parts.space_before {
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        inner.with_decoder(Some(Decoders::new(decoders)));

        add_whole(&mut inner, parts.tokens, &parts.special, &parts.added)?;
        let begin = parts.begin.and_then(token);
        frame(&mut inner, begin.as_deref().filter(|_| parts.framed))?;
        Self::new(inner, begin, parts.end)
    }
}

/// Every pair of tokens that makes a third, in the order in which SentencePiece would join them: by
/// the third's score, the highest first. Of equal ones the longer left part comes first, then the
/// longer right part, which is how transformers converts such vocabularies.
fn merges(tokens: &[String], scores: &[f64]) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = tokens.iter().map(String::as_str).zip(0..).collect();
    let mut found = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        let start = found.len();
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                let characters = token[..at].chars().count();
                found.push((score, characters, token[at..].chars().count(), left, right));
            }
        }
        found[start..].sort_unstable_by_key(|merge| (merge.3, merge.4));
    }
    // Stable, as the order within a token matters between equals.
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    found
        .into_iter()
        .map(|(.., left, right)| (tokens[left].clone(), tokens[right].clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tokenizer(space_before: bool) -> Tokenizer {
        let mut tokens: Vec<String> = ["<pad>", "</s>", "<s>", "<unk>"].map(String::from).to_vec();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(
            ["▁", "a", "b", "c", "ab", "bc", "▁a", "▁ab", "abc", "\n", "\n\n"].map(String::from),
        );
        let mut scores = vec![0.0; tokens.len()];
        for (token, score) in tokens.iter().zip(&mut scores) {
            *score = match token.as_str() {
                "bc" => -1.0,
                "▁a" => -2.0,
                "ab" => -3.0,
                "▁ab" => -4.0,
                "abc" => -5.0,
                _ => -100.0,
            };
        }
        Tokenizer::from_sentence_piece(SentencePiece {
            tokens: &tokens,
            scores: &scores,
            special: vec![0, 1, 2],
            added: vec![tokens.len() as u32 - 1],
            unknown: Some(3),
            space_before,
            framed: true,
            begin: Some(2),
            end: vec![1],
        })
        .unwrap()
    }

    fn spelled(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        tokenizer.encode(text).unwrap().iter().map(|id| tokenizer.token(*id).unwrap()).collect()
    }

    #[test]
    fn the_highest_score_is_merged_first() {
        let plain = tokenizer(false);
        assert_eq!(spelled(&plain, "abc"), ["abc"]);
        assert_eq!(spelled(&plain, "aabb"), ["a", "ab", "b"]);
        // `bc` wins over `ab`, and `▁a` over both that it shares letters with.
        assert_eq!(spelled(&plain, "b abc"), ["b", "▁a", "bc"]);
        assert_eq!(spelled(&plain, "b  ab"), ["b", "▁", "▁ab"]);
        assert_eq!(spelled(&tokenizer(true), "ab"), ["▁ab"]);
    }

    #[test]
    fn what_the_vocabulary_lacks_is_spelled_in_bytes_and_comes_back() {
        for space_before in [false, true] {
            let tokenizer = tokenizer(space_before);
            for text in ["abc", "é", "a 東京\nb", "  a", ""] {
                let ids = tokenizer.encode(text).unwrap();
                assert_eq!(tokenizer.decode(&ids), text);
            }
        }
        assert_eq!(spelled(&tokenizer(false), "é"), ["<0xC3>", "<0xA9>"]);
        assert_eq!(spelled(&tokenizer(false), "\n\n\n"), ["\n\n", "\n"]);
    }

    #[test]
    fn a_framed_text_begins_with_its_token_and_content_cannot_spell_it() {
        let tokenizer = tokenizer(false);
        assert_eq!(tokenizer.encode_framed("a").unwrap()[0], 2);
        assert_eq!(tokenizer.encode("<s>a").unwrap()[0], 2);
        assert!(!tokenizer.encode_plain("<s>a").unwrap().contains(&2));
    }

    #[test]
    fn contradictory_vocabularies_are_refused() {
        let refused = |tokens: &[&str], scores: &[f64]| {
            let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
            let parts = SentencePiece {
                tokens: &tokens,
                scores,
                special: vec![9],
                added: vec![],
                unknown: Some(7),
                space_before: false,
                framed: true,
                begin: Some(8),
                end: vec![5],
            };
            Tokenizer::from_sentence_piece(parts).map(|_| ())
        };
        assert!(refused(&["a", "a"], &[0.0, 0.0]).unwrap_err().to_string().contains("twice"));
        assert!(refused(&["a", "b"], &[0.0, f64::NAN]).unwrap_err().to_string().contains("NaN"));
        assert!(
            refused(&["a", &"b".repeat(600)], &[0.0, 0.0]).unwrap_err().to_string().contains("600")
        );
        // Ids outside the vocabulary name nothing.
        assert!(refused(&["a", "b"], &[0.0, 0.0]).is_ok());
    }
}
