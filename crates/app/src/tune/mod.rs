//! Examples -> splits -> (ids, mask) -> checkpoint -> adapter.

pub mod adapters;
pub mod embedder;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use lm::{
    Adapter, Checkpointing, Estimate, LoraConfig, Message, Model, Rendered, Role, TrainEvent,
    TrainOptions, Trained, TrainingRun,
};
use sha2::{Digest, Sha256};

use crate::error::{Error, IoContext, Problem, Result};
use crate::models::hash_file;
use crate::project::config::{SetConfig, Training};
use crate::project::{Project, STATE};
use crate::prompt::{Passage, Prompt};
use crate::questions::{Question, QuestionSet};
use crate::search::grounding::{Grounded, ground};
use crate::search::knowledge::{Knowledge, Wanted};
use crate::tune::adapters::{Manifest, Recipe, hash_examples};

/// Dev examples whose loss is watched, at most: enough to see it turn, few enough to cost little
/// beside training.
const DEV_EXAMPLES: usize = 64;

/// Hits looked at to find distractors.
const HITS: usize = 12;

/// What to train.
#[derive(Clone, Copy, Debug)]
pub struct TuneRequest<'a> {
    /// The set.
    pub set: &'a QuestionSet,
    /// The recipe.
    pub recipe: Recipe,
    /// Seed of weights and order.
    pub seed: u64,
    /// What to do with the checkpoint of an interrupted run.
    pub resume: Resume,
    /// Train even when the same adapter is there.
    pub again: bool,
    /// Only estimate.
    pub dry_run: bool,
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

/// Rendered examples of a recipe.
pub struct Lessons {
    /// To learn from.
    pub train: Vec<Rendered>,
    /// To watch.
    pub dev: Vec<Rendered>,
    /// Documents whose text stands in the prompts.
    pub documents: Vec<String>,
    /// Hash of everything rendered.
    pub hash: String,
}

/// What happens during [`tune`].
#[derive(Debug)]
pub enum TuneEvent {
    /// An adapter trained with the same examples, options and model is there: nothing is to be
    /// done.
    Reused(Box<Manifest>),
    /// What the run will take; seconds are measured on one step.
    Estimated {
        /// Examples to learn from.
        train: usize,
        /// Examples to watch.
        dev: usize,
        /// The options.
        options: Box<TrainOptions<'static>>,
        /// Steps, tokens, memory, seconds.
        estimate: Box<Estimate>,
        /// Memory free on this machine, in bytes, if the system says.
        available: Option<u64>,
    },
    /// Training goes on.
    Training(TrainEvent),
    /// The adapter is saved.
    Saved(Box<Manifest>),
}

/// Renders the examples of a recipe.
///
/// # Errors
/// [`Error::Problems`] naming every example that is too long or leaves no trainable token, and
/// evidence that is not in the documents; [`Error::NoDocuments`] when the recipe needs passages.
pub fn lessons(
    project: &Project,
    knowledge: &Knowledge,
    model: &Model,
    set: &QuestionSet,
    recipe: Recipe,
    stop: &AtomicBool,
) -> Result<Lessons> {
    let training = &project.config.training;
    let limit = training.max_examples.unwrap_or(usize::MAX);
    let train = &set.train[..set.train.len().min(limit)];
    let dev = &set.dev[..set.dev.len().min(DEV_EXAMPLES)];
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    let mut rendered = Vec::with_capacity(2);
    for part in [train, dev] {
        let passages = match recipe {
            Recipe::Plain => vec![Vec::new(); part.len()],
            Recipe::Raft => {
                raft_passages(project, knowledge, &set.config, part, &mut documents, stop)?
            }
        };
        // What is learnt from an answer stands in the documents that it was drawn from, whether or
        // not the prompt shows them.
        let evidence = part.iter().flat_map(|question| &question.evidence);
        documents.extend(evidence.map(|evidence| evidence.document.clone()));
        rendered.push(render(model, training, part, passages, recipe, &mut problems)?);
    }
    if !problems.is_empty() {
        return Err(Error::Problems(problems));
    }
    let dev = rendered.pop().unwrap_or_default();
    let train = rendered.pop().unwrap_or_default();
    documents.sort();
    documents.dedup();
    let hash = hash_examples(&train, &dev);
    Ok(Lessons { train, dev, documents, hash })
}

