//! Tuning the embedder on a project's question set: the passages that hold a question's evidence are its answers.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use store::ChunkId;

use super::measure::DEPTH;
use super::{Asked, Lessons, TuneEvent, TuneOptions, Tuned, tune};
use crate::error::{Error, Result};
use crate::grounding::{GroundingOptions, ground};
use crate::ingest::embedded;
use crate::knowledge::Knowledge;
use crate::models::{self, Cache};
use crate::project::Project;
use crate::questions::{Question, QuestionSet};

/// Tunes the project's embedder on the training questions of a set, chooses and judges by its dev questions, and keeps the
/// result below `.tunesmith/embedders`. Test questions are not read, but for leaving out training questions that are nearly the same.
///
/// # Errors
/// [`Error::NoDocuments`]; [`Error::NoEvidence`] when no training or no dev question says where its answer stands;
/// [`Error::Problems`] for evidence that is not in the documents; those of [`tune`].
pub fn tune_for_set(
    project: &Project,
    knowledge: &Knowledge,
    cache: &Cache,
    set: &QuestionSet,
    options: &TuneOptions,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(TuneEvent),
) -> Result<Tuned> {
    let lessons = lessons(knowledge, set, stop)?;
    let base = models::locate(cache, &project.config.embedder, &project.root)?;
    tune(&lessons, &base.path, (&project.embedders()?, &set.config.name), options, stop, on_event)
}

/// The project's passages, and the questions of the set whose evidence is known.
fn lessons(knowledge: &Knowledge, set: &QuestionSet, stop: &AtomicBool) -> Result<Lessons> {
    let Passages { passages, vectors, places } = Passages::of(knowledge)?;
    if passages.is_empty() {
        return Err(Error::NoDocuments);
    }
    let asked = |questions: &[Question], split| {
        let evident: Vec<Question> =
            questions.iter().filter(|question| !question.evidence.is_empty()).cloned().collect();
        match evident.is_empty() {
            true => Err(Error::NoEvidence { set: set.config.name.clone(), split }),
            false => asked(knowledge, &evident, &places, stop),
        }
    };
    let mut lessons = Lessons {
        passages,
        vectors,
        train: asked(&set.train, "train")?,
        dev: asked(&set.dev, "dev")?,
        left_out: 0,
        lexical_weight: knowledge.lexical_weight(Some(&set.config))?,
    };
    let test: Vec<&str> = set.test.iter().map(|question| question.text.as_str()).collect();
    lessons.keep_apart(&test);
    lessons.join_repeated();
    Ok(lessons)
}

/// Every chunk.
#[derive(Default)]
struct Passages {
    /// As they are embedded.
    passages: Vec<String>,
    /// As the index holds them; empty where one is missing.
    vectors: Vec<Vec<f32>>,
    places: HashMap<ChunkId, usize>,
}

impl Passages {
    fn of(knowledge: &Knowledge) -> Result<Self> {
        let mut all = Self::default();
        let mut whole = true;
        for document in knowledge.store.documents()? {
            let text = knowledge.store.document_text(document.id, None)?.unwrap_or_default();
            let stored = knowledge.store.vectors_by_text(&document.path)?;
            for (id, chunk) in knowledge.store.chunks(document.id)? {
                let Some(said) = chunk.text(&text) else { continue };
                all.places.insert(id, all.passages.len());
                all.passages.push(embedded(document.title.as_deref(), &chunk.heading_path, &said));
                match stored.get(said.as_ref()) {
                    Some(vector) => all.vectors.push(vector.clone()),
                    None => whole = false,
                }
            }
        }
        if !whole {
            all.vectors.clear();
        }
        Ok(all)
    }
}

fn asked(
    knowledge: &Knowledge,
    questions: &[Question],
    places: &HashMap<ChunkId, usize>,
    stop: &AtomicBool,
) -> Result<Vec<Asked>> {
    // By words alone: what vectors find is found anew for every embedder.
    let grounded =
        ground(knowledge, questions, &GroundingOptions { hits: DEPTH, lexical_weight: 1.0 }, stop)?;
    let asked = questions.iter().zip(grounded).map(|(question, grounded)| {
        let (gold, beside): (Vec<_>, Vec<_>) = grounded.gold.iter().partition(|gold| gold.sufficient);
        let at = |chunk: &ChunkId| places.get(chunk).copied();
        let hits = grounded.retrieved.hits.iter();
        Asked {
            id: question.id.clone(),
            cluster: question.cluster().to_owned(),
            text: question.text.clone(),
            gold: gold.iter().filter_map(|gold| at(&gold.chunk)).collect(),
            beside: beside.iter().filter_map(|gold| at(&gold.chunk)).collect(),
            by_words: hits.filter_map(|hit| Some((at(&hit.chunk)?, hit.explain.bm25?))).collect(),
        }
    });
    Ok(asked.filter(|asked| !asked.gold.is_empty()).collect())
}
