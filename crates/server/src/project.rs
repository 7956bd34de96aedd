//! An opened project as a [`Chat`]: one served model a question set, and one that answers from the documents alone.

use crate::chat::{Chat, ChatError, ChatReply, ChatRequest, FinishReason, ServedModel, TurnRole};
use app::{
    ask::{Answer, AskRequest},
    service::{Served, Service},
};
use lm::{GenerateOptions, Message, Role};
use serde_json::json;
use std::ops::ControlFlow;

/// Name of the model that answers any question from the documents, abstaining when they hold nothing relevant.
const DOCUMENTS: &str = "documents";

/// A project ready to converse. What each set is served with is settled when it is opened: the process holds the project's
/// lock, so no decision can change underneath.
pub struct ProjectChat {
    service: Service,
    served: Vec<Served>,
}

impl ProjectChat {
    /// Looks up the winning arm of every set.
    ///
    /// # Errors
    /// A stored decision cannot be read.
    pub fn new(service: Service) -> app::Result<Self> {
        let served = service.served()?;
        Ok(Self { service, served })
    }
}

impl Chat for ProjectChat {
    fn models(&self) -> Vec<ServedModel> {
        let sets = self.served.iter().map(|served| {
            let why = if served.decided { "decided" } else { "not decided yet" };
            ServedModel { id: served.set.name.clone(), description: format!("{} ({why})", served.arm) }
        });
        let documents = ServedModel { id: DOCUMENTS.into(), description: "answers from the documents".into() };
        sets.chain([documents]).collect()
    }

    fn answer(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatReply, ChatError> {
        let served = self.served.iter().find(|served| served.set.name == request.model);
        let (instruction, mut history) = split_instruction(request);
        let question = history.pop().map(|message| message.content).unwrap_or_default();
        let ask = AskRequest {
            question: &question,
            set: served.map(|served| &served.set),
            arm: served.map(|served| served.arm),
            history: &history,
            instruction: instruction.as_deref(),
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
        match self.service.ask(&ask, on_text) {
            Ok(answer) => Ok(reply(&answer)),
            Err(error) if error.is_request() => Err(ChatError::Request(error.to_string())),
            Err(error) => Err(ChatError::Internal { message: error.to_string(), source: Some(Box::new(error)) }),
        }
    }
}

/// The system turns joined, and the other turns as messages; the last of them is the user's.
fn split_instruction(request: &ChatRequest) -> (Option<String>, Vec<Message>) {
    let (system, others): (Vec<_>, Vec<_>) = request.turns.iter().partition(|turn| turn.role == TurnRole::System);
    let instruction: Vec<&str> = system.iter().map(|turn| turn.content.as_str()).collect();
    let messages = others.iter().map(|turn| {
        let role = if turn.role == TurnRole::Assistant { Role::Assistant } else { Role::User };
        Message::new(role, &turn.content)
    });
    ((!instruction.is_empty()).then(|| instruction.join("\n\n")), messages.collect())
}

fn reply(answer: &Answer) -> ChatReply {
    ChatReply {
        text: answer.text.clone(),
        finish_reason: if answer.truncated { FinishReason::Length } else { FinishReason::Stop },
        prompt_tokens: answer.tokens.prompt,
        completion_tokens: answer.tokens.completion,
        details: json!({
            "arm": answer.arm,
            "abstained": answer.abstained,
            "supported": answer.supported,
            "citations": answer.support,
            "cached_tokens": answer.tokens.cached,
            "seconds": answer.seconds,
        }),
    }
}
