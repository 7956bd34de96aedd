//! From a prompt to an answer: prefill, decode, stop, stream.
//!
//! [`Running`] is one answer in the making. Its prompt is read chunk by chunk (prefill). Then
//! [`decode`] extends any number of answers together, with one pass over the weights for all.

use std::ops::Deref;
use std::time::Instant;

use super::answer::{AnswerText, FinishReason};
use super::options::GenerateOptions;
use super::prompt_lookup::PromptLookup;
use super::sample::{Sampler, log_probability};
use crate::decoder::{Stop, Wanted};
use crate::{BatchInput, Decoder, Error, KvCache, Lora, Result, TextStream, Tokenizer};

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The answer, without stop string and end token: all pieces streamed, joined.
    pub text: String,
    /// Ids of the generated tokens, without the end token.
    pub ids: Vec<u32>,
    /// The model's log probability of each generated token, the end token included; empty unless
    /// asked for. It is of the model's own distribution, whatever the temperature.
    pub log_probabilities: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, the end token included.
    pub completion_tokens: usize,
    /// Tokens of the prompt that were taken from an earlier prompt's cache.
    pub cached_tokens: usize,
    /// Time from the start to the first token's logits.
    pub prefill_seconds: f64,
    /// Time for all tokens after the first.
    pub decode_seconds: f64,
}

/// Tokens of a prefill chunk. A cached prefix is reused in whole chunks, because the rounding of a
/// product may depend on its number of rows: every chunk then passes through the same operations,
/// cached or not, and the answer is the same to the last bit.
pub(crate) const PREFILL_CHUNK: usize = 64;

/// Rows decoded at a time, drafted ones included. More would cost more than they save.
const ROWS: usize = 16;

/// An answer in the making, under an adapter that is borrowed or shared.
pub(crate) struct Running<'a, A> {
    tokenizer: &'a Tokenizer,
    adapter: Option<A>,
    cache: KvCache,
    /// Prompt and answer, without the end token.
    ids: Vec<u32>,
    prompt: usize,
    cached: usize,
    /// Most tokens to generate.
    max_tokens: usize,
    completion: usize,
    sampler: Sampler,
    lookup: Option<PromptLookup>,
    /// Of the tokens so far, where they are asked for.
    log_probabilities: Option<Vec<f32>>,
    answer: AnswerText<'a>,
    finished: Option<FinishReason>,
    start: Instant,
    prefill_seconds: f64,
    /// When the first token's logits were there.
    decode_start: Instant,
}

/// Most tokens that the answer to `prompt` may have: `options.max_tokens`, or what the context
/// leaves.
///
/// # Errors
/// [`Error::Option`]; [`Error::TooLong`] when the prompt fills the context; [`Error::NoTokens`] for
/// an empty one.
pub(crate) fn answer_limit(
    decoder: &Decoder,
    prompt: &[u32],
    options: &GenerateOptions,
) -> Result<usize> {
    Sampler::new(options)?;
    if options.max_tokens == 0 {
        return Err(Error::Option {
            name: "max_tokens",
            reason: "expected at least 1, found 0".into(),
        });
    }
    if prompt.is_empty() {
        return Err(Error::NoTokens);
    }
    let context = decoder.config().max_positions;
    if prompt.len() >= context {
        let what = "prompt (one token must be left to answer)".to_owned();
        return Err(Error::TooLong { what, tokens: prompt.len(), limit: context - 1 });
    }
    Ok(options.max_tokens.min(context - prompt.len()))
}

