//! A cross-encoder: question and passage read together, one number for how well they fit (Nogueira
//! and Cho 2019).

use std::path::Path;

use rayon::prelude::*;

use super::bert::{Bert, EncoderInput};
use super::config::{BertConfig, BertTensors};
use crate::files::{Shards, fingerprint, read_json};
use crate::{Error, Isa, Precision, Result, Tokenizer};

/// Tokens that one thread reads at a time: a pair is longer than a passage.
const BATCH_TOKENS: usize = 512;

/// Cut of a pair for models that name none.
const DEFAULT_MAX_TOKENS: usize = 512;

/// A BERT sequence classifier with a single output, as cross-encoders for retrieval are.
#[derive(Debug)]
pub struct Reranker {
    tokenizer: Tokenizer,
    bert: Bert,
    /// `[hidden, hidden]`: what of the first token's state goes into the score.
    pooler: Vec<f32>,
    /// `[hidden]`
    pooler_bias: Vec<f32>,
    /// `[hidden]`
    classifier: Vec<f32>,
    bias: f32,
    max_tokens: usize,
    identity: String,
}

impl Reranker {
    /// Opens a folder with `config.json`, `tokenizer.json` and `model.safetensors`, as
    /// `BertForSequenceClassification` is saved, in [`Precision::Auto`].
    ///
    /// # Errors
    /// Unreadable or malformed files, other architectures, and models without a classifier or with
    /// more than one output, with the reason.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_with(folder, Precision::Auto)
    }

    /// Like [`Reranker::open`], in the given precision.
    ///
    /// # Errors
    /// As [`Reranker::open`].
    pub fn open_with(folder: &Path, precision: Precision) -> Result<Self> {
        Isa::chosen()?;
        let path = folder.join("config.json");
        let config = BertConfig::read(&read_json(&path)?, &path)?;
        let shards = Shards::open(folder)?;
        let unsupported = |what: String| Error::Unsupported { path: path.clone(), what };
        let head = |name: &str, shape: &[usize]| match shards.tensor(name)? {
            None => Err(unsupported(format!(
                "a BERT without `{name}`: expected a cross-encoder (BertForSequenceClassification)"
            ))),
            Some(tensor) if tensor.shape != shape => Err(Error::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape,
            }),
            Some(tensor) => Ok(tensor.data),
        };
        if let Some(tensor) = shards.tensor("classifier.weight")?
            && let Some(labels) = tensor.shape.first().filter(|labels| **labels != 1)
        {
            return Err(unsupported(format!(
                "a classifier of {labels} labels (expected one score)"
            )));
        }
        let hidden = config.hidden;
        let classifier = head("classifier.weight", &[1, hidden])?;
        let bias = head("classifier.bias", &[1])?.first().copied().unwrap_or(0.0);
        let pooler = head("bert.pooler.dense.weight", &[hidden, hidden])?;
        let pooler_bias = head("bert.pooler.dense.bias", &[hidden])?;
        if config.types < 2 {
            return Err(unsupported(
                "only one type of token (expected one for question and one for passage)".into(),
            ));
        }
        let bert = Bert::load(&config, &BertTensors::of(&shards, &path)?, precision.resolve())?;
        let file = folder.join("tokenizer.json");
        let mut tokenizer = Tokenizer::from_file(&file)?;
        let names = folder.join("tokenizer_config.json");
        let named =
            if names.exists() { read_json(&names)?["model_max_length"].as_u64() } else { None };
        let max_tokens =
            named.map_or(DEFAULT_MAX_TOKENS, |n| n as usize).clamp(8, config.positions.max(8));
        if max_tokens > config.positions {
            return Err(Error::Config(format!("only {} positions for a pair", config.positions)));
        }
        tokenizer.truncate_at(max_tokens)?;
        let text = std::fs::read(&file).map_err(Error::io(&file))?;
        let identity = fingerprint([text.as_slice()].into_iter().chain(shards.bytes()));
        Ok(Self { tokenizer, bert, pooler, pooler_bias, classifier, bias, max_tokens, identity })
    }

    /// How well each passage answers the question: logits, in the order of the passages. A pair is
    /// cut at [`Reranker::max_tokens`], the longer of the two first. Pairs share batches without
    /// padding.
    ///
    /// # Errors
    /// [`Error::Tokenizer`]; [`Error::TokenOutOfRange`] when the tokenizer does not belong to the
    /// weights.
    pub fn score(&self, question: &str, passages: &[&str]) -> Result<Vec<f32>> {
        let pair = |passage: &&str| {
            let (ids, second) = self.tokenizer.encode_pair(question, passage)?;
            Ok(EncoderInput { ids, second })
        };
        let pairs: Vec<EncoderInput> = passages.par_iter().map(pair).collect::<Result<_>>()?;
        self.bert.in_batches(&pairs, BATCH_TOKENS, |batch, states| {
            let mut first = 0;
            let score = |pair: &EncoderInput| {
                let state = &states[first * self.bert.hidden()..][..self.bert.hidden()];
                first += pair.ids.len();
                self.head(state)
            };
            batch.iter().map(score).collect()
        })
    }

    /// The score of a pair by the last state of its first token, in f32: it decides an order and
    /// costs next to nothing.
    fn head(&self, state: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let pooled = self.pooler.chunks_exact(state.len()).zip(&self.pooler_bias);
        let pooled = pooled.map(|(row, bias)| (dot(row, state) + bias).tanh());
        self.bias + pooled.zip(&self.classifier).map(|(x, weight)| x * weight).sum::<f32>()
    }

    /// Longest pair in tokens, the three framing tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// SHA-256, in hex, of the weights and the tokenizer.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use safetensors::tensor::{Dtype, TensorView};
    use serde_json::Value;

    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-cross")
    }

    /// Questions and passages with the logits that transformers gives them.
    fn expected() -> Vec<(String, String, f32)> {
        let json = read_json(&folder().join("expected.json")).unwrap();
        let text = |case: &Value, key: &str| case[key].as_str().unwrap().to_owned();
        let cases = json.as_array().unwrap().iter();
        cases
            .map(|case| {
                (
                    text(case, "question"),
                    text(case, "passage"),
                    case["logit"].as_f64().unwrap() as f32,
                )
            })
            .collect()
    }

    #[test]
    fn logits_are_those_of_transformers() {
        let cases = expected();
        assert!(cases.len() >= 20);
        for (precision, within) in
            [(Precision::F32, 2e-5), (Precision::Bf16, 0.05), (Precision::Int8, 0.1)]
        {
            let reranker = Reranker::open_with(&folder(), precision).unwrap();
            for (question, passage, logit) in &cases {
                let score = reranker.score(question, &[passage]).unwrap()[0];
                assert!(
                    (score - logit).abs() < within,
                    "{precision:?} {question:?} {passage:?}: {score} {logit}"
                );
            }
        }
        let spread = cases
            .iter()
            .map(|(.., logit)| *logit)
            .fold((f32::MAX, f32::MIN), |(low, high), x| (low.min(x), high.max(x)));
        assert!(spread.1 - spread.0 > 0.5, "{spread:?}");
    }

    #[test]
    fn a_pair_gets_the_same_score_alone_and_in_any_company() {
        let reranker = Reranker::open_with(&folder(), Precision::F32).unwrap();
        let texts: Vec<String> =
            (0..90).map(|n| format!("text {n} {}", "word ".repeat(n % 37))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = reranker.score("a question?", &texts).unwrap();
        for (text, score) in texts.iter().zip(&together) {
            assert!(
                (reranker.score("a question?", &[text]).unwrap()[0] - score).abs() < 1e-5,
                "{text}"
            );
        }
        assert!(reranker.score("a question?", &[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_cross_encoder_is_refused_with_the_reason() {
        let embedder = folder().with_file_name("tiny-bert");
        let error = Reranker::open(&embedder).unwrap_err().to_string();
        assert!(error.contains("without `classifier.weight`: expected a cross-encoder"), "{error}");
        let copy = tempfile::tempdir().unwrap();
        let weights = vec![0; 2 * 32 * 4];
        let weights = TensorView::new(Dtype::F32, vec![2, 32], &weights).unwrap();
        let file = copy.path().join("model.safetensors");
        safetensors::serialize_to_file([("classifier.weight", weights)], None, &file).unwrap();
        std::fs::copy(folder().join("config.json"), copy.path().join("config.json")).unwrap();
        let two = Reranker::open(copy.path()).unwrap_err().to_string();
        assert!(two.contains("a classifier of 2 labels (expected one score)"), "{two}");
        for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(folder().join(file), copy.path().join(file)).unwrap();
        }
        let config = std::fs::read_to_string(folder().join("config.json")).unwrap();
        std::fs::write(
            copy.path().join("config.json"),
            config.replace("\"bert\"", "\"xlm-roberta\""),
        )
        .unwrap();
        let other = Reranker::open(copy.path()).unwrap_err().to_string();
        assert!(other.contains("`model_type` = `xlm-roberta` (expected `bert`)"), "{other}");
    }
}
