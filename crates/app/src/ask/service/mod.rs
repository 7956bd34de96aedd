//! An opened project that can answer: knowledge, model and adapters, opened once and shared between
//! threads.
//!
//! - `answering`: the stages of one answer
//! - `access`: what an answer rests on, and so who may read it
//! - [`keyed`]: the same service for callers who show keys

mod access;
mod answering;
pub mod keyed;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eval::{Arm, Decision, System};
use lm::{Engine, EngineOptions, Lora, Message, Model, Precision};

use crate::ask::shots::Shots;
use crate::error::{Error, Result};
use crate::models::{self, Cache};
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::prompt::{self, PromptForm};
use crate::questions::QuestionSet;
use crate::search::knowledge::Knowledge;
use crate::tune::adapters;

/// Everything needed to answer questions about a project. All methods take `&self`; searches take
/// turns on the store, generation does not: questions asked at once are answered each for itself,
/// or together after [`Service::at_once`].
pub struct Service {
    /// The project.
    pub project: Project,
    /// The generator.
    pub model: Arc<Model>,
    /// Answers questions together, where many may come at once.
    engine: Option<Engine>,
    knowledge: Mutex<Knowledge>,
    /// Where models are, if the knowledge base is shared with other processes.
    shared: Option<Cache>,
    /// Adapters by folder, with the checksum of their weights.
    adapters: Mutex<HashMap<PathBuf, (String, Arc<Lora>)>>,
    shots: Mutex<HashMap<String, Arc<Shots>>>,
    /// The labels that the prompts of a set name.
    labels: Mutex<HashMap<String, Arc<[String]>>>,
    /// The documents in which the examples of a set have their evidence.
    evidence: Mutex<HashMap<String, Arc<BTreeSet<String>>>>,
}

/// An adapter in memory.
#[derive(Clone, Debug)]
pub struct ServedAdapter {
    /// `SET/RECIPE/SEED`
    pub name: String,
    /// Its weights.
    pub lora: Arc<Lora>,
    /// Whether a document it was trained with has been edited or deleted since.
    pub stale: bool,
}

/// Opens the generator a project's configuration names.
pub fn open_model(project: &Project, cache: &Cache) -> Result<Model> {
    let located = models::locate(cache, &project.config.generator, &project.root)?;
    Ok(Model::open(&located.path, Precision::Auto)?)
}

impl Service {
    /// Opens a project's store, encoder and generator.
    ///
    /// # Errors
    /// A model is absent or broken, the store is in use by another process.
    pub fn open(project: Project, cache: &Cache) -> Result<Self> {
        let knowledge = Knowledge::open(&project, cache)?;
        let model = open_model(&project, cache)?;
        Ok(Self::new(project, knowledge, model))
    }

    /// As [`Service::open`], and other processes may read and write meanwhile: answers follow what
    /// they change.
    ///
    /// # Errors
    /// A model is absent or broken, or as [`Knowledge::open_shared`].
    pub fn open_shared(project: Project, cache: &Cache) -> Result<Self> {
        let knowledge = Knowledge::open_shared(&project, cache)?;
        let model = open_model(&project, cache)?;
        Ok(Self { shared: Some(cache.clone()), ..Self::new(project, knowledge, model) })
    }

    /// A service from opened parts.
    pub fn new(project: Project, knowledge: Knowledge, model: Model) -> Self {
        Self {
            project,
            model: Arc::new(model),
            engine: None,
            knowledge: Mutex::new(knowledge),
            shared: None,
            adapters: Mutex::default(),
            shots: Mutex::default(),
            labels: Mutex::default(),
            evidence: Mutex::default(),
        }
    }