impl<'a, A: Deref<Target = Lora>> Running<'a, A> {
    /// Begins an answer to `prompt`.
    ///
    /// # Errors
    /// As [`answer_limit`].
    pub(crate) fn new(
        decoder: &Decoder,
        tokenizer: &'a Tokenizer,
        adapter: Option<A>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Self> {
        let max_tokens = answer_limit(decoder, prompt, options)?;
        let start = Instant::now();
        Ok(Self {
            tokenizer,
            adapter,
            cache: decoder.new_cache(),
            ids: prompt.to_vec(),
            prompt: prompt.len(),
            cached: 0,
            max_tokens,
            completion: 0,
            sampler: Sampler::new(options)?,
            lookup: options.lookup.then(PromptLookup::default),
            log_probabilities: options.likelihood.then(Vec::new),
            answer: AnswerText::new(TextStream::new(tokenizer), &options.stop),
            finished: None,
            start,
            prefill_seconds: 0.0,
            decode_start: start,
        })
    }

    /// The prompt.
    pub(crate) fn prompt(&self) -> &[u32] {
        &self.ids[..self.prompt]
    }

    /// Whether no token of the prompt has been read.
    pub(crate) fn is_fresh(&self) -> bool {
        self.cache.is_empty()
    }

    /// Starts from the part of the prompt that `cache` holds, read under the same adapter.
    pub(crate) fn begin_with(&mut self, mut cache: KvCache) {
        self.cached = reusable(&cache, self.prompt());
        cache.truncate(self.cached);
        self.cache = cache;
    }

    /// Whether some of the prompt is still to be read.
    pub(crate) fn is_prefilling(&self) -> bool {
        self.completion == 0
    }

    /// Reads the next chunk of the prompt; after the last one, picks the first token.
    ///
    /// # Errors
    /// As [`Decoder::read`]; the answer is then unchanged.
    pub(crate) fn prefill_chunk(&mut self, decoder: &Decoder, stop: Stop<'_>) -> Result<()> {
        let from = self.cache.len();
        let to = (from + PREFILL_CHUNK).min(self.prompt);
        let wanted = if to < self.prompt { Wanted::None } else { Wanted::Last };
        let adapter = self.adapter.as_deref();
        let chunk = BatchInput { ids: &self.ids[from..to], cache: &mut self.cache, adapter };
        let logits = decoder.read(&mut [chunk], wanted, stop)?;
        if wanted == Wanted::None {
            return Ok(());
        }
        self.prefill_seconds = self.start.elapsed().as_secs_f64();
        self.decode_start = Instant::now();
        let first = self.sampler.pick(&logits);
        self.record_likelihood(first, &logits);
        self.take(first);
        Ok(())
    }

    /// The cache of the prompt's whole chunks, for later prompts that share them as a prefix.
    pub(crate) fn prefix(&self) -> KvCache {
        let mut prefix = self.cache.clone();
        prefix.truncate(self.prompt.min(prefix.len()) / PREFILL_CHUNK * PREFILL_CHUNK);
        prefix
    }

    /// Records the log probability of a token, where that is asked for.
    fn record_likelihood(&mut self, id: u32, logits: &[f32]) {
        if let Some(noted) = &mut self.log_probabilities {
            noted.push(log_probability(logits, id));
        }
    }

    /// Takes a token into the answer.
    fn take(&mut self, id: u32) {
        self.completion += 1;
        if self.tokenizer.end_ids().contains(&id) {
            self.finished = Some(FinishReason::Stop);
            return;
        }
        self.ids.push(id);
        self.finished = self.answer.push(id);
        if self.completion == self.max_tokens {
            self.finished = self.finished.or(Some(FinishReason::Length));
        }
    }

    /// The tokens to read next: the last one picked, then up to `room` drafted ones.
    fn next(&mut self, room: usize) -> Vec<u32> {
        let last = self.ids.len().saturating_sub(1);
        let room = room.min((self.max_tokens - self.completion).saturating_sub(1));
        let draft = self.lookup.as_mut().map_or(&[][..], |lookup| lookup.draft(&self.ids, room));
        [&self.ids[last..], draft].concat()
    }

    /// Picks a token from the logits after each token of `read`, as long as the draft was right.
    fn pick(&mut self, read: &[u32], logits: &[f32]) {
        let held = self.cache.len() - read.len();
        let draft = &read[1..];
        let mut right = 0;
        for logits in logits.chunks_exact(logits.len() / read.len()) {
            let picked = self.sampler.pick(logits);
            self.record_likelihood(picked, logits);
            self.take(picked);
            if self.finished.is_some() || draft.get(right) != Some(&picked) {
                break;
            }
            right += 1;
        }
        self.cache.truncate(held + 1 + right);
        // Where the answer ended, the rest of a draft was neither right nor wrong.
        if let Some(lookup) = self.lookup.as_mut().filter(|_| self.finished.is_none()) {
            lookup.learn(draft.len(), right);
        }
    }

    /// Whether the answer is complete.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Text that has become certain since the last call.
    pub(crate) fn take_text(&mut self) -> &str {
        if self.finished.is_some() {
            self.answer.end();
        }
        self.answer.take()
    }

    /// The answer: as far as its text was taken.
    pub(crate) fn into_generation(self) -> Generation {
        let finish_reason = self.finished.unwrap_or(FinishReason::Cancelled);
        let decode_seconds =
            if self.is_prefilling() { 0.0 } else { self.decode_start.elapsed().as_secs_f64() };
        Generation {
            text: self.answer.into_sent(),
            ids: self.ids[self.prompt..].to_vec(),
            log_probabilities: self.log_probabilities.unwrap_or_default(),
            finish_reason,
            prompt_tokens: self.prompt,
            completion_tokens: self.completion,
            cached_tokens: self.cached,
            prefill_seconds: self.prefill_seconds,
            decode_seconds,
        }
    }

    /// Ends the answer where it is, whatever it was about to end with.
    pub(crate) fn cancel(&mut self) {
        self.finished = Some(FinishReason::Cancelled);
    }
}

/// Extends each answer by at least one token. All have read their prompts; none is finished.
///
/// # Errors
/// As [`Decoder::read`]; then no answer has changed.
pub(crate) fn decode<'a, A: Deref<Target = Lora> + 'a>(
    decoder: &Decoder,
    answers: &mut [&mut Running<'a, A>],
    stop: Stop<'_>,
) -> Result<()> {
    let room = (ROWS / answers.len().max(1)).saturating_sub(1);
    let tokens: Vec<Vec<u32>> = answers.iter_mut().map(|answer| answer.next(room)).collect();
    let mut inputs: Vec<_> = answers
        .iter_mut()
        .zip(&tokens)
        .map(|(answer, ids)| {
            let Running { cache, adapter, .. } = &mut **answer;
            BatchInput { ids, cache, adapter: adapter.as_deref() }
        })
        .collect();
    let logits = decoder.read(&mut inputs, Wanted::AllAlike, stop)?;
    let mut rest = &logits[..];
    for (answer, read) in answers.iter_mut().zip(&tokens) {
        let (logits, others) = rest.split_at(read.len() * decoder.config().vocabulary);
        answer.pick(read, logits);
        rest = others;
    }
    Ok(())
}

/// Tokens of `prompt` that `cache` holds, in whole chunks. At least one token is left to read.
pub(crate) fn reusable(cache: &KvCache, prompt: &[u32]) -> usize {
    let shared = cache.ids().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    shared.min(prompt.len().saturating_sub(1)) / PREFILL_CHUNK * PREFILL_CHUNK
}

#[cfg(test)]
mod tests;
