//! Training: adapters for the model that answers here, the embedder in [`embedder`].
//!
//! Examples -> splits -> (ids, mask) -> checkpoint -> adapter.

pub mod adapters;
pub(crate) mod draw;
pub mod embedder;
mod lessons;
mod options;
mod passages;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use lm::{Adapter, Checkpointing, Estimate, Model, TrainEvent, TrainOptions, Trained, TrainingRun};

use crate::error::{Error, IoContext, Result};
use crate::models::hash_file;
use crate::progress::Progress;
use crate::project::{Project, STATE};
use crate::prompt::PromptForm;
use crate::questions::QuestionSet;
use crate::search::knowledge::Knowledge;
use adapters::{Manifest, Recipe};
use lessons::LessonSource;
pub use lessons::Lessons;
use options::{describe, train_options};

/// An adapter to train.
#[derive(Clone, Copy, Debug)]
pub struct TuneRequest {
    /// The recipe.
    pub recipe: Recipe,
    /// What of the training pairs is learnt from.
    pub pairs: Pairs,
    /// Seed of weights and order.
    pub seed: u64,
    /// What to do with the checkpoint of an interrupted run.
    pub resume: Resume,
    /// Train even when the same adapter is there.
    pub again: bool,
    /// Only estimate.
    pub dry_run: bool,
}

/// What of the training pairs is learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pairs {
    /// All, as they are: what is served.
    #[default]
    All,
    /// All, with the answers dealt out to the questions at random: what a score owes to anything but
    /// the right pairing shows in what is learnt from these.
    Shuffled,
    /// So many eighths of them, for the learning curve; a larger part holds the smaller ones.
    Eighths(u8),
}

impl Pairs {
    /// The folder of what is trained on them by a recipe. Those that are not served stand apart from
    /// those that are.
    pub(crate) fn folder(self, recipe: Recipe) -> String {
        match self {
            Self::All => recipe.as_str().to_owned(),
            Self::Shuffled => format!("{}-shuffled", recipe.as_str()),
            Self::Eighths(eighths) => format!("{}-{eighths}-of-8", recipe.as_str()),
        }
    }
}

/// What to do with the checkpoint of an interrupted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Start anew.
    No,
    /// Go on from it; one of another run (other examples, other options) is refused.
    Yes,
    /// Go on from it if it is of the same run, else start anew.
    IfSame,
}

/// What happens during [`Tuner::tune`].
#[derive(Clone, Debug)]
pub enum TuneEvent {
    /// An adapter trained with the same examples, options and model is there: nothing is to be
    /// done.
    Reused(Box<Manifest>),
    /// The work is known.
    Planned(Box<TrainingPlan>),
    /// Training goes on.
    Training(TrainEvent),
    /// The adapter is saved.
    Saved(Box<Manifest>),
}

/// What a run will take.
#[derive(Clone, Debug)]
pub struct TrainingPlan {
    /// Examples to learn from.
    pub train: usize,
    /// Examples to watch.
    pub dev: usize,
    /// The options, without checkpoint and stop flag.
    pub options: TrainOptions<'static>,
    /// Steps, tokens, bytes, and seconds as measured on one step.
    pub estimate: Estimate,
    /// Bytes of memory free on this machine, if the system says.
    pub available: Option<u64>,
}

/// Trains adapters on one question set and keeps them in the project.
pub struct Tuner<'a> {
    /// Gives the settings, and the folders for checkpoints and adapters.
    pub project: &'a Project,
    /// Brings passages, and keeps which adapter has learnt from which document.
    pub knowledge: &'a mut Knowledge,
    /// The base model.
    pub model: &'a Model,
    /// Examples come from its training questions, those that are watched from its dev questions.
    pub set: &'a QuestionSet,
}

