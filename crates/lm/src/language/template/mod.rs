//! The one renderer of prompts: serving, training and evaluation all pass through here.

mod system;

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Tokenizer};
pub use system::NEUTRAL_SYSTEM;
use system::SystemPrompts;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instruction that governs the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates and APIs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// Token ids of an example with a mask of the same length: 1 = trained (predicted from what stands
/// before it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Prompt, completion, end token.
    pub ids: Vec<u32>,
    /// 0 on the prompt, 1 on the completion and its end token.
    pub mask: Vec<u8>,
}

impl Rendered {
    /// Number of ids with mask 1.
    pub fn trained(&self) -> usize {
        self.mask.iter().filter(|bit| **bit == 1).count()
    }
}

/// Steps of the template engine for one conversation: thousands of messages fit, an endless loop
/// does not.
const FUEL: u64 = 1 << 20;
/// Longest template and longest rendering, in bytes.
const MAX_TEMPLATE: usize = 1 << 18;
const MAX_TEXT: usize = 1 << 26;

/// A model's chat template (Jinja), compiled once, run without file access, with bounded work and
/// output.
///
/// A template that writes its maker's system prompt where a conversation has none ("named SmolLM,
/// trained by Hugging Face") is given [`NEUTRAL_SYSTEM`] instead, see [`ChatTemplate::completed`].
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    begin: String,
    end: String,
    system: SystemPrompts,
}

impl ChatTemplate {
    /// Compiles `template`; the tokenizer gives the spellings of `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`Error::Template`] when it is too long or no Jinja.
    pub fn new(template: &str, tokenizer: &Tokenizer) -> Result<Self> {
        if template.len() > MAX_TEMPLATE {
            let message = format!("{} bytes, expected at most {MAX_TEMPLATE}", template.len());
            return Err(Error::Template { message, source: None });
        }
        let mut environment = Environment::new();
        // As transformers compiles it: blocks swallow the newline after them and the indentation
        // before them.
        environment
            .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_template_owned("chat", template.to_owned())?;
        let end = tokenizer.end_ids().first().and_then(|id| tokenizer.token(*id));
        let template = Self {
            environment,
            source: template.to_owned(),
            begin: tokenizer.begin_token().unwrap_or_default().to_owned(),
            end: end.unwrap_or_default(),
            system: SystemPrompts::Kept,
        };
        let system = SystemPrompts::of(|messages| template.render_as_is(messages, true));
        Ok(Self { system, ..template })
    }

    /// What stands for the template of a model that has none: every conversation is refused.
    pub(crate) fn absent() -> Self {
        let [source, begin, end] = [const { String::new() }; 3];
        let (environment, system) = (Environment::empty(), SystemPrompts::Kept);
        Self { environment, source, begin, end, system }
    }

    /// Whether the model has a template, and so can be talked to. One without continues text alone.
    pub fn exists(&self) -> bool {
        self.environment.get_template("chat").is_ok()
    }

    /// The template itself; empty where there is none.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation that is rendered for `messages`: with [`NEUTRAL_SYSTEM`] in front where it
    /// has no system prompt and the template would write its maker's, and with the system prompt at
    /// the head of the user's first message where the template takes none. Otherwise as it is.
    pub fn completed<'a>(&self, messages: &'a [Message]) -> Cow<'a, [Message]> {
        self.system.complete(messages)
    }

    /// The text of a conversation, for people to read. Ids come from [`ChatTemplate::prompt_ids`].
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the conversation or exceeds its bounds.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.render_as_is(&self.completed(messages), add_generation_prompt)
    }

    /// As [`ChatTemplate::render`], whatever the template writes where no system prompt is given.
    fn render_as_is(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        if !self.exists() {
            let message =
                "the model has none (a base model?); it continues text but answers no messages";
            return Err(Error::Template { message: message.to_owned(), source: None });
        }
        let template = self.environment.get_template("chat")?;
        let turns = messages
            .iter()
            .map(|m| context! { role => m.role.as_str(), content => m.content.as_str() });
        let values = context! {
            messages => turns.collect::<Vec<Value>>(),
            add_generation_prompt,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        };
        let mut text = Bounded(Vec::new());
        template.render_captured_to(values, &mut text)?;
        // Jinja writes whole strings only.
        Ok(String::from_utf8_lossy(&text.0).into_owned())
    }

    /// The ids that the model is given to answer `messages`: the template's text with the
    /// generation prompt. What looks like a special token inside a message's content is encoded as
    /// plain text, so no content can end its turn.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; [`Error::Tokenizer`].
    pub fn prompt_ids(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>> {
        tokenizer.encode_marked(&self.render(&marked(tokenizer, messages), true)?)
    }

    /// Ids and mask of an example whose last message is the assistant's:
    /// [`ChatTemplate::prompt_ids`] of what stands before it, then the completion and its end
    /// token. Earlier assistant turns are context only.
    ///
    /// # Errors
    /// [`Error::NoTrainableToken`] when the last message is not the assistant's or is empty; as
    /// [`ChatTemplate::render`].
    pub fn example_ids(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Rendered> {
        let nothing =
            |reason: &str| Err(Error::NoTrainableToken { line: 0, reason: reason.to_owned() });
        let prompt = match messages {
            [prompt @ .., last] if last.role == Role::Assistant => {
                if last.content.trim().is_empty() {
                    return nothing("the assistant's message is empty");
                }
                prompt
            }
            _ => return nothing("the last message is not the assistant's"),
        };
        let messages = marked(tokenizer, messages);
        let prompt_text = self.render(&messages[..prompt.len()], true)?;
        let whole_text = self.render(&messages, false)?;
        // Templates that write turns of the past differently still get the completion that they
        // would generate.
        let completion = match whole_text.strip_prefix(&prompt_text) {
            Some(rest) => rest,
            None => messages.last().map_or("", |last| last.content.trim()),
        };

        let mut ids = tokenizer.encode_marked(&prompt_text)?;
        let prompt_length = ids.len();
        // Encoded apart from the prompt, because the model generates it apart from the prompt.
        let mut completion = tokenizer.encode_marked(completion)?;
        let is_end = |id: &u32| tokenizer.end_ids().contains(id);
        match completion.iter().position(is_end) {
            // What the template writes after the end token is never generated.
            Some(end) => completion.truncate(end + 1),
            None => completion.extend(self.end_id(tokenizer)),
        }
        if completion.iter().all(is_end) {
            return nothing("the template leaves nothing of the assistant's message");
        }
        ids.extend(&completion);
        let mut mask = vec![0; prompt_length];
        mask.resize(ids.len(), 1);
        Ok(Rendered { ids, mask })
    }

    fn end_id(&self, tokenizer: &Tokenizer) -> Option<u32> {
        tokenizer.end_ids().first().copied()
    }
}

fn marked(tokenizer: &Tokenizer, messages: &[Message]) -> Vec<Message> {
    messages.iter().map(|m| Message::new(m.role, tokenizer.mark(&m.content))).collect()
}

/// Refuses to grow past [`MAX_TEXT`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(std::io::Error::other(format!(
                "the rendered conversation exceeds {MAX_TEXT} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
