//! The engine's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::{Client, EngineOptions, Event, Job};
use crate::decoder::NEVER;
use crate::inference::generate::{Running, decode};
use crate::inference::model::fingerprint;
use crate::inference::prefix_cache::Owner;
use crate::{Error, Lora, Model, Result};

/// Adapters whose fingerprints are remembered.
const ADAPTERS: usize = 16;

/// A request that is being answered.
struct Active<'a> {
    answer: Running<'a, Arc<Lora>>,
    client: Client,
    /// Whose prefixes it may begin with.
    owner: Owner,
    /// Most tokens that it may come to hold.
    tokens: usize,
}

struct Worker<'a> {
    model: &'a Model,
    options: EngineOptions,
    inbox: &'a Receiver<Job>,
    /// A request taken out of the queue that does not fit yet.
    next: Option<Job>,
    active: Vec<Active<'a>>,
    fingerprints: VecDeque<(Arc<Lora>, u64)>,
}

/// Answers what comes through `inbox` until nobody can send any more and all is answered.
pub(super) fn run(model: &Model, options: &EngineOptions, inbox: &Receiver<Job>) {
    let (options, fingerprints) = (*options, VecDeque::new());
    let mut worker = Worker { model, options, inbox, next: None, active: Vec::new(), fingerprints };
    while worker.admit() {
        worker.drop_departed();
        worker.read();
        worker.drop_departed();
        worker.decode();
    }
}

impl<'a> Worker<'a> {
    /// Takes requests as long as there are slots and room; waits for one where there is none.
    /// `false` when no more can come.
    fn admit(&mut self) -> bool {
        while self.active.len() < self.options.slots {
            let job = match self.next.take() {
                Some(job) => job,
                None if self.active.is_empty() => match self.inbox.recv() {
                    Ok(job) => job,
                    Err(_) => return false,
                },
                None => match self.inbox.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                },
            };
            if job.client.is_gone() {
                continue;
            }
            let held: usize = self.active.iter().map(|active| active.tokens).sum();
            match self.start(job, self.options.tokens - held) {
                None => {}
                Some(job) => {
                    self.next = Some(job);
                    break;
                }
            }
        }
        true
    }

    /// Starts a request, unless it needs more than `free` tokens: then it is given back.
    fn start(&mut self, job: Job, free: usize) -> Option<Job> {
        if job.tokens > free {
            return Some(job);
        }
        let adapter = job.adapter.as_ref().map(|lora| self.fingerprint(lora));
        let Job { prompt, adapter: lora, options, tokens, client } = job;
        let owner = Owner { adapter, scope: options.scope.clone() };
        match Running::new(&self.model.decoder, &self.model.tokenizer, lora, &prompt, &options) {
            Ok(answer) => {
                self.model.prefixes().shrink(free - tokens);
                self.active.push(Active { answer, client, owner, tokens });
            }
            Err(error) => client.send(Event::Done(Err(error))),
        }
        None
    }

    fn fingerprint(&mut self, lora: &Arc<Lora>) -> u64 {
        if let Some((_, known)) =
            self.fingerprints.iter().find(|(known, _)| Arc::ptr_eq(known, lora))
        {
            return *known;
        }
        let print = fingerprint(lora);
        if self.fingerprints.len() == ADAPTERS {
            self.fingerprints.pop_front();
        }
        self.fingerprints.push_back((Arc::clone(lora), print));
        print
    }

    fn drop_departed(&mut self) {
        for mut active in self.active.extract_if(.., |active| active.client.is_gone()) {
            active.answer.cancel();
            active.client.send(Event::Done(Ok(active.answer.into_generation())));
        }
    }

    /// Reads a chunk of the oldest prompt that is not read yet.
    fn read(&mut self) {
        let Some(at) = self.active.iter().position(|active| active.answer.is_prefilling()) else {
            return;
        };
        let model = self.model;
        let active = &mut self.active[at];
        // Looked up only now: an earlier request may meanwhile have read a prefix that both share.
        if active.answer.is_fresh()
            && let Some(prefix) = model.prefixes().find(&active.owner, active.answer.prompt())
        {
            active.answer.begin_with(prefix);
        }
        let Active { answer, client, .. } = active;
        match answer.prefill_chunk(&model.decoder, &|| client.is_gone()) {
            Ok(()) => {}
            Err(Error::Cancelled) => return,
            Err(error) => {
                self.active.remove(at).client.send(Event::Done(Err(error)));
                return;
            }
        }
        if !active.answer.is_prefilling() {
            let (owner, prefix) = (active.owner.clone(), active.answer.prefix());
            let held: usize = self.active.iter().map(|active| active.tokens).sum();
            model.prefixes().keep(owner, prefix, self.options.tokens - held);
            self.deliver();
        }
    }

    /// One step of all answers whose prompts are read.
    fn decode(&mut self) {
        let decoder = &self.model.decoder;
        let decoding = self.active.iter_mut().filter(|active| !active.answer.is_prefilling());
        let (mut answers, clients): (Vec<_>, Vec<_>) =
            decoding.map(|active| (&mut active.answer, &active.client)).unzip();
        if answers.is_empty() {
            return;
        }
        // A step goes on as long as anybody waits for it.
        let decoded =
            decode(decoder, &mut answers, &|| clients.iter().all(|client| client.is_gone()));
        if decoded.as_ref().is_err_and(|error| !matches!(error, Error::Cancelled)) {
            // One of them is at fault; the others go on.
            let failed: Vec<Result<()>> =
                answers.into_iter().map(|answer| decode(decoder, &mut [answer], NEVER)).collect();
            let mut failed = failed.into_iter();
            self.active.retain(|active| {
                if active.answer.is_prefilling() {
                    return true;
                }
                match failed.next() {
                    Some(Err(error)) => {
                        active.client.send(Event::Done(Err(error)));
                        false
                    }
                    _ => true,
                }
            });
        }
        self.deliver();
    }

    /// Hands out new text and ends what is finished.
    fn deliver(&mut self) {
        for active in &mut self.active {
            let text = active.answer.take_text();
            if !text.is_empty() {
                active.client.send(Event::Text(text.to_owned()));
            }
        }
        for active in self.active.extract_if(.., |active| active.answer.is_finished()) {
            active.client.send(Event::Done(Ok(active.answer.into_generation())));
        }
    }
}
