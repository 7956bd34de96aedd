//! From a prompt to an answer: prefill, decode, stop, stream.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::sample::Sampler;
use crate::{Decoder, Error, KvCache, Lora, Result, TextStream, Tokenizer};

/// How to answer. The default is greedy with up to 256 tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to generate, the end token included; cut further where the context ends.
    pub max_tokens: usize,
    /// 0 is greedy; 1 is the model's own distribution.
    pub temperature: f32,
    /// Draw from the heaviest tokens that together weigh at least this share; 1 is all of them.
    pub top_p: f32,
    /// Draw from this many of the heaviest tokens; 0 is all of them.
    pub top_k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { max_tokens: 256, temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0, stop: Vec::new() }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The receiver of the text broke off.
    Cancelled,
}

impl FinishReason {
    /// The name that APIs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The answer, without stop string and end token: all pieces streamed, joined.
    pub text: String,
    /// Ids of the generated tokens, without the end token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated, the end token included.
    pub completion_tokens: usize,
    /// Tokens of the prompt that were read from an earlier prompt's cache.
    pub cached_tokens: usize,
    /// Time from the start to the first token's logits.
    pub prefill_seconds: f64,
    /// Time for all tokens after the first.
    pub decode_seconds: f64,
}

/// Prompts are read in pieces of this many tokens, and a cached prefix is reused in whole pieces. So every piece
/// passes through the same operations on the same numbers, cached or not, and the answer is the same to the last
/// bit; a product's rounding may depend on its number of rows.
pub(crate) const PIECE: usize = 64;

/// Generates after `prompt`. `cache` may hold an earlier prompt of the same model and adapter; afterwards it holds
/// the whole pieces of this one.
pub(crate) fn generate(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    adapter: Option<&Lora>,
    cache: &mut KvCache,
    prompt: &[u32],
    options: &GenerateOptions,
    on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Generation> {
    let mut sampler = Sampler::new(options)?;
    if options.max_tokens == 0 {
        return Err(Error::Option { name: "max_tokens", reason: "expected at least 1, found 0".into() });
    }
    let context = decoder.config().max_positions;
    if prompt.len() >= context {
        let what = "prompt (one token must be left to answer)".to_owned();
        return Err(Error::TooLong { what, tokens: prompt.len(), limit: context - 1 });
    }
    let most = options.max_tokens.min(context - prompt.len());

    let start = Instant::now();
    let cached_tokens = reusable(cache, prompt);
    cache.truncate(cached_tokens);
    let mut pieces = prompt[cached_tokens..].chunks(PIECE);
    let last = pieces.next_back().ok_or(Error::NoTokens)?;
    for piece in pieces {
        decoder.extend(piece, cache, adapter)?;
    }
    let mut logits = decoder.forward(last, cache, adapter)?;
    let prefill_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut answer = Answer::new(TextStream::new(tokenizer), &options.stop);
    let mut ids = Vec::new();
    let mut completion_tokens = 0;
    let finish_reason = loop {
        let next = sampler.pick(&logits);
        completion_tokens += 1;
        if tokenizer.end_ids().contains(&next) {
            break FinishReason::Stop;
        }
        ids.push(next);
        if let Some(reason) = answer.push(next, on_text) {
            break reason;
        }
        if completion_tokens == most {
            break FinishReason::Length;
        }
        logits = decoder.forward(&[next], cache, adapter)?;
    };
    let text = answer.finish(finish_reason, on_text);
    let decode_seconds = start.elapsed().as_secs_f64();
    cache.truncate(prompt.len() / PIECE * PIECE);
    Ok(Generation {
        text,
        ids,
        finish_reason,
        prompt_tokens: prompt.len(),
        completion_tokens,
        cached_tokens,
        prefill_seconds,
        decode_seconds,
    })
}

/// Tokens of `prompt` that `cache` already holds, in whole pieces; at least one token is left to read.
pub(crate) fn reusable(cache: &KvCache, prompt: &[u32]) -> usize {
    let shared = cache.ids().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    shared.min(prompt.len().saturating_sub(1)) / PIECE * PIECE
}

/// Text of an answer as it grows, held back where it may become a stop string.
struct Answer<'a> {
    stream: TextStream<'a>,
    stop: Vec<&'a str>,
    text: String,
    /// Bytes of `text` handed out.
    sent: usize,
    /// Whether a stop string has come.
    stopped: bool,
}

impl<'a> Answer<'a> {
    fn new(stream: TextStream<'a>, stop: &'a [String]) -> Self {
        let stop = stop.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect();
        Self { stream, stop, text: String::new(), sent: 0, stopped: false }
    }

    /// Takes a token; tells the reason when the answer ends with it.
    fn push(&mut self, id: u32, on_text: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Option<FinishReason> {
        let piece = self.stream.push(id);
        self.append(&piece, on_text)
    }

    fn append(
        &mut self,
        piece: &str,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Option<FinishReason> {
        self.text.push_str(piece);
        // What has been sent is known to begin no stop string, so only the rest can hold one.
        let rest = &self.text[self.sent..];
        if let Some(at) = self.stop.iter().filter_map(|stop| rest.find(stop)).min() {
            self.text.truncate(self.sent + at);
            self.stopped = true;
            let _ = self.send(self.text.len(), on_text);
            return Some(FinishReason::Stop);
        }
        let held = rest.char_indices().map(|(at, _)| &rest[at..]);
        let held =
            held.filter(|tail| self.stop.iter().any(|stop| stop.starts_with(tail))).map(str::len).max();
        match self.send(self.text.len() - held.unwrap_or(0), on_text) {
            ControlFlow::Continue(()) => None,
            ControlFlow::Break(()) => Some(FinishReason::Cancelled),
        }
    }

    /// Hands out what is still held back and returns the whole text.
    fn finish(mut self, reason: FinishReason, on_text: &mut dyn FnMut(&str) -> ControlFlow<()>) -> String {
        if reason == FinishReason::Cancelled {
            self.text.truncate(self.sent);
        } else if !self.stopped {
            let rest = self.stream.finish();
            self.append(&rest, on_text);
            let _ = self.send(self.text.len(), on_text);
        }
        self.text
    }

    fn send(&mut self, end: usize, on_text: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        let new = &self.text[self.sent..end];
        if new.is_empty() {
            return ControlFlow::Continue(());
        }
        self.sent = end;
        on_text(new)
    }
}

#[cfg(test)]
mod tests;