/// The passages in the prompt of every question: as retrieval brings them, with the gold ones put
/// among them where it missed them, and taken out in the configured share of the prompts (RAFT,
/// Zhang et al. 2024).
fn raft_passages(
    project: &Project,
    knowledge: &Knowledge,
    set: &SetConfig,
    questions: &[Question],
    documents: &mut Vec<String>,
    stop: &AtomicBool,
) -> Result<Vec<Vec<Passage>>> {
    if !knowledge.store.has_documents()? {
        return Err(Error::NoDocuments);
    }
    let k = knowledge.passages(Some(set))?;
    let wanted = Wanted { hits: HITS.max(2 * k), ..knowledge.wanted(Some(set))? };
    let grounded = ground(knowledge, questions, &wanted, stop)?;
    let mut all = Vec::with_capacity(questions.len());
    for (question, grounded) in questions.iter().zip(&grounded) {
        documents.extend(grounded.gold.iter().map(|gold| gold.path.clone()));
        documents.extend(grounded.retrieved.hits.iter().take(k).map(|hit| hit.path.clone()));
        all.push(raft_prompt(
            &set.name,
            question,
            grounded,
            k,
            project.config.training.gold_missing,
        ));
    }
    Ok(all)
}

fn raft_prompt(
    set: &str,
    question: &Question,
    grounded: &Grounded,
    k: usize,
    gold_missing: f64,
) -> Vec<Passage> {
    let draw = |what: &str| unit(&[set, &question.id, what]);
    let distractors = || grounded.distractors().map(Passage::from);
    if grounded.gold.is_empty() {
        return grounded.passages(k);
    }
    if draw("missing") < gold_missing {
        return distractors().take(k).collect();
    }
    if grounded.evidence_retrieved(k) == Some(true) {
        return grounded.passages(k);
    }
    // Put the evidence in, in place of the last hits, at a place of its own.
    let gold: Vec<Passage> = grounded
        .gold
        .iter()
        .filter(|gold| gold.sufficient)
        .map(|gold| gold.passage.clone())
        .take(k)
        .collect();
    let mut passages: Vec<Passage> = distractors().take(k - gold.len()).collect();
    for (index, passage) in gold.into_iter().enumerate() {
        let place = (draw(&format!("place {index}")) * (passages.len() + 1) as f64) as usize;
        passages.insert(place.min(passages.len()), passage);
    }
    passages
}

