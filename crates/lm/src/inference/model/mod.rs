//! A model ready to answer: decoder, tokenizer and template together, shared between threads.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decoder::NEVER;
use crate::files::{Identity, Parts, check_vocabulary};
use crate::inference::generate::{Running, decode};
use crate::inference::prefix_cache::{Owner, Prefixes};
use crate::{
    ChatTemplate, Decoder, Error, GenerateOptions, Generation, Lora, Message, Precision, Result,
    Source, Tokenizer,
};

/// Tokens of cached prefixes: enough for a few conversations and arms side by side.
const KEPT_TOKENS: usize = 16_384;

/// A model ready to answer. It may be shared between threads: each answer works on a cache of its
/// own. The caches of the last few prompts are kept, so that a prompt that shares a prefix with one
/// of them need not read that again; its answer stays the same.
#[derive(Debug)]
pub struct Model {
    /// The weights.
    pub decoder: Decoder,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Messages to text.
    pub template: ChatTemplate,
    identity: Identity,
    prefixes: Mutex<Prefixes>,
}

impl Model {
    /// Opens a GGUF file or a Hugging Face folder and packs its weights.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Decoder::load`].
    pub fn open(path: &Path, precision: Precision) -> Result<Self> {
        let Parts { config, identity, weights } =
            Parts::open(path).map_err(Error::of_model(path))?;
        // The tokenizer is built on one thread while the others pack weights.
        let (language, decoder) = rayon::join(
            || weights.language().map_err(Error::of_model(path)),
            || Decoder::pack(&config, &weights, precision),
        );
        let (tokenizer, template) = language?;
        check_vocabulary(&tokenizer, &config)?;
        Ok(Self { decoder: decoder?, tokenizer, template, identity, prefixes: Mutex::default() })
    }

    /// Packs the weights of an opened source.
    ///
    /// # Errors
    /// As [`Decoder::load`].
    pub fn from_source(source: Source, precision: Precision) -> Result<Self> {
        let decoder = Decoder::load(&source, precision)?;
        let Source { tokenizer, template, identity, .. } = source;
        Ok(Self { decoder, tokenizer, template, identity, prefixes: Mutex::default() })
    }

    /// SHA-256, in hex, of what the model was read from. Computed when first asked for.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a file has been written since the model was read from it.
    pub fn identity(&self) -> Result<&str> {
        self.identity.get()
    }

    /// Ids of the prompt that [`Model::generate`] answers for these messages.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt_ids`].
    pub fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.template.prompt_ids(&self.tokenizer, messages)
    }

    /// Answers `messages`. The text goes to `on_text` piece by piece as it is certain; breaking
    /// from it ends the answer. While the prompt is read, `on_text` is asked with an empty text
    /// whether anybody still listens.
    ///
    /// # Errors
    /// Those of the template; [`crate::Error::TooLong`] when the prompt fills the context;
    /// [`crate::Error::Option`]; [`crate::Error::Mismatch`] for an adapter of another model.
    pub fn generate(
        &self,
        messages: &[Message],
        adapter: Option<&Lora>,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        self.complete(&self.prompt_ids(messages)?, adapter, options, on_text)
    }

    /// Continues `prompt`, as [`Model::generate`] does for a prompt that it rendered.
    ///
    /// # Errors
    /// As [`Model::generate`], the template's aside; [`crate::Error::NoTokens`] for an empty
    /// prompt.
    pub fn complete(
        &self,
        prompt: &[u32],
        adapter: Option<&Lora>,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let owner = Owner { adapter: adapter.map(fingerprint), scope: options.scope.clone() };
        let mut answer = Running::new(&self.decoder, &self.tokenizer, adapter, prompt, options)?;
        answer.begin_with(
            self.prefixes().find(&owner, prompt).unwrap_or_else(|| self.decoder.new_cache()),
        );
        while answer.is_prefilling() {
            answer.prefill_chunk(&self.decoder, NEVER)?;
            // A receiver that has left is noticed between the pieces too.
            if answer.is_prefilling() && on_text("").is_break() {
                answer.cancel();
                return Ok(answer.into_generation());
            }
        }
        self.prefixes().keep(owner, answer.prefix(), KEPT_TOKENS);
        loop {
            let text = answer.take_text();
            if !text.is_empty() && on_text(text).is_break() && !answer.is_finished() {
                answer.cancel();
            }
            if answer.is_finished() {
                return Ok(answer.into_generation());
            }
            decode(&self.decoder, &mut [&mut answer], NEVER)?;
        }
    }

    /// The caches of earlier prompts.
    pub(crate) fn prefixes(&self) -> MutexGuard<'_, Prefixes> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells adapters apart by all their parameters: a cache filled under one adapter is wrong under
/// another, and training changes parameters in place. Four multiplicative hashes side by side
/// (FNV-1a over words); some milliseconds for five million parameters.
pub(crate) fn fingerprint(adapter: &Lora) -> u64 {
    const PRIME: u64 = 0x0100_0000_01B3;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME);
    let mut lanes = [0xCBF2_9CE4_8422_2325u64; 4];
    let (fours, rest) = adapter.params.as_chunks::<4>();
    for four in fours {
        for (lane, x) in lanes.iter_mut().zip(four) {
            *lane = mix(*lane, x.to_bits().into());
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = mix(*lane, x.to_bits().into());
    }
    let config = adapter.config();
    let scale = mix(config.rank as u64, config.alpha.to_bits().into());
    lanes.into_iter().fold(mix(scale, config.targets.len() as u64), mix)
}

#[cfg(test)]
mod tests;
