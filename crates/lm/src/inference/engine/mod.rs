//! Many answers at once, by continuous batching: one thread extends all running requests together.
//!
//! Requests wait in a bounded queue. In each turn the thread admits what fits, reads one chunk of
//! one prompt, and decodes one step of all answers in a single pass over the weights, each with its
//! own adapter, sampler and receiver. So a long prompt delays running streams by at most a chunk at
//! a time. A departed client is noticed between two steps, and between two layers of a step that
//! nobody else waits for. An answer equals that of [`Model::complete`] to the last bit.
//!
//! Memory is bounded: the tokens that running requests may come to hold and those of cached
//! prefixes are counted together. When they would be too many, the least recently used prefixes are
//! dropped; if that is not enough, a request waits until another ends.

mod worker;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::Duration;

use crate::decoder::kv_cache::BLOCK;
use crate::inference::generate::answer_limit;
use crate::{Error, GenerateOptions, Generation, Lora, Message, Model, Result};

/// How often `on_text` is asked whether anybody still listens.
const PATIENCE: Duration = Duration::from_millis(5);

/// Bounds of an [`Engine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Requests answered at once.
    pub slots: usize,
    /// Requests that may wait behind them; one more is refused.
    pub queue: usize,
    /// Most tokens held in caches: prompts and answers of running requests, and kept prefixes.
    pub tokens: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { slots: 8, queue: 16, tokens: 65_536 }
    }
}

/// A model that answers many requests at once. Its thread ends when this handle is dropped and
/// every submitted request is answered.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    options: EngineOptions,
    jobs: SyncSender<Job>,
}

/// A request on its way to the thread.
struct Job {
    prompt: Vec<u32>,
    adapter: Option<Arc<Lora>>,
    options: GenerateOptions,
    /// Tokens of the blocks that prompt and answer may come to fill.
    tokens: usize,
    client: Client,
}

/// Where an answer goes.
struct Client {
    events: std::sync::mpsc::Sender<Event>,
    gone: Arc<AtomicBool>,
}

impl Client {
    /// Whether nobody waits for the answer any more.
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn send(&self, event: Event) {
        // A receiver that is gone is noticed before the next step.
        let _ = self.events.send(event);
    }
}

/// What comes of a request.
#[derive(Debug)]
pub enum Event {
    /// The next piece of the answer; never empty.
    Text(String),
    /// The end. Nothing comes after it.
    Done(Result<Generation>),
}

/// An answer as it comes. Dropping it cancels the request.
#[derive(Debug)]
pub struct Stream {
    events: Receiver<Event>,
    gone: Arc<AtomicBool>,
}

impl Stream {
    /// The next event; `None` when none came within `patience`.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the thread has ended, which it does only by a fault of its own.
    pub fn next(&self, patience: Duration) -> Result<Option<Event>> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Stopped),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Option`] for a bound of zero; what the operating system says when it refuses a
    /// thread.
    pub fn start(model: Arc<Model>, options: EngineOptions) -> Result<Self> {
        for (name, bound) in [("slots", options.slots), ("tokens", options.tokens)] {
            if bound == 0 {
                return Err(Error::Option { name, reason: "expected at least 1, found 0".into() });
            }
        }
        let (jobs, inbox) = sync_channel(options.queue);
        let answering = Arc::clone(&model);
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker::run(&answering, &options, &inbox))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self { model, options, jobs })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Submits a prompt; its answer comes through the stream.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full; [`Error::Stopped`]; for what can never be answered,
    /// what [`Model::complete`] says, and [`Error::TooLong`] when prompt and answer exceed the
    /// engine's bound of tokens.
    pub fn submit(
        &self,
        prompt: Vec<u32>,
        adapter: Option<Arc<Lora>>,
        options: &GenerateOptions,
    ) -> Result<Stream> {
        let decoder = &self.model.decoder;
        let tokens = prompt.len() + answer_limit(decoder, &prompt, options)?;
        let blocks = tokens.next_multiple_of(BLOCK);
        if blocks > self.options.tokens {
            let what = "prompt and answer, in what the engine may hold".to_owned();
            return Err(Error::TooLong { what, tokens, limit: self.options.tokens });
        }
        decoder.check_ids(&prompt)?;
        if let Some(lora) = &adapter {
            lora.check_fits(decoder.config())?;
        }
        let (events, receiver) = channel();
        let gone = Arc::new(AtomicBool::new(false));
        let client = Client { events, gone: Arc::clone(&gone) };
        let job = Job { prompt, adapter, options: options.clone(), tokens: blocks, client };
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::Busy { waiting: self.options.queue },
            TrySendError::Disconnected(_) => Error::Stopped,
        })?;
        Ok(Stream { events: receiver, gone })
    }

    /// Answers `messages` as [`Model::generate`] does, beside the other requests. While nothing
    /// comes, `on_text` is asked with an empty text, about every 5 ms, whether anybody still
    /// listens.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and those of the template.
    pub fn generate(
        &self,
        messages: &[Message],
        adapter: Option<&Arc<Lora>>,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let prompt = self.model.prompt_ids(messages)?;
        let stream = self.submit(prompt, adapter.cloned(), options)?;
        let mut heard = String::new();
        loop {
            let text = match stream.next(PATIENCE)? {
                Some(Event::Done(answer)) => return answer,
                Some(Event::Text(text)) => text,
                None => String::new(),
            };
            heard.push_str(&text);
            if on_text(&text).is_break() {
                // The thread ends the request and says how far it had come.
                stream.gone.store(true, Ordering::Relaxed);
                break;
            }
        }
        loop {
            if let Some(Event::Done(answer)) = stream.next(PATIENCE)? {
                // What was said after the receiver had left was not heard.
                let cancelled = crate::FinishReason::Cancelled;
                return answer.map(|answer| Generation {
                    text: heard,
                    finish_reason: cancelled,
                    ..answer
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