/// A number in [0, 1) that is the same for the same words.
pub(crate) fn unit(words: &[&str]) -> f64 {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update((word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    let digest = hasher.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
}

fn render(
    model: &Model,
    training: &Training,
    questions: &[Question],
    passages: Vec<Vec<Passage>>,
    recipe: Recipe,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Rendered>> {
    let longest = training.max_length.min(model.decoder.config().max_positions);
    let mut examples = Vec::with_capacity(questions.len());
    for (question, passages) in questions.iter().zip(passages) {
        let answer = Message::new(Role::Assistant, &question.completion);
        // The answer and its end token must fit behind the prompt.
        let room = model.tokenizer.encode_plain(&question.completion)?.len() + 2;
        let prompt = Prompt {
            instruction: &question.instruction,
            question: &question.text,
            passages,
            shots: Vec::new(),
            history: &[],
        };
        let mut messages = prompt.fit(
            recipe.arm(),
            &model.template,
            &model.tokenizer,
            longest.saturating_sub(room),
        )?;
        messages.push(answer);
        match model.template.example_ids(&model.tokenizer, &messages) {
            Ok(example) if example.ids.len() > longest => {
                let message =
                    format!("expected at most {longest} tokens, found {}", example.ids.len());
                problems.push(question.place.problem("question", message));
            }
            Ok(example) => examples.push(example),
            Err(lm::Error::NoTrainableToken { reason, .. }) => {
                problems.push(question.place.problem(
                    "completion",
                    format!("expected a trainable token, found none: {reason}"),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(examples)
}

/// Trains an adapter and saves it, unless the same one is there already; `None` after a dry run.
///
/// # Errors
/// Those of [`lessons`]; too little memory; [`Error::TrainingInterrupted`], which `resume` goes on
/// from.
pub fn tune(
    project: &Project,
    knowledge: &mut Knowledge,
    model: &Model,
    request: &TuneRequest,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(TuneEvent),
) -> Result<Option<Manifest>> {
    let TuneRequest { set, recipe, seed, resume, again, dry_run } = *request;
    let name = set.config.name.as_str();
    let lessons = lessons(project, knowledge, model, set, recipe, stop)?;
    let checkpoint = checkpoint_folder(project, name, recipe, seed);
    let options = TrainOptions {
        seed,
        stop,
        checkpoint: Some(Checkpointing {
            folder: checkpoint.clone(),
            every: None,
            resume: resume != Resume::No,
        }),
        ..options(&project.config.training)
    };
    let described = describe(&project.config.training, seed);
    let folder = project.adapter_folder(name, recipe.as_str(), seed);
    if let Some(manifest) = Manifest::read(&folder)?
        && !again
        && (&manifest.data, &manifest.options) == (&lessons.hash, &described)
        && manifest.base == model.identity()?
    {
        on_event(TuneEvent::Reused(Box::new(manifest.clone())));
        return Ok(Some(manifest));
    }
    let run = TrainingRun {
        decoder: &model.decoder,
        identity: model.identity()?,
        train: &lessons.train,
        dev: &lessons.dev,
        options: &options,
    };
    let mut estimate = run.estimate()?;
    let available = lm::available_memory();
    estimate.check_memory(available)?;
    estimate.calibrate(&run)?;
    let (train, dev) = (lessons.train.len(), lessons.dev.len());
    on_event(TuneEvent::Estimated {
        train,
        dev,
        options: Box::new(TrainOptions { seed, ..self::options(&project.config.training) }),
        estimate: Box::new(estimate),
        available,
    });
    if dry_run {
        return Ok(None);
    }
    let mut on_training = |event| on_event(TuneEvent::Training(event));
    let trained = match run.train(&mut on_training) {
        // Raised before the first step.
        Err(lm::Error::Checkpoint { .. }) if resume == Resume::IfSame => {
            fs::remove_dir_all(&checkpoint).context("remove", &checkpoint)?;
            run.train(&mut on_training)?
        }
        trained => trained?,
    };
    if trained.interrupted {
        return Err(Error::TrainingInterrupted { set: name.to_owned(), recipe: recipe.as_str() });
    }
    let manifest = save(project, knowledge, model, request, lessons, described, trained)?;
    if checkpoint.exists() {
        fs::remove_dir_all(&checkpoint).context("remove", &checkpoint)?;
    }
    on_event(TuneEvent::Saved(Box::new(manifest.clone())));
    Ok(Some(manifest))
}

fn save(
    project: &Project,
    knowledge: &mut Knowledge,
    model: &Model,
    request: &TuneRequest,
    lessons: Lessons,
    options: String,
    trained: Trained,
) -> Result<Manifest> {
    let TuneRequest { set, recipe, seed, .. } = *request;
    let name = &set.config.name;
    let folder = project.adapter_folder(name, recipe.as_str(), seed);
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).context("create the folder", parent)?;
    }
    let adapter = Adapter {
        lora: trained.lora,
        base_name: project.config.generator.clone(),
        base_identity: Some(model.identity()?.to_owned()),
    };
    adapter.save(&folder)?;
    // What is served must not be the base: read back what was written and compare the logits.
    Adapter::load(&folder, model.decoder.config())?.prove_active(&model.decoder)?;
    let manifest = Manifest {
        set: name.clone(),
        recipe,
        seed,
        base: model.identity()?.to_owned(),
        base_name: project.config.generator.clone(),
        data: lessons.hash,
        options,
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
    knowledge.store.put_adapter(&manifest.name(), &json, &lessons.documents)?;
    Ok(manifest)
}

/// The options of a run, but for seed, checkpoint and stop flag.
pub fn options(training: &Training) -> TrainOptions<'static> {
    TrainOptions {
        epochs: training.epochs,
        max_steps: training.max_tokens.map(|tokens| tokens.div_ceil(training.batch_tokens)),
        learning_rate: training.learning_rate,
        batch_tokens: training.batch_tokens,
        max_length: training.max_length,
        patience: Some(training.patience),
        lora: LoraConfig {
            rank: training.rank,
            alpha: training.alpha as f32,
            ..LoraConfig::default()
        },
        ..TrainOptions::default()
    }
}

/// The options as a text that is equal exactly when they are.
fn describe(training: &Training, seed: u64) -> String {
    let TrainOptions {
        epochs,
        max_steps,
        learning_rate,
        b_rate_scale,
        warmup,
        decay,
        batch_tokens,
        pack_tokens,
        max_length,
        weight_decay,
        clip,
        patience,
        eval_every,
        lora,
        ..
    } = options(training);
    format!(
        "epochs {epochs}, max steps {max_steps:?}, rate {learning_rate}, B rate x {b_rate_scale}, warm-up {warmup}, \
         decay {decay:?}, batch {batch_tokens}, pack {pack_tokens}, longest {max_length}, weight decay {weight_decay}, \
         clip {clip}, patience {patience:?}, every {eval_every:?}, {lora:?}, seed {seed}"
    )
}

fn checkpoint_folder(project: &Project, set: &str, recipe: Recipe, seed: u64) -> PathBuf {
    project
        .root
        .join(STATE)
        .join("checkpoints")
        .join(set)
        .join(recipe.as_str())
        .join(format!("seed-{seed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_stable_and_uniform() {
        assert_eq!(unit(&["a", "b"]), unit(&["a", "b"]));
        assert_ne!(unit(&["a", "b"]), unit(&["ab", ""]));
        let mean = (0..1000).map(|index| unit(&["s", &index.to_string()])).sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }

    #[test]
    fn options_are_told_apart() {
        let usual = crate::Config::default().training;
        let other = Training { learning_rate: 1e-4, ..usual.clone() };
        assert_eq!(describe(&usual, 1), describe(&usual.clone(), 1));
        assert_ne!(describe(&usual, 1), describe(&other, 1));
        assert_ne!(describe(&usual, 1), describe(&usual, 2));
    }
}
