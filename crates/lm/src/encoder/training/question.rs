//! Questions to learn from.

use crate::{Error, Result};

/// A question to learn from. Passages are named by their places in the list given beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrainingQuestion {
    /// The question, as it is embedded when it is asked.
    pub text: String,
    /// All passages that answer it; at least one. None of them is ever a negative of this question.
    pub positives: Vec<usize>,
    /// Hard negatives: passages that look like answers and are none; may be empty.
    pub negatives: Vec<usize>,
}

/// Refuses questions that no run can learn from; there are `passages` passages.
pub(super) fn check_questions(questions: &[TrainingQuestion], passages: usize) -> Result<()> {
    let wrong = |reason: String| Err(Error::Option { name: "questions", reason });
    if questions.is_empty() {
        return wrong("there are none to train on".into());
    }
    for question in questions {
        if question.positives.is_empty() {
            return wrong(format!("{:?} has no passage that answers it", question.text));
        }
        if question.positives.iter().chain(&question.negatives).any(|passage| *passage >= passages)
        {
            return wrong(format!(
                "{:?} names a passage beyond the {passages} there are",
                question.text
            ));
        }
    }
    Ok(())
}
