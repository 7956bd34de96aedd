//! Tuning the embedder on a project's question set: the passages that hold a question's evidence
//! are its answers.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use store::ChunkId;

use super::measure::DEPTH;
use super::{Asked, Lessons, TuneEvent, TuneOptions, Tuned, tune};
use crate::error::{Error, Result};
use crate::models::{self, Cache};
use crate::project::Project;
use crate::questions::{Question, QuestionSet};
use crate::search::chunks::passages;
use crate::search::grounding::ground;
use crate::search::knowledge::{Knowledge, Wanted};

/// Tunes the project's embedder on the training questions of a set, chooses and judges by its dev
/// questions, and keeps the result below `.tunesmith/embedders`. Test questions are not read, but
/// for leaving out training questions that are nearly the same.
///
/// # Errors
/// [`Error::NoDocuments`]; [`Error::NoEvidence`] when no training or no dev question says where its
/// answer stands; [`Error::Problems`] for evidence that is not in the documents; those of [`tune`].
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
    let base = models::locate(cache, &knowledge.recipe.embedder, &project.root)?;
    tune(&lessons, &base.path, (&project.embedders()?, &set.config.name), options, stop, on_event)
}

/// The project's passages, and the questions of the set whose evidence is known.
fn lessons(knowledge: &Knowledge, set: &QuestionSet, stop: &AtomicBool) -> Result<Lessons> {
    let (chunks, passages): (Vec<ChunkId>, Vec<String>) =
        passages(&knowledge.store)?.into_iter().unzip();
    let vectors: Option<Vec<Vec<f32>>> =
        chunks.iter().map(|chunk| knowledge.store.vector(*chunk)).collect::<store::Result<_>>()?;
    let places: HashMap<ChunkId, usize> = chunks.into_iter().zip(0..).collect();
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
        vectors: vectors.unwrap_or_default(),
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

fn asked(
    knowledge: &Knowledge,
    questions: &[Question],
    places: &HashMap<ChunkId, usize>,
    stop: &AtomicBool,
) -> Result<Vec<Asked>> {
    // By words alone: what vectors find is found anew for every embedder.
    let wanted = Wanted { hits: DEPTH, lexical_weight: 1.0, ..Wanted::default() };
    let grounded = ground(knowledge, questions, &wanted, stop)?;
    let asked = questions.iter().zip(grounded).map(|(question, grounded)| {
        let (gold, beside): (Vec<_>, Vec<_>) =
            grounded.gold.iter().partition(|gold| gold.sufficient);
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
