//! Question -> hits -> passages -> prompt -> answer + citations + timings.

pub mod citation;
mod repetition;
pub mod service;
pub mod shots;

use std::ops::ControlFlow;
use std::time::Instant;

use eval::Arm;
use lm::{FinishReason, GenerateOptions, Generation, Message};
use serde::Serialize;
use store::{Filter, Hit};

use crate::ask::citation::{Support, support};
use crate::ask::repetition::Unrepeated;
use crate::ask::service::{ServedAdapter, Service};
use crate::error::{Error, Result};
use crate::project::config::SetConfig;
use crate::project::keys::Access;
use crate::prompt::{DEFAULT_INSTRUCTION, Passage, Prompt, Shot};
use crate::search::knowledge::{Knowledge, Retrieved, Wanted};

/// What is said when nothing relevant is found.
pub const ABSTENTION: &str = "The documents do not answer this question.";

/// A threshold below which no relevance is.
pub const NEVER_ABSTAIN: f32 = -1.0;

/// Tokens of an answer where nothing else is asked for.
const DEFAULT_MAX_TOKENS: usize = 160;

/// A question and how to answer it.
#[derive(Clone, Debug, Default)]
pub struct AskRequest<'a> {
    /// The question.
    pub question: &'a str,
    /// The question set whose instruction, limits and winning arm hold; `None` answers from the
    /// documents.
    pub set: Option<&'a SetConfig>,
    /// The arm; `None` takes the winner of the set, and retrieval without one.
    pub arm: Option<Arm>,
    /// Turns of the conversation before the question, the oldest first.
    pub history: &'a [Message],
    /// Overrides the set's instruction.
    pub instruction: Option<&'a str>,
    /// Overrides the configured number of passages.
    pub passages: Option<usize>,
    /// Which documents may be found, of those that the set may.
    pub filter: Filter,
    /// Overrides the threshold for abstaining; [`NEVER_ABSTAIN`] answers everything.
    pub abstain_below: Option<f32>,
    /// What the asker may read. Nothing else reaches the answer, not even through examples or
    /// adapters.
    pub access: Access,
    /// Overrides the set's longest answer.
    pub max_tokens: Option<usize>,
    /// How tokens are drawn; its `max_tokens` and `scope` are not looked at.
    pub sampling: GenerateOptions,
}

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
    pub tokens: Tokens,
    /// Seconds by stage.
    pub seconds: Stages,
}

/// Token counts of an answer.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of these that were read before and not computed again.
    pub cached: usize,
    /// Tokens of the answer.
    pub completion: usize,
}

/// Seconds by stage.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stages {
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

