//! `tunesmith serve`

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use app::ask::AskRequest;
use app::ask::service::Served;
use app::models::Cache;
use app::project::keys;
use app::{Access, Error, Key, Service};
use lm::{EngineOptions, GenerateOptions, Message, Role};
use server::{
    Caller, Chat, ChatError, ChatReply, ChatRequest, FinishReason, ServeOptions, ServedModel,
    TurnRole,
};
use store::Filter;

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
    let chat = Arc::new(ProjectChat::new(service)?);
    for (whose, caller) in chat.callers() {
        for model in chat.models(&caller) {
            println!("serving {} ({}){whose}", model.id, model.description);
        }
    }
    if chat.needs_key() && !arguments.address.ip().is_loopback() {
        eprintln!(
            "keys and answers travel unencrypted: let a proxy with TLS stand before {}",
            arguments.address
        );
    }
    println!("computing on {}", plural(lm::computing_threads(), "thread"));
    let options =
        ServeOptions { address: arguments.address, slots: arguments.slots, queue: arguments.queue };
    server::serve(chat, &options, |address| println!("listening on http://{address}/v1"))?;
    Ok(ExitCode::SUCCESS)
}

/// A project behind the server's door: each question set is a model, answered by the arm that won,
/// and the project itself is one that answers from the documents.
struct ProjectChat {
    service: Service,
    served: Vec<Served>,
    /// For each key, which of them it opens.
    opened: Vec<Vec<bool>>,
}

/// Who asks: what they may read, and for each served set whether it is open to them.
struct Rights<'a> {
    access: &'a Access,
    opened: Option<&'a [bool]>,
}

impl ProjectChat {
    fn new(service: Service) -> Result<Self, Error> {
        let served = service.served()?;
        service.check_keys()?;
        let open = |key: &Key| {
            let of = |served: &Served| service.allows(&key.access, &served.set, served.arm);
            served.iter().map(of).collect::<Result<_, _>>()
        };
        let opened = service.project.config.keys.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { service, served, opened })
    }

    fn keys(&self) -> &[Key] {
        &self.service.project.config.keys
    }

    /// All who may come, with words for whose they are.
    fn callers(&self) -> Vec<(String, Caller)> {
        if self.keys().is_empty() {
            return vec![(String::new(), Caller::default())];
        }
        let named =
            |key: &Key| (format!(" to {}", key.name), Caller { key: Some(key.name.clone()) });
        self.keys().iter().map(named).collect()
    }

    /// What a caller may do; nothing for somebody without the key that is needed.
    fn rights(&self, caller: &Caller) -> Option<Rights<'_>> {
        let Some(name) = &caller.key else {
            return (!self.needs_key())
                .then_some(Rights { access: &Access::Everything, opened: None });
        };
        let at = self.keys().iter().position(|key| key.name == *name)?;
        Some(Rights { access: &self.keys().get(at)?.access, opened: Some(self.opened.get(at)?) })
    }

    /// The sets that are open to somebody.
    fn open(&self, rights: &Rights<'_>) -> impl Iterator<Item = &Served> {
        let opened = |at: usize| rights.opened.is_none_or(|opened| opened.get(at) == Some(&true));
        let open: Vec<&Served> = self
            .served
            .iter()
            .enumerate()
            .filter(|(at, _)| opened(*at))
            .map(|(_, served)| served)
            .collect();
        open.into_iter()
    }

    fn name(&self) -> &str {
        &self.service.project.config.name
    }
}

impl Chat for ProjectChat {
    fn needs_key(&self) -> bool {
        !self.keys().is_empty()
    }

    fn caller(&self, secret: Option<&str>) -> Option<Caller> {
        if !self.needs_key() {
            return Some(Caller::default());
        }
        keys::holder(self.keys(), secret?).map(|key| Caller { key: Some(key.name.clone()) })
    }

    fn models(&self, caller: &Caller) -> Vec<ServedModel> {
        let Some(rights) = self.rights(caller) else { return Vec::new() };
        let sets = self.open(&rights).map(|served| ServedModel {
            id: served.set.name.clone(),
            description: format!(
                "{}: {} ({})",
                served.set.name,
                served.arm,
                if served.decided { "decided" } else { "not decided yet" }
            ),
        });
        let documents = ServedModel {
            id: self.name().to_owned(),
            description: "answers from the documents".to_owned(),
        };
        sets.chain([documents]).collect()
    }

    fn answer(
        &self,
        caller: &Caller,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatReply, ChatError> {
        let Some(rights) = self.rights(caller) else {
            return Err(ChatError::Request("this needs a key".to_owned()));
        };
        let served = self.open(&rights).find(|served| served.set.name == request.model);
        if served.is_none() && request.model != self.name() {
            return Err(ChatError::Request(format!("no model called {:?}", request.model)));
        }
        let Some((question, before)) = request.turns.split_last() else {
            return Err(ChatError::Request("a conversation needs a message".to_owned()));
        };
        let system = before.iter().rev().find(|turn| turn.role == TurnRole::System);
        let history: Vec<Message> = before
            .iter()
            .filter_map(|turn| match turn.role {
                TurnRole::System => None,
                TurnRole::User => Some(Message::new(Role::User, &turn.content)),
                TurnRole::Assistant => Some(Message::new(Role::Assistant, &turn.content)),
            })
            .collect();
        let ask = AskRequest {
            question: &question.content,
            set: served.map(|served| &served.set),
            arm: served.map(|served| served.arm),
            history: &history,
            instruction: system.map(|turn| turn.content.as_str()),
            passages: None,
            filter: Filter::ALL,
            abstain_below: None,
            access: rights.access.clone(),
            max_tokens: request.max_tokens,
            sampling: GenerateOptions {
                temperature: request.temperature,
                top_p: request.top_p,
                seed: request.seed,
                stop: request.stop.clone(),
                ..GenerateOptions::default()
            },
        };
        let answer = self.service.ask(&ask, on_text).map_err(refusal)?;
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
