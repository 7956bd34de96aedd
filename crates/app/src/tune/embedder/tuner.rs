//! The whole run: negatives, epochs, the verdict, and the folder that is kept.

use std::fs;
use std::path::Path;

use lm::{EmbedderOptions, EmbedderTraining, Encoder, TrainingQuestion};

use super::epochs::{EpochLoop, replace, resumable};
use super::event::EmbedderEvent;
use super::lessons::{EmbedderLessons, JudgedQuestion, LISTED};
use super::mining::with_negatives;
use super::options::{EmbedderTuneOptions, describe};
use super::rankings::DevRankings;
use super::report::{EmbedderMeasures, TunedEmbedder, Verdict};
use super::vectors::PassageVectors;
use crate::error::{Error, IoContext, Result};
use crate::progress::Progress;

/// Passages that negatives are taken from and that the verdict ranks, at most.
const POOL: usize = 20_000;

/// Passages that are ranked after every epoch, at most. What the untuned embedder and BM25 find for
/// the dev questions is among them, so that epochs can be told apart. Verdicts never rest on this
/// sample.
const SAMPLE: usize = 2000;

/// The file beside the weights that says how they came about.
const REPORT: &str = "tuning.json";

/// Tunes one embedder.
#[derive(Clone, Copy, Debug)]
pub struct EmbedderTuner<'a> {
    /// Passages and questions.
    pub lessons: &'a EmbedderLessons,
    /// The folder of the untuned embedder.
    pub base: &'a Path,
    /// Gets the tuned one as `NAME-IDENTITY`, with the first letters of its identity, so that no
    /// embedder in use is overwritten; until then the run keeps its state in `NAME.partial`.
    pub folder: &'a Path,
    /// The question set or collection that it learns from.
    pub name: &'a str,
    /// How.
    pub options: &'a EmbedderTuneOptions,
}

/// What is known before training.
struct Baseline {
    /// Identity of the untuned embedder.
    identity: String,
    /// Its rankings of the whole pool.
    rankings: DevRankings,
    /// Places of the passages that are ranked after every epoch.
    sample: Vec<usize>,
    /// Measures of the untuned embedder over the sample.
    over_sample: EmbedderMeasures,
    /// Pairs of question and passage to learn from.
    pairs: usize,
}

impl EmbedderTuner<'_> {
    /// Tunes, and keeps the epoch that does best on dev.
    ///
    /// A run that is stopped leaves its state behind; with [`EmbedderTuneOptions::resume`] the next
    /// one goes on from it.
    ///
    /// # Errors
    /// Those of the encoder and of its training; [`Error::EmbedderInterrupted`], or
    /// [`Error::Interrupted`] as long as there is no state.
    pub fn tune(&self, progress: &mut Progress<'_, EmbedderEvent>) -> Result<TunedEmbedder> {
        let pool = self.lessons.pool(POOL);
        let (baseline, questions) = self.baseline(&pool, progress)?;
        let negatives = questions.iter().map(|question| question.negatives.len()).sum();
        let passages = &self.lessons.passages;
        let mut training =
            EmbedderTraining::new(self.base, questions, passages, self.training_options())?;
        progress.report(EmbedderEvent::Planned {
            train: self.lessons.train.len(),
            left_out: self.lessons.left_out,
            dev: self.lessons.dev.len(),
            negatives,
            estimate: training.estimate(),
            before: baseline.over_sample,
        });
        let partial = self.folder.join(format!("{}.partial", self.name));
        fs::create_dir_all(&partial).context("create the folder", &partial)?;
        let sample = baseline.sample.clone();
        let mut epochs = EpochLoop::new(self.lessons, self.options, sample, partial.clone());
        epochs.run(&mut training, progress)?;
        let report = self.judge(&baseline, &epochs, &pool, progress)?;
        keep(&epochs.best_model(), &report)?;
        fs::remove_dir_all(&partial).context("remove", &partial)?;
        Ok(report)
    }

    /// Ranks by the untuned embedder. Also returns the training questions with their negatives.
    fn baseline(
        &self,
        pool: &[usize],
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<(Baseline, Vec<TrainingQuestion>)> {
        let lessons = self.lessons;
        let encoder = Encoder::open_with(self.base, self.options.precision)?;
        let passages = match PassageVectors::stored(lessons, pool) {
            Some(passages) => passages,
            None => PassageVectors::embed(&encoder, lessons, pool, progress)?,
        };
        let rankings = DevRankings::new(&encoder, lessons, &passages)?;
        let questions = with_negatives(&encoder, lessons, &passages)?;
        let by_words = lessons.dev.iter().flat_map(JudgedQuestion::candidates);
        let sample = lessons.sample(pool.to_vec(), by_words.chain(rankings.found(LISTED)), SAMPLE);
        let over_sample = DevRankings::new(&encoder, lessons, &passages.part(&sample))?.measured();
        let pairs = questions.iter().map(|question| question.positives.len()).sum();
        let identity = encoder.identity().to_owned();
        Ok((Baseline { identity, rankings, sample, over_sample, pairs }, questions))
    }

    /// The options of training, with no more activations kept than memory allows.
    fn training_options(&self) -> EmbedderOptions {
        let mut options = self.options.training.clone();
        if let Some(available) = lm::available_memory() {
            // What is not kept is computed again, with the same result.
            options.kept_bytes = options.kept_bytes.min(available as usize / 4);
        }
        options
    }

    /// Compares the best epoch with the untuned embedder, over the whole pool.
    fn judge(
        &self,
        baseline: &Baseline,
        epochs: &EpochLoop<'_>,
        pool: &[usize],
        progress: &mut Progress<'_, EmbedderEvent>,
    ) -> Result<TunedEmbedder> {
        let lessons = self.lessons;
        let Some(best) = epochs.best_epoch() else {
            return Err(Error::EmbedderInterrupted);
        };
        let encoder = Encoder::open_with(&epochs.best_model(), self.options.precision)?;
        let passages =
            PassageVectors::embed(&encoder, lessons, pool, progress).map_err(resumable)?;
        let tuned = DevRankings::new(&encoder, lessons, &passages)?;
        let (difference_vectors, difference_fused) =
            tuned.differences(&baseline.rankings, &lessons.dev);
        let identity = encoder.identity().to_owned();
        let short = identity.get(..8).unwrap_or(&identity);
        Ok(TunedEmbedder {
            folder: self.folder.join(format!("{}-{short}", self.name)),
            base: baseline.identity.clone(),
            identity,
            train: lessons.train.len(),
            pairs: baseline.pairs,
            left_out: lessons.left_out,
            dev: lessons.dev.len(),
            passages: pool.len(),
            lexical_weight: lessons.lexical_weight,
            before: baseline.rankings.measured(),
            after: tuned.measured(),
            difference_vectors,
            difference_fused,
            verdict: Verdict::of(&difference_fused),
            best_epoch: best.epoch,
            options: describe(&self.options.training),
            epochs: epochs.epochs.clone(),
            seconds: epochs.seconds,
        })
    }
}

/// Writes the report beside the weights and gives the folder its name.
fn keep(folder: &Path, report: &TunedEmbedder) -> Result<()> {
    let path = folder.join(REPORT);
    let json = serde_json::to_string_pretty(report)
        .map_err(|source| Error::Record { what: path.display().to_string(), source })?;
    fs::write(&path, json).context("write", &path)?;
    replace(folder, &report.folder)
}
