//! Trained adapters and their manifests: `.tunesmith/adapters/SET/RECIPE/seed-N/`, in PEFT layout
//! plus `manifest.json`.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use eval::Arm;
use lm::{Lora, Model};
use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext, Result};
use crate::models::{hash_bytes, hash_file};
use crate::project::{Project, STATE};
use crate::prompt::PromptForm;
use crate::tune::Pairs;

/// What the prompts of the training examples hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The question alone (arms `tuned` and `tuned+rag`).
    Plain,
    /// The question with the passages that retrieval brings, the gold one among them in most
    /// prompts (arms `raft` and `raft+oracle`).
    Raft,
}

impl Recipe {
    /// Its name on the command line and in folders.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Raft => "raft",
        }
    }

    /// The recipe an arm's adapter is trained with; `None` for arms on base weights.
    pub fn of(arm: Arm) -> Option<Self> {
        match (arm.needs_adapter(), arm.needs_raft_adapter()) {
            (false, _) => None,
            (true, false) => Some(Self::Plain),
            (true, true) => Some(Self::Raft),
        }
    }

    /// The arm whose prompts the training examples look like.
    pub fn arm(self) -> Arm {
        match self {
            Self::Plain => Arm::Tuned,
            Self::Raft => Arm::Raft,
        }
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "plain" => Ok(Self::Plain),
            "raft" => Ok(Self::Raft),
            _ => Err(Error::UnknownRecipe(name.to_owned())),
        }
    }
}

/// What an adapter was trained on, with, and to what effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The question set.
    pub set: String,
    /// The recipe.
    pub recipe: Recipe,
    /// The folder it stands in, beside those of the set's other adapters; empty for that of the
    /// recipe, as earlier versions wrote it.
    #[serde(default)]
    pub folder: String,
    /// The seed of weights and order.
    pub seed: u64,
    /// Identity of the base model.
    pub base: String,
    /// As the configuration names the base model.
    pub base_name: String,
    /// The form of the prompts. Versions that did not record it named no labels and let the
    /// template introduce the model, which is what the default says.
    #[serde(default)]
    pub prompts: PromptForm,
    /// Hash of the rendered training and dev examples: ids and masks, in order.
    pub data: String,
    /// The options as a text: two texts are equal exactly when the options are.
    pub options: String,
    /// SHA-256 of the adapter's weights.
    pub weights: String,
    /// Training examples.
    pub examples: usize,
    /// Steps after which the weights were taken.
    pub best_step: usize,
    /// Their dev loss.
    pub dev_loss: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
    /// Tokens run forward and backward.
    pub tokens: usize,
    /// The course of the run.
    pub history: lm::History,
}

const MANIFEST: &str = "manifest.json";

impl Manifest {
    /// The adapter's name in the store.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.set, self.folder(), self.seed)
    }

    /// The folder it stands in, beside those of the set's other adapters.
    pub(crate) fn folder(&self) -> &str {
        if self.folder.is_empty() { self.recipe.as_str() } else { &self.folder }
    }

    /// Makes sure that the adapter was trained with prompts of the form that is asked with.
    ///
    /// # Errors
    /// [`Error::OtherPrompts`].
    pub(crate) fn check_prompts(&self, asked: &PromptForm) -> Result<()> {
        if self.prompts == *asked {
            return Ok(());
        }
        let what = if self.prompts.labels == asked.labels {
            "another system prompt".to_owned()
        } else {
            let count = |form: &PromptForm| match form.labels.len() {
                0 => "none".to_owned(),
                count => count.to_string(),
            };
            format!("other labels named ({}, now {})", count(&self.prompts), count(asked))
        };
        let (set, recipe) = (self.set.clone(), self.recipe.as_str());
        Err(Error::OtherPrompts { adapter: self.name(), what, set, recipe })
    }

    /// Whether it was trained on shuffled answers.
    pub(crate) fn is_shuffled(&self) -> bool {
        self.folder() == Pairs::Shuffled.folder(self.recipe)
    }

    /// Reads the manifest in an adapter's folder; `None` when there is no finished adapter.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).context("read", &path)?;
        let record = |source| Error::Record { what: path.display().to_string(), source };
        serde_json::from_slice(&bytes).map(Some).map_err(record)
    }

    /// Writes the manifest. This comes last, so that a folder with a manifest holds a whole
    /// adapter.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST);
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::Record { what: path.display().to_string(), source })?;
        fs::write(&path, json).context("write", &path)
    }
}

/// The finished adapters of a set and recipe, in the order of their seeds.
///
/// # Errors
/// A folder or manifest that cannot be read.
pub fn list(project: &Project, set: &str, recipe: Recipe) -> Result<Vec<Manifest>> {
    let folder = project.root.join(STATE).join("adapters").join(set).join(recipe.as_str());
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for item in fs::read_dir(&folder).context("list", &folder)? {
        found.extend(Manifest::read(&item.context("list", &folder)?.path())?);
    }
    found.sort_by_key(|manifest: &Manifest| manifest.seed);
    Ok(found)
}

/// Loads an adapter for `model`.
///
/// # Errors
/// [`Error::OtherBase`] when it was trained on another model; [`Error::ChangedAdapter`] when its
/// weights are not those of its manifest.
pub fn load(folder: &Path, model: &Model) -> Result<Lora> {
    let adapter = lm::Adapter::load(folder, model.decoder.config())?;
    if let Some(manifest) = Manifest::read(folder)? {
        if manifest.base != model.identity()? {
            return Err(Error::OtherBase { adapter: manifest.name(), base: manifest.base_name });
        }
        let path = weights(folder);
        let found = hash_file(&path)?;
        if found != manifest.weights {
            return Err(Error::ChangedAdapter { adapter: manifest.name(), path });
        }
    }
    Ok(adapter.lora)
}

/// The file of an adapter's weights.
pub(crate) fn weights(folder: &Path) -> std::path::PathBuf {
    folder.join("adapter_model.safetensors")
}

/// A hash of rendered examples: ids and masks, in order.
pub(crate) fn hash_examples(train: &[lm::Rendered], dev: &[lm::Rendered]) -> String {
    let mut bytes = Vec::new();
    for part in [train, dev] {
        bytes.extend((part.len() as u64).to_le_bytes());
        for example in part {
            bytes.extend((example.ids.len() as u64).to_le_bytes());
            bytes.extend(example.ids.iter().flat_map(|id| id.to_le_bytes()));
            bytes.extend(&example.mask);
        }
    }
    hash_bytes(&bytes)
}
