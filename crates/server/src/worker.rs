//! Threads that answer, behind a bounded queue: overload is refused at once, departed clients are
//! dropped.
//!
//! A thread spends most of its time waiting for its answer. The model behind [`Chat`] batches what
//! the threads ask at the same time.

use crate::chat::{Caller, Chat, ChatError, ChatReply, ChatRequest, ServedModel};
use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};
use tokio::sync::mpsc;

/// Pieces of text that may wait for a slow client before the thread that answers it has to wait.
const PIECES: usize = 64;

/// What a waiting client receives.
#[derive(Debug)]
pub(crate) enum Event {
    Text(String),
    Done(Result<ChatReply, ChatError>),
}

struct Job {
    caller: Caller,
    request: ChatRequest,
    client: mpsc::Sender<Event>,
}

/// The queue is full or its threads are gone.
#[derive(Debug)]
pub(crate) enum Refusal {
    Overloaded,
    Gone,
}

/// Handle to the answering threads; cheap to clone. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Worker {
    chat: Arc<dyn Chat>,
    jobs: SyncSender<Job>,
}

impl Worker {
    /// Starts the threads: `slots` requests are answered at once, and at most `queue` wait behind
    /// them.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(chat: Arc<dyn Chat>, slots: usize, queue: usize) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(queue);
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..slots.max(1) {
            let (answering, inbox) = (Arc::clone(&chat), Arc::clone(&inbox));
            std::thread::Builder::new().name("answer".into()).spawn(move || {
                while let Some(job) = next(&inbox) {
                    answer(answering.as_ref(), &job);
                }
            })?;
        }
        Ok(Self { chat, jobs })
    }

    pub(crate) fn needs_key(&self) -> bool {
        self.chat.needs_key()
    }

    pub(crate) fn caller(&self, secret: Option<&str>) -> Option<Caller> {
        self.chat.caller(secret)
    }

    pub(crate) fn models(&self, caller: &Caller) -> Vec<ServedModel> {
        self.chat.models(caller)
    }

    pub(crate) fn submit(
        &self,
        caller: Caller,
        request: ChatRequest,
    ) -> Result<mpsc::Receiver<Event>, Refusal> {
        let (client, events) = mpsc::channel(PIECES);
        self.jobs.try_send(Job { caller, request, client }).map_err(|refused| match refused {
            TrySendError::Full(_) => Refusal::Overloaded,
            TrySendError::Disconnected(_) => Refusal::Gone,
        })?;
        Ok(events)
    }
}

/// The next request; `None` when no more can come.
fn next(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn answer(chat: &dyn Chat, job: &Job) {
    if job.client.is_closed() {
        return;
    }
    let reply = chat.answer(&job.caller, &job.request, &mut |text| {
        let left = match text {
            "" => job.client.is_closed(),
            text => job.client.blocking_send(Event::Text(text.to_owned())).is_err(),
        };
        if left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // A client that left needs no reply.
    let _ = job.client.blocking_send(Event::Done(reply));
}
