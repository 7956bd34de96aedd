//! One generation thread behind a bounded queue: overload is refused at once, departed clients are dropped.

use crate::chat::{Chat, ChatError, ChatReply, ChatRequest, ServedModel};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
};
use tokio::sync::mpsc;

/// Pieces of text that may wait for a slow client before generation waits with it.
const PIECES: usize = 64;

/// What a waiting client receives.
#[derive(Debug)]
pub(crate) enum Event {
    Text(String),
    Done(Result<ChatReply, ChatError>),
}

struct Job {
    request: ChatRequest,
    client: mpsc::Sender<Event>,
}

/// The queue's full or its thread is gone.
#[derive(Debug)]
pub(crate) enum Refusal {
    Overloaded,
    Gone,
}

/// Handle to the generation thread; cheap to clone. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Worker {
    chat: Arc<dyn Chat>,
    jobs: SyncSender<Job>,
}

impl Worker {
    /// Starts the thread; at most `queue` requests wait behind the one being answered.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(chat: Arc<dyn Chat>, queue: usize) -> std::io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(queue);
        let answering = Arc::clone(&chat);
        std::thread::Builder::new().name("generate".into()).spawn(move || {
            for job in inbox {
                answer(answering.as_ref(), &job);
            }
        })?;
        Ok(Self { chat, jobs })
    }

    pub(crate) fn models(&self) -> Vec<ServedModel> {
        self.chat.models()
    }

    pub(crate) fn submit(&self, request: ChatRequest) -> Result<mpsc::Receiver<Event>, Refusal> {
        let (client, events) = mpsc::channel(PIECES);
        self.jobs.try_send(Job { request, client }).map_err(|refused| match refused {
            TrySendError::Full(_) => Refusal::Overloaded,
            TrySendError::Disconnected(_) => Refusal::Gone,
        })?;
        Ok(events)
    }
}

fn answer(chat: &dyn Chat, job: &Job) {
    if job.client.is_closed() {
        return;
    }
    let reply =
        chat.answer(&job.request, &mut |text| match job.client.blocking_send(Event::Text(text.to_owned())) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
    // A client that left needs no reply.
    let _ = job.client.blocking_send(Event::Done(reply));
}
