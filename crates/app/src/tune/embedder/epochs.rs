//! The epochs of a run: each is trained, measured on dev, and kept if it is the best so far.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lm::{EmbedderTraining, Encoder};

use super::event::EmbedderEvent;
use super::lessons::EmbedderLessons;
use super::options::EmbedderTuneOptions;
use super::rankings::DevRankings;
use super::report::EmbedderEpoch;
use super::vectors::PassageVectors;
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;

/// In the folder of a run in progress: the model of the best epoch, the model that is being
/// measured, and the state from which an interrupted run goes on.
const BEST: &str = "best";
const CANDIDATE: &str = "candidate";
const STATE: &str = "state.safetensors";

/// A run in progress.
pub(super) struct EpochLoop<'a> {
    lessons: &'a EmbedderLessons,
    options: &'a EmbedderTuneOptions,
    /// Places of the passages that are ranked after every epoch.
    sample: Vec<usize>,
    /// Holds the models and the state of this run.
    folder: PathBuf,
    /// The epochs measured so far, those before an interruption included.
    pub(super) epochs: Vec<EmbedderEpoch>,
    /// Seconds of training, measuring left out.
    pub(super) seconds: f64,
    /// Tokens trained in these seconds.
    tokens: usize,
    /// Mean loss of the epoch that is not measured yet.
    loss: Option<f64>,
}

impl<'a> EpochLoop<'a> {
    /// A run that has not begun, measured over the passages of `sample`, in `folder`.
    pub(super) fn new(
        lessons: &'a EmbedderLessons,
        options: &'a EmbedderTuneOptions,
        sample: Vec<usize>,
        folder: PathBuf,
    ) -> Self {
        Self {
            lessons,
            options,
            sample,
            folder,
            epochs: Vec::new(),
            seconds: 0.0,
            tokens: 0,
            loss: None,
        }
    }

    /// The folder of the best model so far.
    pub(super) fn best_model(&self) -> PathBuf {
        self.folder.join(BEST)
    }

    /// The best epoch so far.
    pub(super) fn best_epoch(&self) -> Option<&EmbedderEpoch> {
        self.epochs.iter().rfind(|epoch| epoch.best)
    }

    /// Trains epoch by epoch until all epochs are over or the patience is spent. Begins at the
    /// saved state if there is one and the options say so.
    ///
    /// # Errors
    /// Those of training and measuring; [`Error::EmbedderInterrupted`] after the state was saved.
    pub(super) fn run(
        &mut self,
        training: &mut EmbedderTraining,
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<()> {
        if self.options.resume {
            self.resume(training, progress)?;
        }
        while !self.is_patience_spent() {
            // A resumed run may stand at the end of an epoch that is not measured yet.
            let is_measured = self.epochs.len() == training.epochs_made();
            if is_measured && training.is_over() {
                break;
            }
            if is_measured && !self.train_epoch(training, progress)? {
                self.save_state(training)?;
                return Err(Error::EmbedderInterrupted);
            }
            let measured = self.measure(training, progress);
            if let Ok(epoch) = &measured {
                progress.report(EmbedderEvent::Epoch(epoch.clone()));
                self.epochs.push(epoch.clone());
            }
            self.save_state(training)?;
            measured.map_err(resumable)?;
            progress.check().map_err(resumable)?;
        }
        Ok(())
    }

    /// Takes up the state of an interrupted run, if there is one.
    fn resume(
        &mut self,
        training: &mut EmbedderTraining,
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<()> {
        let state = self.folder.join(STATE);
        if let Some(epochs) = training.resume(&state)? {
            self.epochs = serde_json::from_str(&epochs)
                .map_err(|source| Error::Record { what: state.display().to_string(), source })?;
            progress.report(EmbedderEvent::Resumed { step: training.step() });
        }
        Ok(())
    }

    /// Trains to the end of the epoch; `false` when it was stopped before that.
    fn train_epoch(
        &mut self,
        training: &mut EmbedderTraining,
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<bool> {
        let (mut sum, mut steps) = (0.0, 0);
        let start = Instant::now();
        let is_whole = training.finish_epoch(progress.stop(), &mut |step| {
            (sum, steps) = (sum + step.loss, steps + 1);
            self.tokens += step.tokens;
            let seconds = self.seconds + start.elapsed().as_secs_f64();
            let tokens_per_second = self.tokens as f64 / seconds;
            progress.report(EmbedderEvent::Step { step, tokens_per_second });
        })?;
        self.seconds += start.elapsed().as_secs_f64();
        self.loss = (steps > 0).then(|| sum / f64::from(steps));
        Ok(is_whole)
    }

    /// Measures the model as it is now and keeps it if it is the best so far. It is loaded from
    /// files, as it would be when it serves.
    fn measure(
        &mut self,
        training: &EmbedderTraining,
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<EmbedderEpoch> {
        let loss = self.loss.take();
        let candidate = self.folder.join(CANDIDATE);
        training.save(&candidate)?;
        let encoder = Encoder::open_with(&candidate, self.options.precision)?;
        let passages = PassageVectors::embed(&encoder, self.lessons, &self.sample, progress)?;
        let measured = DevRankings::new(&encoder, self.lessons, &passages)?.measured();
        let score = |epoch: &EmbedderEpoch| (epoch.vectors + epoch.fused) / 2.0;
        let best = self.epochs.iter().all(|epoch| measured.score() > score(epoch));
        if best {
            replace(&candidate, &self.best_model())?;
        }
        Ok(EmbedderEpoch {
            epoch: training.epochs_made(),
            loss,
            vectors: measured.vectors.ndcg_at_10,
            fused: measured.fused.ndcg_at_10,
            best,
        })
    }

    /// Whether the best epoch lies further back than the patience allows.
    fn is_patience_spent(&self) -> bool {
        let since_best = self.epochs.iter().rev().take_while(|epoch| !epoch.best).count();
        since_best >= self.options.patience.max(1)
    }

    fn save_state(&self, training: &EmbedderTraining) -> Result<()> {
        let state = self.folder.join(STATE);
        let epochs = serde_json::to_string(&self.epochs)
            .map_err(|source| Error::Record { what: state.display().to_string(), source })?;
        Ok(training.save_state(&state, &epochs)?)
    }
}

/// Says of an interruption that the run can be resumed: its state was saved.
pub(super) fn resumable(error: Error) -> Error {
    if matches!(error, Error::Interrupted) { Error::EmbedderInterrupted } else { error }
}

/// Moves a folder to a place where another may stand, which is removed.
pub(super) fn replace(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).context("remove", to)?;
    }
    fs::rename(from, to).context("move", from)
}
