//! What the server asks of the rest of the program: answer a conversation, token by token.

use std::ops::ControlFlow;

/// A conversation answered by a model. Implemented by the project's `app::Service` and by scripted
/// doubles in tests.
pub trait Chat: Send + Sync + 'static {
    /// Whether clients must show a key.
    fn needs_key(&self) -> bool;

    /// Who shows this secret, or shows none; `None` if they are to be refused.
    fn caller(&self, secret: Option<&str>) -> Option<Caller>;

    /// The models this caller may name, best first.
    fn models(&self, caller: &Caller) -> Vec<ServedModel>;

    /// Answers a request for one of the caller's models from what the caller may read.
    ///
    /// Every new piece of text goes to `on_text`, and generation stops early when that returns
    /// `Break`. While there is no new text, `on_text` may be called with an empty one to find out
    /// whether the client is still there. Several threads call this at once.
    ///
    /// # Errors
    /// [`ChatError`], whose variant says whose fault it is.
    fn answer(
        &self,
        caller: &Caller,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatReply, ChatError>;
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The name of the key shown; `None` where none is needed.
    pub key: Option<String>,
}

/// One entry of `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedModel {
    /// The name clients use.
    pub id: String,
    /// What stands behind it, for people: `facts: rag (decided)`.
    pub description: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnRole {
    /// Instructions.
    System,
    /// The person.
    User,
    /// Earlier answers.
    Assistant,
}

/// One message of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: TurnRole,
    /// What is said.
    pub content: String,
}

/// A checked request: the last turn is the user's, every number is in range.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// Name of the served model.
    pub model: String,
    /// The conversation, oldest first.
    pub turns: Vec<Turn>,
    /// Most tokens to generate; the model's own limit when absent.
    pub max_tokens: Option<usize>,
    /// 0 is greedy.
    pub temperature: f32,
    /// Nucleus mass in (0, 1].
    pub top_p: f32,
    /// Seed of the sampler.
    pub seed: u64,
    /// Generation ends before any of these strings.
    pub stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// The token limit came first.
    Length,
}

/// A finished answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatReply {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the rendered prompt, passages included.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Arm, citations and timings by stage, sent as the extension field `tunesmith`.
    pub details: serde_json::Value,
}

/// A conversation that could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The client's fault, such as a prompt longer than the context.
    #[error("{0}")]
    Request(String),
    /// Too much to do; the same request may be answered shortly.
    #[error("{0}")]
    Busy(String),
    /// Ours.
    #[error("{message}")]
    Internal {
        /// What failed.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
