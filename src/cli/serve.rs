//! `tunesmith serve`

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use app::ask::AskRequest;
use app::ask::service::keyed::{CallerRights, KeyedService, Offer, ServedSet};
use app::models::Cache;
use app::{Error, Service};
use lm::{EngineOptions, GenerateOptions, Message, Role};
use server::{
    Caller, Chat, ChatError, ChatReply, ChatRequest, FinishReason, ServeOptions, ServedModel, Turn,
    TurnRole,
};

use super::output::plural;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on, which must be a loopback address unless tunesmith.toml has keys
    #[arg(long, default_value_t = ServeOptions::default().address)]
    address: SocketAddr,
    /// Number of requests answered at the same time, in one batch
    #[arg(long, default_value_t = ServeOptions::default().slots)]
    slots: usize,
    /// Number of requests that may wait; further ones are refused
    #[arg(long, default_value_t = ServeOptions::default().queue)]
    queue: usize,
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    // As many threads as slots ask the engine, so its own queue need not be longer.
    let bounds = EngineOptions {
        slots: arguments.slots,
        queue: arguments.slots,
        ..EngineOptions::default()
    };
    let service = Service::open_shared(project, &Cache::from_env()?)?.at_once(bounds)?;
    let service = KeyedService::new(service)?;
    for caller in service.callers() {
        let whose = caller.key().map(|key| format!(" to {}", key.name)).unwrap_or_default();
        for ServedModel { id, description } in caller.offers().map(served_model) {
            println!("serving {id} ({description}){whose}");
        }
    }
    if service.needs_key() && !arguments.address.ip().is_loopback() {
        eprintln!(
            "keys and answers travel unencrypted: let a proxy with TLS stand before {}",
            arguments.address
        );
    }
    println!("computing on {}", plural(lm::computing_threads(), "thread"));
    let options =
        ServeOptions { address: arguments.address, slots: arguments.slots, queue: arguments.queue };
    server::serve(Arc::new(ProjectChat(service)), &options, |address| {
        println!("listening on http://{address}/v1")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Lets the server ask a keyed service.
struct ProjectChat(KeyedService);

/// An entry of the list of models, with what stands behind it in words.
fn served_model(offer: Offer<'_>) -> ServedModel {
    let description = match offer {
        Offer::Set(ServedSet { set, arm, decided }) => {
            let state = if *decided { "decided" } else { "not decided yet" };
            format!("{}: {arm} ({state})", set.name)
        }
        Offer::Documents(_) => "answers from the documents".to_owned(),
    };
    ServedModel { id: offer.name().to_owned(), description }
}

impl Chat for ProjectChat {
    fn needs_key(&self) -> bool {
        self.0.needs_key()
    }

    fn caller(&self, secret: Option<&str>) -> Option<Caller> {
        let rights = self.0.admit(secret)?;
        Some(Caller { key: rights.key().map(|key| key.name.clone()) })
    }

    fn models(&self, caller: &Caller) -> Vec<ServedModel> {
        let rights = self.0.rights(caller.key.as_deref());
        rights.iter().flat_map(CallerRights::offers).map(served_model).collect()
    }

    fn answer(
        &self,
        caller: &Caller,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatReply, ChatError> {
        let Some(rights) = self.0.rights(caller.key.as_deref()) else {
            return Err(ChatError::Request("this needs a key".to_owned()));
        };
        let Some(offer) = rights.offer(&request.model) else {
            return Err(ChatError::Request(format!("no model called {:?}", request.model)));
        };
        let Some((question, before)) = request.turns.split_last() else {
            return Err(ChatError::Request("a conversation needs a message".to_owned()));
        };
        let system = before.iter().rev().find(|turn| turn.role == TurnRole::System);
        let history = history(before);
        let ask = AskRequest {
            question: &question.content,
            history: &history,
            instruction: system.map(|turn| turn.content.as_str()),
            max_tokens: request.max_tokens,
            sampling: GenerateOptions {
                temperature: request.temperature,
                top_p: request.top_p,
                seed: request.seed,
                stop: request.stop.clone(),
                ..GenerateOptions::default()
            },
            ..AskRequest::default()
        };
        let answer = rights.ask(offer, ask, on_text).map_err(refusal)?;
        let finish_reason =
            if answer.truncated { FinishReason::Length } else { FinishReason::Stop };
        let details = serde_json::to_value(&answer).map_err(|error| ChatError::Internal {
            message: "the answer's details".to_owned(),
            source: Some(Box::new(error)),
        })?;
        Ok(ChatReply {
            text: answer.text,
            finish_reason,
            prompt_tokens: answer.tokens.prompt,
            completion_tokens: answer.tokens.completion,
            details,
        })
    }
}

/// What people and the model said so far. System turns are left out: the last of them becomes the
/// instruction of the request.
fn history(turns: &[Turn]) -> Vec<Message> {
    let message = |turn: &Turn| match turn.role {
        TurnRole::System => None,
        TurnRole::User => Some(Message::new(Role::User, &turn.content)),
        TurnRole::Assistant => Some(Message::new(Role::Assistant, &turn.content)),
    };
    turns.iter().filter_map(message).collect()
}

/// Whose fault an error is: a prompt that does not fit is the client's.
fn refusal(error: Error) -> ChatError {
    match error {
        Error::Model(too_long @ lm::Error::TooLong { .. }) => {
            ChatError::Request(too_long.to_string())
        }
        Error::Model(busy @ lm::Error::Busy { .. }) => ChatError::Busy(busy.to_string()),
        error => ChatError::Internal { message: error.to_string(), source: Some(Box::new(error)) },
    }
}
