//! An answer with its citations, and what it took.

use eval::Arm;
use lm::{FinishReason, Generation};
use serde::Serialize;
use store::Hit;

use crate::ask::citation::{Support, support};
use crate::error::Result;
use crate::search::knowledge::{Knowledge, Retrieved};

/// What is said when nothing relevant is found.
pub const ABSTENTION: &str = "The documents do not answer this question.";

/// An answer, what it rests on, and what it took.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The answer; [`ABSTENTION`] when nothing relevant was found.
    pub text: String,
    /// The arm that answered.
    pub arm: Arm,
    /// Nothing relevant was found, so the model was not asked.
    pub abstained: bool,
    /// Whether every sentence is supported by the passages; `None` for arms that read none.
    pub supported: Option<bool>,
    /// Sentences and citations.
    #[serde(flatten)]
    pub support: Support,
    /// The largest cosine between the question and a passage, which tells whether to abstain;
    /// `None` for arms that retrieve none.
    pub relevance: Option<f32>,
    /// What was retrieved.
    pub hits: Vec<Hit>,
    /// Whether the answer was cut at its longest length.
    pub truncated: bool,
    /// Mean log probability of the answer's tokens, if `sampling` asks for likelihoods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<f64>,
    /// What the reader should know: the adapter was trained with documents that have changed since.
    pub notes: Vec<String>,
    /// Token counts.
    pub tokens: TokenCounts,
    /// Seconds by stage.
    pub seconds: StageSeconds,
}

/// Token counts of an answer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TokenCounts {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of these that were read before and not computed again.
    pub cached: usize,
    /// Tokens of the answer.
    pub completion: usize,
}

/// Seconds by stage.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StageSeconds {
    /// Turning the question into a vector.
    pub embed: f64,
    /// Searching and fusing.
    pub search: f64,
    /// Putting the first hits in order.
    pub rerank: f64,
    /// Choosing examples and rendering the prompt.
    pub render: f64,
    /// Reading the prompt.
    pub prefill: f64,
    /// Writing the answer.
    pub decode: f64,
    /// Finding citations.
    pub cite: f64,
    /// From question to first token.
    pub first_token: f64,
    /// Everything.
    pub total: f64,
}

impl StageSeconds {
    /// From question to hits.
    pub(crate) fn retrieving(&self) -> f64 {
        self.embed + self.search + self.rerank
    }
}

impl Answer {
    /// What is known of an answer once its hits are: nothing is said yet.
    pub(crate) fn begun(question: &str, arm: Arm, retrieved: Retrieved) -> Self {
        Self {
            question: question.to_owned(),
            text: String::new(),
            arm,
            abstained: false,
            supported: None,
            support: Support::default(),
            relevance: retrieved.best_cosine(),
            truncated: false,
            likelihood: None,
            notes: Vec::new(),
            tokens: TokenCounts::default(),
            seconds: StageSeconds {
                embed: retrieved.embed_seconds,
                search: retrieved.search_seconds,
                rerank: retrieved.rerank_seconds,
                ..StageSeconds::default()
            },
            hits: retrieved.hits,
        }
    }

    /// Says [`ABSTENTION`] instead of asking the model.
    pub(crate) fn abstain(&mut self) {
        ABSTENTION.clone_into(&mut self.text);
        self.abstained = true;
    }

    /// Takes over what the model wrote, after `seconds.render` is known.
    pub(crate) fn say(&mut self, generation: Generation) {
        self.text = generation.text;
        self.truncated = generation.finish_reason == FinishReason::Length;
        self.likelihood = mean(&generation.log_probabilities);
        self.tokens = TokenCounts {
            prompt: generation.prompt_tokens,
            cached: generation.cached_tokens,
            completion: generation.completion_tokens,
        };
        let seconds = &mut self.seconds;
        seconds.prefill = generation.prefill_seconds;
        seconds.decode = generation.decode_seconds;
        seconds.first_token = seconds.retrieving() + seconds.render + seconds.prefill;
    }

    /// Finds what of the hits supports the text.
    ///
    /// # Errors
    /// As [`support`].
    pub(crate) fn cite(&mut self, knowledge: &Knowledge) -> Result<()> {
        let Knowledge { store, encoder, .. } = knowledge;
        self.support = support(&self.question, &self.text, &self.hits, store, encoder)?;
        self.supported = Some(self.support.is_whole());
        Ok(())
    }
}

fn mean(log_probabilities: &[f32]) -> Option<f64> {
    let sum: f64 = log_probabilities.iter().copied().map(f64::from).sum();
    (!log_probabilities.is_empty()).then(|| sum / log_probabilities.len() as f64)
}
