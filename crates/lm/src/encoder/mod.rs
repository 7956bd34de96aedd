//! Which vector does a text get, which score a pair of texts, and how is that learnt?
//!
//! In go texts; out come vectors of length 1 ([`Encoder`], as sentence-transformers makes them) or
//! scores of question and passage ([`Reranker`]). [`EmbedderTraining`] trains an encoder on
//! questions and the passages that answer them. `bert` is the pass of inference, `pass` that of
//! training, which keeps what its backward pass needs.

mod attention;
mod bert;
mod config;
mod contrast;
mod linear;
mod parameters;
mod pass;
mod reranker;
mod save;
mod texts;
mod training;

use std::path::Path;

use rayon::prelude::*;

use crate::files::{Shards, fingerprint, read_json};
use crate::{Isa, Precision, Result, Tokenizer};
use bert::{Bert, EncoderInput};
use config::{BertConfig, BertTensors};
use texts::{Texts, check_pooling};

pub use reranker::Reranker;
pub use training::{
    EmbedderEstimate, EmbedderOptions, EmbedderStep, EmbedderTraining, PlannedStep,
    TrainingQuestion,
};

/// Tokens that one thread encodes at a time: enough for whole tiles, few enough to stay near the
/// cache.
const BATCH_TOKENS: usize = 256;

/// A BERT encoder with mean pooling and unit-length output.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    bert: Bert,
    max_tokens: usize,
    precision: Precision,
    identity: String,
}

impl Encoder {
    /// Opens a folder with `config.json`, `tokenizer.json` and `model.safetensors`, in
    /// [`Precision::Auto`].
    ///
    /// # Errors
    /// Unreadable, malformed or unsupported files, with the reason.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, Precision::Auto)
    }

    /// Like [`Encoder::open`], in the given precision.
    ///
    /// Vectors of one text in two precisions have a cosine of at least 0.998, mostly above 0.999,
    /// and rank alike: vectors of one precision may be compared with those of another.
    ///
    /// # Errors
    /// As [`Encoder::open`].
    pub fn open_with(folder: &Path, precision: Precision) -> Result<Self> {
        Isa::chosen()?;
        let precision = precision.resolve_for_embedder();
        let path = folder.join("config.json");
        let config = BertConfig::read(&read_json(&path)?, &path)?;
        let shards = Shards::open(folder)?;
        let bert = Bert::load(&config, &BertTensors::of(&shards, &path)?, precision)?;
        check_pooling(&folder.join("1_Pooling/config.json"))?;
        let Texts { tokenizer, max_tokens, file } = Texts::open(folder, &config)?;
        let identity = fingerprint([file.as_slice()].into_iter().chain(shards.bytes()));
        Ok(Self { tokenizer, bert, max_tokens, precision, identity })
    }

    /// One vector of [`Encoder::dim`] values and length 1 for each text, in the order of the texts.
    /// A text is cut at [`Encoder::max_tokens`]. Texts share batches without padding, so that order
    /// and length cost nothing.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer);
    /// [`Error::TokenOutOfRange`](crate::Error::TokenOutOfRange) when the tokenizer does not belong
    /// to the weights.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let framed = |text: &&str| self.tokenizer.encode_framed(text).map(EncoderInput::from);
        let ids: Vec<EncoderInput> = texts.par_iter().map(framed).collect::<Result<_>>()?;
        self.bert.in_batches(&ids, BATCH_TOKENS, |batch, states| {
            let mut states = states.chunks_exact(self.dim());
            let vector = |text: &EncoderInput| {
                mean_direction(states.by_ref().take(text.ids.len()), self.dim())
            };
            batch.iter().map(vector).collect()
        })
    }

    /// Number of values of a vector.
    pub fn dim(&self) -> usize {
        self.bert.hidden()
    }

    /// Longest text in tokens, the two framing tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Tokens of `text`, the two framing tokens included, cut at [`Encoder::max_tokens`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        self.tokenizer.encode_framed(text).map(|ids| ids.len())
    }

    /// The precision in use; never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// SHA-256, in hex, of the weights and the tokenizer. It does not tell precisions apart: their
    /// vectors may be mixed.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

/// Mean of the rows, scaled to length 1.
fn mean_direction<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    // A zero sum has no direction; it stays zero.
    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
    sum.iter_mut().for_each(|x| *x *= factor);
    sum
}

#[cfg(test)]
mod tests;
