//! Examples as the model reads them.

use std::path::Path;

use super::example::Example;
use super::fault::{DatasetErrors, Row};
use crate::Error;
use crate::language::Tokenizer;
use crate::language::{ChatTemplate, Rendered};

/// Renders every example through the model's chat template; the result has the order of `examples`.
///
/// `path` names the examples' file in errors.
///
/// # Errors
/// Every row at once that the template refuses, that leaves no trainable token, or that has more
/// than `max_length` tokens.
pub fn render_examples(
    path: &Path,
    examples: &[Example],
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    max_length: usize,
) -> Result<Vec<Rendered>, DatasetErrors> {
    let mut errors = Vec::new();
    let mut rendered = Vec::with_capacity(examples.len());
    for example in examples {
        let mut row = Row::new(path, example.line, &mut errors);
        match template.example_ids(tokenizer, &example.messages) {
            Ok(fit) if fit.ids.len() <= max_length => rendered.push(fit),
            Ok(long) => row.fault(
                "messages",
                format!("{} tokens", long.ids.len()),
                format!("at most {max_length} (prompt and completion together)"),
            ),
            Err(Error::NoTrainableToken { reason, .. }) => {
                row.fault(
                    "messages",
                    format!("no trainable token ({reason})"),
                    "a completion to learn",
                );
            }
            Err(error) => {
                row.fault("messages", error.to_string(), "messages that the chat template accepts")
            }
        }
    }
    if errors.is_empty() { Ok(rendered) } else { Err(DatasetErrors { errors }) }
}