impl Tuner<'_> {
    /// Renders the examples of a recipe.
    ///
    /// # Errors
    /// [`Error::Problems`] naming every example that is too long or leaves no trainable token, and
    /// evidence that is not in the documents; [`Error::NoDocuments`] when the recipe needs
    /// passages; [`Error::Interrupted`].
    pub fn lessons(&self, recipe: Recipe, pairs: Pairs, stop: &AtomicBool) -> Result<Lessons> {
        LessonSource {
            pairs,
            knowledge: self.knowledge,
            model: self.model,
            training: &self.project.config.training,
            set: self.set,
            recipe,
        }
        .lessons(stop)
    }

    /// Trains an adapter and saves it, unless the same one is there already; `None` after a dry
    /// run.
    ///
    /// # Errors
    /// Those of [`Tuner::lessons`]; too little memory; [`Error::TrainingInterrupted`], which
    /// [`Resume`] goes on from.
    pub fn tune(
        &mut self,
        request: &TuneRequest,
        progress: &mut Progress<'_, TuneEvent>,
    ) -> Result<Option<Manifest>> {
        let lessons = self.lessons(request.recipe, request.pairs, progress.stop())?;
        if let Some(manifest) = self.trained_before(request, &lessons)? {
            progress.report(TuneEvent::Reused(Box::new(manifest.clone())));
            return Ok(Some(manifest));
        }
        let checkpoint = self.checkpoint_folder(request);
        let usual = train_options(&self.project.config.training, request.seed);
        let options = TrainOptions {
            stop: progress.stop(),
            checkpoint: Some(Checkpointing {
                folder: checkpoint.clone(),
                every: None,
                resume: request.resume != Resume::No,
            }),
            ..usual.clone()
        };
        let run = TrainingRun {
            decoder: &self.model.decoder,
            identity: self.model.identity()?,
            train: &lessons.train,
            dev: &lessons.dev,
            options: &options,
        };
        progress.report(TuneEvent::Planned(Box::new(plan(&run, usual)?)));
        if request.dry_run {
            return Ok(None);
        }
        let trained = train(&run, request.resume, &checkpoint, progress)?;
        if trained.interrupted {
            return Err(Error::TrainingInterrupted {
                set: self.set.config.name.clone(),
                recipe: request.recipe.as_str(),
            });
        }
        let manifest = self.save(request, &lessons, trained)?;
        if checkpoint.exists() {
            fs::remove_dir_all(&checkpoint).context("remove", &checkpoint)?;
        }
        progress.report(TuneEvent::Saved(Box::new(manifest.clone())));
        Ok(Some(manifest))
    }

    /// The adapter that this request would make once more: it is there, has learnt the same
    /// examples with the same options, and belongs to this model. `None` for all others, and when
    /// the request is to train again.
    fn trained_before(&self, request: &TuneRequest, lessons: &Lessons) -> Result<Option<Manifest>> {
        let Some(manifest) = Manifest::read(&self.adapter_folder(request))? else {
            return Ok(None);
        };
        let is_same = !request.again
            && manifest.data == lessons.hash
            && manifest.options == describe(&self.project.config.training, request.seed)
            && manifest.prompts == self.prompts()
            && manifest.base == self.model.identity()?;
        Ok(is_same.then_some(manifest))
    }

    /// Writes the adapter and its manifest, and tells the store which documents it has learnt from.
    fn save(
        &mut self,
        request: &TuneRequest,
        lessons: &Lessons,
        trained: Trained,
    ) -> Result<Manifest> {
        let folder = self.adapter_folder(request);
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).context("create the folder", parent)?;
        }
        let base_name = &self.project.config.generator;
        let adapter = Adapter {
            lora: trained.lora,
            base_name: base_name.clone(),
            base_identity: Some(self.model.identity()?.to_owned()),
        };
        adapter.save(&folder)?;
        // An adapter without effect would be served as the base model, unnoticed: read back what
        // was written and compare the logits.
        Adapter::load(&folder, self.model.decoder.config())?.prove_active(&self.model.decoder)?;
        let manifest = Manifest {
            set: self.set.config.name.clone(),
            recipe: request.recipe,
            folder: request.pairs.folder(request.recipe),
            seed: request.seed,
            base: self.model.identity()?.to_owned(),
            base_name: base_name.clone(),
            prompts: self.prompts(),
            data: lessons.hash.clone(),
            options: describe(&self.project.config.training, request.seed),
            weights: hash_file(&adapters::weights(&folder))?,
            examples: lessons.train.len(),
            best_step: trained.best_step,
            dev_loss: trained.dev_loss,
            seconds: trained.seconds,
            tokens: trained.tokens,
            history: trained.history,
        };
        manifest.write(&folder)?;
        let json = serde_json::to_string(&manifest)
            .map_err(|source| Error::Record { what: manifest.name(), source })?;
        self.knowledge.store.put_adapter(&manifest.name(), &json, &lessons.documents)?;
        Ok(manifest)
    }

    fn prompts(&self) -> PromptForm {
        PromptForm::of(&self.set.config, &self.set.labels, &self.model.template)
    }

    fn adapter_folder(&self, request: &TuneRequest) -> PathBuf {
        let set = &self.set.config.name;
        self.project.adapter_folder(set, &request.pairs.folder(request.recipe), request.seed)
    }

    fn checkpoint_folder(&self, request: &TuneRequest) -> PathBuf {
        self.project
            .root
            .join(STATE)
            .join("checkpoints")
            .join(&self.set.config.name)
            .join(request.pairs.folder(request.recipe))
            .join(format!("seed-{}", request.seed))
    }
}

/// Counts steps, tokens and bytes, refuses what does not fit into memory, and times one step.
fn plan(run: &TrainingRun<'_>, options: TrainOptions<'static>) -> Result<TrainingPlan> {
    let mut estimate = run.estimate()?;
    let available = lm::available_memory();
    estimate.check_memory(available)?;
    estimate.calibrate(run)?;
    Ok(TrainingPlan { train: run.train.len(), dev: run.dev.len(), options, estimate, available })
}

/// Trains, from the checkpoint where there is one. A checkpoint of another run is thrown away if
/// `resume` allows that.
fn train(
    run: &TrainingRun<'_>,
    resume: Resume,
    checkpoint: &Path,
    progress: &mut Progress<'_, TuneEvent>,
) -> Result<Trained> {
    let mut on_event = |event| progress.report(TuneEvent::Training(event));
    match run.train(&mut on_event) {
        // Raised before the first step.
        Err(lm::Error::Checkpoint { .. }) if resume == Resume::IfSame => {
            fs::remove_dir_all(checkpoint).context("remove", checkpoint)?;
            Ok(run.train(&mut on_event)?)
        }
        trained => Ok(trained?),
    }
}
