//! A request with every default resolved: what to find, when to abstain, what to tell the model.

use eval::Arm;
use lm::GenerateOptions;
use store::{Filter, Hit};

use crate::ask::request::{AskRequest, NEVER_ABSTAIN};
use crate::error::{Error, Result};
use crate::project::config::SetConfig;
use crate::project::keys::Access;
use crate::prompt::{DEFAULT_INSTRUCTION, Passage, Prompt, Shot};
use crate::search::knowledge::{Knowledge, Retrieved, Wanted};

/// Tokens of an answer where nothing else is asked for.
const DEFAULT_MAX_TOKENS: usize = 160;
/// Tokens of an answer for a set where nothing is known of its answers: two or three sentences.
pub(crate) const SET_MAX_TOKENS: usize = 48;

/// How one question is answered.
pub(crate) struct AskPlan<'a> {
    pub(crate) request: &'a AskRequest<'a>,
    pub(crate) arm: Arm,
    /// How the answer is generated, its longest length and the asker's scope included.
    pub(crate) options: GenerateOptions,
    instruction: &'a str,
    /// What to find; `None` for arms that retrieve nothing.
    wanted: Option<Wanted>,
    /// The relevance below which the model is not asked, if there is such a threshold.
    abstain_below: Option<f32>,
}

impl<'a> AskPlan<'a> {
    /// Resolves a request: what it says itself goes first, then what holds for its set, then the
    /// defaults. Arms that retrieve need `knowledge`; without it nothing is retrieved. `longest` is
    /// the length of the longest answer of its set, where that is known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn resolve(
        request: &'a AskRequest<'a>,
        arm: Arm,
        knowledge: Option<&Knowledge>,
        longest: Option<usize>,
    ) -> Result<Self> {
        let set = request.set;
        let unset = if arm.uses_passages() && set.is_none() { DEFAULT_INSTRUCTION } else { "" };
        let instruction = request.instruction.or(set.and_then(|set| set.instruction.as_deref()));
        let max_tokens = request.max_tokens.or(longest).or(set.map(|_| SET_MAX_TOKENS));
        let (wanted, abstain_below) = match knowledge {
            Some(knowledge) => (
                Some(wanted(request, knowledge)?),
                match request.abstain_below {
                    Some(threshold) => Some(threshold),
                    None => knowledge.abstain_below(set)?,
                },
            ),
            None => (None, None),
        };
        Ok(Self {
            request,
            arm,
            options: GenerateOptions {
                max_tokens: max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
                scope: request.access.scope(),
                ..request.sampling.clone()
            },
            instruction: instruction.unwrap_or(unset),
            wanted,
            abstain_below,
        })
    }

    /// Finds the passages; none for an arm that retrieves nothing.
    ///
    /// # Errors
    /// [`Error::NoDocuments`], and whatever store and encoder refuse.
    pub(crate) fn retrieve(&self, knowledge: Option<&Knowledge>) -> Result<Retrieved> {
        let (Some(knowledge), Some(wanted)) = (knowledge, &self.wanted) else {
            return Ok(Retrieved::default());
        };
        if !knowledge.store.has_documents()? {
            return Err(Error::NoDocuments);
        }
        knowledge.search(self.request.question, wanted)
    }

    /// Whether passages of this relevance are too far from the question to ask the model.
    pub(crate) fn abstains(&self, relevance: Option<f32>) -> bool {
        self.abstain_below.is_some_and(|threshold| relevance.unwrap_or(NEVER_ABSTAIN) < threshold)
    }

    /// The set whose examples stand in the prompt; `None` for arms that show none.
    ///
    /// # Errors
    /// [`Error::ArmNeedsSet`] where the arm uses examples or an adapter and there is no set.
    pub(crate) fn example_set(&self) -> Result<Option<&'a SetConfig>> {
        let Self { arm, request, .. } = self;
        if request.set.is_none() && (arm.uses_examples() || arm.needs_adapter()) {
            return Err(Error::ArmNeedsSet(*arm));
        }
        Ok(request.set.filter(|_| arm.uses_examples()))
    }

    /// What the model reads.
    pub(crate) fn prompt<'p>(
        &'p self,
        hits: &[Hit],
        shots: Vec<Shot>,
        labels: &'p [String],
    ) -> Prompt<'p> {
        Prompt {
            instruction: self.instruction,
            labels,
            question: self.request.question,
            passages: hits.iter().map(Passage::from).collect(),
            shots,
            history: self.request.history,
        }
    }
}

/// What to find for a request: what holds for its set, in the documents that the request asks for,
/// its set may find and its asker may read.
fn wanted(request: &AskRequest, knowledge: &Knowledge) -> Result<Wanted> {
    let of_set = knowledge.wanted(request.set)?;
    let within = |filter: Filter, collections: Option<&[String]>| match collections {
        Some(collections) => filter.within(collections),
        None => filter,
    };
    let readable = match &request.access {
        Access::Everything => None,
        Access::Collections(names) => Some(names.as_slice()),
    };
    let filter = within(request.filter.clone(), of_set.filter.collections.as_deref());
    Ok(Wanted {
        hits: request.passages.unwrap_or(of_set.hits),
        filter: within(filter, readable),
        ..of_set
    })
}
