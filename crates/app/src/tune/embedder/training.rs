//! The run: negatives, epochs, measures after each, and what is kept of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use lm::{EmbedderOptions, EmbedderStep, EmbedderTraining, Encoder};

use super::lessons::LISTED;
use super::measure::{Rankings, Table};
use super::mining::with_negatives;
use super::{Asked, Epoch, Lessons, TuneEvent, TuneOptions, Tuned, Verdict};
use crate::error::{Error, IoContext, Result};

/// Passages that are mined, and ranked for the verdict, at most.
const POOL: usize = 20_000;

/// Passages that are ranked after every epoch, at most: what the untuned embedder and words find
/// for a dev question is among them, so that epochs can be told apart. Verdicts are never drawn
/// from it.
const SAMPLE: usize = 2000;

/// The file beside the weights that says how they came about.
const REPORT: &str = "tuning.json";

/// Tunes the encoder in the folder `base` and keeps the epoch that does best on dev in
/// `folders/NAME-IDENTITY`, where the identity's first letters make sure that no embedder in use is
/// overwritten.
///
/// A run that is stopped leaves its state in `folders/NAME.partial`; with [`TuneOptions::resume`]
/// the next one goes on from it.
///
/// # Errors
/// Those of the encoder and of its training; [`Error::EmbedderInterrupted`], and
/// [`Error::Interrupted`] before there is a state.
pub fn tune(
    lessons: &Lessons,
    base: &Path,
    (folders, name): (&Path, &str),
    options: &TuneOptions,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(TuneEvent),
) -> Result<Tuned> {
    let pool = lessons.pool(POOL);
    let encoder = Encoder::open_with(base, options.precision)?;
    let mut work = Work { lessons, options, stop, sample: Vec::new() };
    let table = match Table::stored(lessons, &pool) {
        Some(table) => table,
        None => work.table(&encoder, &pool, on_event)?,
    };
    let untuned = Rankings::new(&encoder, lessons, &table)?;
    let questions = with_negatives(&encoder, lessons, &table)?;
    let wanted = lessons.dev.iter().flat_map(Asked::candidates).chain(untuned.found(LISTED));
    work.sample = lessons.sample(pool.clone(), wanted, SAMPLE);
    let before = Rankings::new(&encoder, lessons, &table.part(&work.sample))?.measured();
    drop(table);

    let pairs = questions.iter().map(|question| question.positives.len()).sum();
    let negatives = questions.iter().map(|question| question.negatives.len()).sum();
    let mut learning = options.training.clone();
    if let Some(available) = lm::available_memory() {
        // What is not kept is computed again, with the same result.
        learning.kept_bytes = learning.kept_bytes.min(available as usize / 4);
    }
    let mut training = EmbedderTraining::new(base, questions, &lessons.passages, learning)?;
    let estimate = training.estimate();
    on_event(TuneEvent::Planned {
        train: lessons.train.len(),
        left_out: lessons.left_out,
        dev: lessons.dev.len(),
        negatives,
        estimate: &estimate,
        before: &before,
    });
    let partial = folders.join(format!("{name}.partial"));
    fs::create_dir_all(&partial).context("create the folder", &partial)?;
    let (epochs, seconds) = work.epochs(&mut training, &partial, on_event)?;
    let Some(best) = epochs.iter().rfind(|epoch| epoch.best) else {
        return Err(Error::EmbedderInterrupted);
    };

    let kept = partial.join(BEST);
    let tuned = Encoder::open_with(&kept, options.precision)?;
    let table = work.table(&tuned, &pool, on_event).map_err(resumable)?;
    let rankings = Rankings::new(&tuned, lessons, &table)?;
    let (difference_vectors, difference_fused) = rankings.differences(&untuned, &lessons.dev);
    let identity = tuned.identity().to_owned();
    let report = Tuned {
        folder: folders.join(format!("{name}-{}", identity.get(..8).unwrap_or(&identity))),
        base: encoder.identity().to_owned(),
        identity,
        train: lessons.train.len(),
        pairs,
        left_out: lessons.left_out,
        dev: lessons.dev.len(),
        passages: pool.len(),
        lexical_weight: lessons.lexical_weight,
        before: untuned.measured(),
        after: rankings.measured(),
        difference_vectors,
        difference_fused,
        verdict: Verdict::of(&difference_fused),
        best_epoch: best.epoch,
        options: describe(&options.training),
        epochs,
        seconds,
    };
    keep(&kept, &report)?;
    fs::remove_dir_all(&partial).context("remove", &partial)?;
    Ok(report)
}

/// Below the folder of a run in progress: the best epoch, the one to be measured, and what a run is
/// resumed from.
const BEST: &str = "best";
const CANDIDATE: &str = "candidate";
const STATE: &str = "state.safetensors";

struct Work<'a> {
    lessons: &'a Lessons,
    options: &'a TuneOptions,
    stop: &'a AtomicBool,
    /// Passages that are ranked after every epoch.
    sample: Vec<usize>,
}