    /// Answers questions that come at once in one batch, within these bounds.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn at_once(mut self, options: EngineOptions) -> Result<Self> {
        self.engine = Some(Engine::start(Arc::clone(&self.model), options)?);
        Ok(self)
    }

    /// The knowledge base, for as long as the guard lives.
    pub fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        // A panic elsewhere leaves the store as consistent as a crash would.
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the knowledge base again when another process has taken another index into use.
    fn follow(&self) -> Result<()> {
        let Some(cache) = &self.shared else { return Ok(()) };
        let mut knowledge = self.knowledge();
        if knowledge.store.index_in_use()? == knowledge.store.index() {
            return Ok(());
        }
        *knowledge = Knowledge::open_shared(&self.project, cache)?;
        drop(knowledge);
        // The vectors of the examples come from the former encoder.
        self.shots.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// The arm the latest decision on a set recommends.
    pub fn winner(&self, set: &str) -> Result<Option<Arm>> {
        let latest = self.knowledge().store.latest_decision(set)?;
        let Some(record) = latest else { return Ok(None) };
        let decision: Decision = serde_json::from_str(&record.json)
            .map_err(|source| Error::Record { what: format!("decision of set {set:?}"), source })?;
        Ok(decision.recommended.and_then(System::arm))
    }

    /// The adapter an arm of a set answers with: the one of the lowest seed, and whether documents
    /// it was trained with have changed since; `None` for arms on base weights.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when it has yet to be trained, [`Error::OtherBase`] when it was trained
    /// for another model, [`Error::OtherPrompts`] when its prompts were of another form than those
    /// of the set are now.
    pub fn adapter(&self, set: &SetConfig, arm: Arm) -> Result<Option<ServedAdapter>> {
        let Some(recipe) = adapters::Recipe::of(arm) else { return Ok(None) };
        let name = &set.name;
        let missing = || Error::NoAdapter { set: name.clone(), recipe: recipe.as_str() };
        let manifest =
            adapters::list(&self.project, name, recipe)?.into_iter().next().ok_or_else(missing)?;
        manifest.check_prompts(&PromptForm::of(
            set,
            &self.labels(Some(set))?,
            &self.model.template,
        ))?;
        let folder = self.project.adapter_folder(name, recipe.as_str(), manifest.seed);
        let name = manifest.name();
        let stale = self.knowledge().store.adapter(&name)?.is_some_and(|adapter| adapter.stale);
        let mut loaded = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((weights, lora)) = loaded.get(&folder)
            && *weights == manifest.weights
        {
            return Ok(Some(ServedAdapter { name, lora: Arc::clone(lora), stale }));
        }
        let lora = Arc::new(adapters::load(&folder, &self.model)?);
        loaded.insert(folder, (manifest.weights, Arc::clone(&lora)));
        Ok(Some(ServedAdapter { name, lora, stale }))
    }

    /// The training examples of a set; they are embedded at the first call.
    pub fn shots(&self, set: &SetConfig) -> Result<Arc<Shots>> {
        let mut known = self.shots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shots) = known.get(&set.name) {
            return Ok(Arc::clone(shots));
        }
        let questions = QuestionSet::load(&self.project, set)?;
        let shots = Arc::new(Shots::new(&self.knowledge().encoder, &questions.train)?);
        known.insert(set.name.clone(), Arc::clone(&shots));
        Ok(shots)
    }

    /// The labels that the prompts of a set name; its files are read at the first call.
    ///
    /// # Errors
    /// As [`QuestionSet::load`].
    pub fn labels(&self, set: Option<&SetConfig>) -> Result<Arc<[String]>> {
        let Some(set) = set.filter(|set| prompt::may_name_labels(set)) else {
            return Ok(Arc::default());
        };
        let mut known = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = known.get(&set.name) {
            return Ok(Arc::clone(labels));
        }
        let labels: Arc<[String]> = QuestionSet::load(&self.project, set)?.labels.into();
        known.insert(set.name.clone(), Arc::clone(&labels));
        Ok(labels)
    }

    /// The tokens of a conversation as the model reads it.
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<usize> {
        Ok(self.model.template.prompt_ids(&self.model.tokenizer, messages)?.len())
    }
}
