//! From messages to token ids and back: chat templates and tokenizers.

pub(crate) mod template;
pub(crate) mod tokenizer;