impl Work<'_> {
    fn table(
        &self,
        encoder: &Encoder,
        pool: &[usize],
        on_event: &mut dyn FnMut(TuneEvent),
    ) -> Result<Table> {
        let passages = pool.len();
        Table::new(encoder, self.lessons, pool, self.stop, &mut |done| {
            on_event(TuneEvent::Embedding { done, passages });
        })
    }

    /// Trains epoch by epoch, keeping the best in `partial`; returns all epochs and the seconds of
    /// training.
    fn epochs(
        &self,
        training: &mut EmbedderTraining,
        partial: &Path,
        on_event: &mut dyn FnMut(TuneEvent),
    ) -> Result<(Vec<Epoch>, f64)> {
        let state = partial.join(STATE);
        let mut epochs: Vec<Epoch> = Vec::new();
        if self.options.resume
            && let Some(note) = training.resume(&state)?
        {
            epochs = serde_json::from_str(&note)
                .map_err(|source| Error::Record { what: format!("{}", state.display()), source })?;
            on_event(TuneEvent::Resumed { step: training.step() });
        }
        let mut pace = Pace::default();
        while !self.exhausted(&epochs) {
            // A resumed run may stand at the end of an epoch that is not measured yet.
            let measured = epochs.len() == training.epochs_made();
            if measured && training.is_over() {
                break;
            }
            if measured {
                let (mut sum, mut steps) = (0.0, 0);
                let start = Instant::now();
                let whole = training.finish_epoch(self.stop, &mut |step: EmbedderStep| {
                    (sum, steps) = (sum + step.loss, steps + 1);
                    pace.tokens += step.tokens;
                    let seconds = pace.seconds + start.elapsed().as_secs_f64();
                    let tokens_per_second = pace.tokens as f64 / seconds;
                    on_event(TuneEvent::Step { step: &step, tokens_per_second });
                })?;
                pace.seconds += start.elapsed().as_secs_f64();
                pace.loss = (steps > 0).then(|| sum / f64::from(steps));
                if !whole {
                    self.save(training, &state, &epochs)?;
                    return Err(Error::EmbedderInterrupted);
                }
            }
            match self.measure(training, partial, &epochs, pace.loss.take(), on_event) {
                Ok(epoch) => {
                    on_event(TuneEvent::Epoch(&epoch));
                    epochs.push(epoch);
                    self.save(training, &state, &epochs)?;
                }
                Err(error) => {
                    self.save(training, &state, &epochs)?;
                    return Err(resumable(error));
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::EmbedderInterrupted);
            }
        }
        Ok((epochs, pace.seconds))
    }

    /// Whether the best epoch lies further back than the patience allows.
    fn exhausted(&self, epochs: &[Epoch]) -> bool {
        epochs.iter().rev().take_while(|epoch| !epoch.best).count() >= self.options.patience.max(1)
    }

    /// Measures the model as it is now, from the folder it would be served from, and keeps it if it
    /// is the best so far.
    fn measure(
        &self,
        training: &EmbedderTraining,
        partial: &Path,
        earlier: &[Epoch],
        loss: Option<f64>,
        on_event: &mut dyn FnMut(TuneEvent),
    ) -> Result<Epoch> {
        let (candidate, best) = (partial.join(CANDIDATE), partial.join(BEST));
        training.save(&candidate)?;
        let encoder = Encoder::open_with(&candidate, self.options.precision)?;
        let table = self.table(&encoder, &self.sample, on_event)?;
        let rankings = Rankings::new(&encoder, self.lessons, &table)?;
        let measured = rankings.measured();
        let score = |epoch: &Epoch| (epoch.vectors + epoch.fused) / 2.0;
        let is_best = earlier.iter().all(|epoch| measured.score() > score(epoch));
        if is_best {
            replace(&candidate, &best)?;
        }
        Ok(Epoch {
            epoch: training.epochs_made(),
            loss,
            vectors: measured.vectors.ndcg_at_10,
            fused: measured.fused.ndcg_at_10,
            best: is_best,
        })
    }

    fn save(&self, training: &EmbedderTraining, state: &Path, epochs: &[Epoch]) -> Result<()> {
        let note = serde_json::to_string(epochs)
            .map_err(|source| Error::Record { what: format!("{}", state.display()), source })?;
        Ok(training.save_state(state, &note)?)
    }
}

/// An interruption after which there is a state to go on from.
fn resumable(error: Error) -> Error {
    if matches!(error, Error::Interrupted) { Error::EmbedderInterrupted } else { error }
}

/// How fast it goes.
#[derive(Default)]
struct Pace {
    tokens: usize,
    seconds: f64,
    /// Mean loss of the epoch that is not measured yet.
    loss: Option<f64>,
}

/// Writes the report beside the weights and gives the folder its name.
fn keep(folder: &Path, report: &Tuned) -> Result<()> {
    let path: PathBuf = folder.join(REPORT);
    let json = serde_json::to_string_pretty(report)
        .map_err(|source| Error::Record { what: format!("{}", path.display()), source })?;
    fs::write(&path, json).context("write", &path)?;
    replace(folder, &report.folder)
}

/// Moves a folder to where another may stand.
fn replace(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).context("remove", to)?;
    }
    fs::rename(from, to).context("move", from)
}

/// The options as a line to read.
fn describe(options: &EmbedderOptions) -> String {
    let EmbedderOptions {
        epochs,
        batch,
        negatives,
        learning_rate,
        warmup,
        scale,
        symmetric,
        seed,
        ..
    } = options;
    format!(
        "epochs {epochs}, batch {batch}, negatives {negatives}, learning rate {learning_rate}, warm-up {warmup}, scale {scale}, \
         symmetric {symmetric}, seed {seed}"
    )
}
