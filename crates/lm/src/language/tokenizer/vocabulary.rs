//! What tokenizers of all kinds are built with: the vocabulary, whole tokens, the frame of a text.

use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;
use tokenizers::processors::template::TemplateProcessing;

use crate::{Error, Result};

/// Ids by token.
pub(super) fn vocabulary(tokens: &[String]) -> Result<Vocab> {
    let vocabulary: Vocab = tokens.iter().cloned().zip(0u32..).collect();
    if vocabulary.len() != tokens.len() {
        return Err(Error::tokenizer("a token stands twice in the vocabulary"));
    }
    Ok(vocabulary)
}

/// Adds the tokens that are cut out of text whole: those that never stem from text, and other
/// spellings.
pub(super) fn add_whole(
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
pub(super) fn frame(inner: &mut tokenizers::Tokenizer, begin: Option<&str>) -> Result<()> {
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
