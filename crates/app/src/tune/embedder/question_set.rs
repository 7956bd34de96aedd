//! Tuning a project's embedder on one of its question sets: the passages that hold a question's
//! evidence are the ones it should find.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use store::ChunkId;

use super::event::EmbedderEvent;
use super::lessons::{DEPTH, EmbedderLessons, JudgedQuestion};
use super::options::EmbedderTuneOptions;
use super::report::TunedEmbedder;
use super::tuner::EmbedderTuner;
use crate::error::{Error, Result};
use crate::models::{self, Cache};
use crate::progress::Progress;
use crate::project::Project;
use crate::questions::{Question, QuestionSet};
use crate::search::chunks::passages;
use crate::search::grounding::ground;
use crate::search::knowledge::{Knowledge, Wanted};

/// The embedder of a project's index, as it is before tuning.
pub struct ProjectEmbedder<'a> {
    /// Keeps the tuned one below `.tunesmith/embedders`.
    pub project: &'a Project,
    /// The passages, and the name of the embedder in use.
    pub knowledge: &'a Knowledge,
    /// Where its files are.
    pub cache: &'a Cache,
}

impl ProjectEmbedder<'_> {
    /// Tunes a copy on the training questions of a set; chooses and judges by the dev questions.
    /// Test questions are read for one purpose only: to leave out training questions that are
    /// nearly the same.
    ///
    /// # Errors
    /// [`Error::NoDocuments`]; [`Error::NoEvidence`] when no training or no dev question says where
    /// its answer stands; [`Error::Problems`] for evidence that is not in the documents; those of
    /// [`EmbedderTuner::tune`].
    pub fn tune(
        &self,
        set: &QuestionSet,
        options: &EmbedderTuneOptions,
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<TunedEmbedder> {
        let lessons = lessons(self.knowledge, set, progress.stop())?;
        let embedder = &self.knowledge.recipe.embedder;
        let base = models::locate(self.cache, embedder, &self.project.root)?;
        EmbedderTuner {
            lessons: &lessons,
            base: &base.path,
            folder: &self.project.embedders()?,
            name: &set.config.name,
            options,
        }
        .tune(progress)
    }
}

/// The project's passages, and the questions of the set whose evidence is known.
fn lessons(knowledge: &Knowledge, set: &QuestionSet, stop: &AtomicBool) -> Result<EmbedderLessons> {
    let (chunks, passages): (Vec<ChunkId>, Vec<String>) =
        passages(&knowledge.store)?.into_iter().unzip();
    let vectors: Option<Vec<Vec<f32>>> =
        chunks.iter().map(|chunk| knowledge.store.vector(*chunk)).collect::<store::Result<_>>()?;
    let places: HashMap<ChunkId, usize> = chunks.into_iter().zip(0..).collect();
    if passages.is_empty() {
        return Err(Error::NoDocuments);
    }
    let judged = |questions: &[Question], split| {
        let evident: Vec<Question> =
            questions.iter().filter(|question| !question.evidence.is_empty()).cloned().collect();
        match evident.is_empty() {
            true => Err(Error::NoEvidence { set: set.config.name.clone(), split }),
            false => judged(knowledge, &evident, &places, stop),
        }
    };
    let mut lessons = EmbedderLessons {
        passages,
        vectors: vectors.unwrap_or_default(),
        train: judged(&set.train, "train")?,
        dev: judged(&set.dev, "dev")?,
        left_out: 0,
        lexical_weight: knowledge.lexical_weight(Some(&set.config))?,
    };
    let test: Vec<&str> = set.test.iter().map(|question| question.text.as_str()).collect();
    lessons.keep_apart(&test);
    lessons.join_repeated();
    Ok(lessons)
}

/// Questions with the passages that hold enough of their evidence; those without such a passage are
/// left out. `places` says where in [`EmbedderLessons::passages`] a chunk is.
fn judged(
    knowledge: &Knowledge,
    questions: &[Question],
    places: &HashMap<ChunkId, usize>,
    stop: &AtomicBool,
) -> Result<Vec<JudgedQuestion>> {
    // By words alone: every embedder finds its own list by vectors.
    let wanted = Wanted { hits: DEPTH, lexical_weight: 1.0, ..Wanted::default() };
    let grounded = ground(knowledge, questions, &wanted, stop)?;
    let judged = questions.iter().zip(grounded).map(|(question, grounded)| {
        let (gold, beside): (Vec<_>, Vec<_>) =
            grounded.gold.iter().partition(|gold| gold.sufficient);
        let at = |chunk: &ChunkId| places.get(chunk).copied();
        let hits = grounded.retrieved.hits.iter();
        JudgedQuestion {
            id: question.id.clone(),
            cluster: question.cluster().to_owned(),
            text: question.text.clone(),
            gold: gold.iter().filter_map(|gold| at(&gold.chunk)).collect(),
            beside: beside.iter().filter_map(|gold| at(&gold.chunk)).collect(),
            by_words: hits.filter_map(|hit| Some((at(&hit.chunk)?, hit.explain.bm25?))).collect(),
        }
    });
    Ok(judged.filter(|question| !question.gold.is_empty()).collect())
}