/// Answers one question.
pub(crate) fn answer(
    service: &Service,
    request: &AskRequest,
    on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Answer> {
    let start = Instant::now();
    let arm = match (request.arm, request.set) {
        (Some(arm), _) => arm,
        (None, Some(set)) => service.winner(&set.name)?.unwrap_or(Arm::Rag),
        (None, None) => Arm::Rag,
    };
    if arm.is_diagnostic() {
        return Err(Error::DiagnosticArm(arm));
    }
    if let Some(set) = request.set
        && !service.allows(&request.access, set, arm)?
    {
        return Err(Error::Forbidden(format!("set {:?}", set.name)));
    }
    let needs_set = arm.uses_examples() || arm.needs_adapter();
    let retrieved =
        if arm.uses_retrieval() { retrieve(service, request)? } else { Retrieved::default() };
    let mut seconds = Stages {
        embed: retrieved.embed_seconds,
        search: retrieved.search_seconds,
        rerank: retrieved.rerank_seconds,
        ..Stages::default()
    };
    let relevance = retrieved.best_cosine();
    if arm.uses_retrieval()
        && let Some(threshold) = threshold(service, request)?
        && relevance.unwrap_or(NEVER_ABSTAIN) < threshold
    {
        // Whoever reads the stream has the whole answer now; whether they want more does not
        // matter.
        let _ = on_text(ABSTENTION);
        seconds.total = start.elapsed().as_secs_f64();
        return Ok(abstention(request, arm, retrieved, seconds));
    }
    let set = match request.set {
        None if needs_set => return Err(Error::ArmNeedsSet(arm)),
        set => set,
    };
    let shots = match set {
        Some(set) if arm.uses_examples() => nearest(service, set, request.question)?,
        _ => Vec::new(),
    };
    let max_tokens =
        request.max_tokens.or(set.map(|set| set.max_tokens)).unwrap_or(DEFAULT_MAX_TOKENS);
    let prompt = Prompt {
        instruction: request
            .instruction
            .or(set.and_then(|set| set.instruction.as_deref()))
            .unwrap_or(if arm.uses_passages() && set.is_none() { DEFAULT_INSTRUCTION } else { "" }),
        question: request.question,
        passages: retrieved.hits.iter().map(Passage::from).collect(),
        shots,
        history: request.history,
    };
    let model = &service.model;
    let limit = model.decoder.config().max_positions.saturating_sub(max_tokens);
    let messages = prompt.fit(arm, &model.template, &model.tokenizer, limit)?;
    let adapter = match set {
        Some(set) => service.adapter(&set.name, arm)?,
        None => None,
    };
    let options =
        GenerateOptions { max_tokens, scope: request.access.scope(), ..request.sampling.clone() };
    seconds.render = start.elapsed().as_secs_f64() - retrieved.seconds();
    let lora = adapter.as_ref().map(|adapter| &adapter.lora);
    // The questions of a set are answered exactly as they were compared; any other answer may end
    // before it runs in circles.
    let generation = match set {
        Some(_) => service.generate(&messages, lora, &options, on_text)?,
        None => {
            let mut guard = Unrepeated::new(on_text);
            let generation =
                service.generate(&messages, lora, &options, &mut |piece| guard.push(piece))?;
            Generation { text: guard.finish(), ..generation }
        }
    };
    seconds.prefill = generation.prefill_seconds;
    seconds.decode = generation.decode_seconds;
    seconds.first_token = retrieved.seconds() + seconds.render + seconds.prefill;
    let citing = Instant::now();
    let support = if arm.uses_passages() {
        let Knowledge { store, encoder, .. } = &*service.knowledge();
        support(request.question, &generation.text, &retrieved.hits, store, encoder)?
    } else {
        Support::default()
    };
    seconds.cite = citing.elapsed().as_secs_f64();
    seconds.total = start.elapsed().as_secs_f64();
    Ok(Answer {
        question: request.question.to_owned(),
        text: generation.text,
        arm,
        abstained: false,
        supported: arm.uses_passages().then(|| support.is_whole()),
        support,
        relevance,
        likelihood: mean(&generation.log_probabilities),
        hits: retrieved.hits,
        truncated: generation.finish_reason == FinishReason::Length,
        notes: adapter.filter(|adapter| adapter.stale).map(stale_note).into_iter().collect(),
        tokens: Tokens {
            prompt: generation.prompt_tokens,
            cached: generation.cached_tokens,
            completion: generation.completion_tokens,
        },
        seconds,
    })
}

fn retrieve(service: &Service, request: &AskRequest) -> Result<Retrieved> {
    let knowledge = service.knowledge();
    if !knowledge.store.has_documents()? {
        return Err(Error::NoDocuments);
    }
    let passages = match request.passages {
        Some(passages) => passages,
        None => knowledge.passages(request.set)?,
    };
    let mut filter = match request.set.and_then(|set| set.collections.as_deref()) {
        Some(collections) => request.filter.clone().within(collections),
        None => request.filter.clone(),
    };
    if let Access::Collections(readable) = &request.access {
        filter = filter.within(readable);
    }
    let lexical_weight = knowledge.lexical_weight(request.set)?;
    let rerank = knowledge.reranks(request.set)?;
    let neighbours = knowledge.neighbours();
    knowledge.search(
        request.question,
        &Wanted { hits: passages, lexical_weight, filter, neighbours, rerank },
    )
}

/// The relevance below which this request is not answered.
fn threshold(service: &Service, request: &AskRequest) -> Result<Option<f32>> {
    match request.abstain_below {
        Some(threshold) => Ok(Some(threshold)),
        None => service.knowledge().abstain_below(request.set),
    }
}

fn mean(log_probabilities: &[f32]) -> Option<f64> {
    let sum: f64 = log_probabilities.iter().copied().map(f64::from).sum();
    (!log_probabilities.is_empty()).then(|| sum / log_probabilities.len() as f64)
}

fn stale_note(adapter: ServedAdapter) -> String {
    format!(
        "adapter {} was trained with documents that have changed since: train it again",
        adapter.name
    )
}

fn nearest(service: &Service, set: &SetConfig, question: &str) -> Result<Vec<Shot>> {
    let shots = service.shots(set)?;
    let vector = service.knowledge().encoder.embed(&[question])?.pop().unwrap_or_default();
    Ok(shots.nearest(&vector, set.shots))
}

fn abstention(request: &AskRequest, arm: Arm, retrieved: Retrieved, seconds: Stages) -> Answer {
    Answer {
        question: request.question.to_owned(),
        text: ABSTENTION.to_owned(),
        arm,
        abstained: true,
        supported: None,
        support: Support::default(),
        relevance: retrieved.best_cosine(),
        likelihood: None,
        hits: retrieved.hits,
        truncated: false,
        notes: Vec::new(),
        tokens: Tokens::default(),
        seconds,
    }
}
