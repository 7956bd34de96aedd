//! `tunesmith.toml` as it is written, and its checks: every problem is found, with its line and its
//! field.

mod key;

use std::ops::Range;
use std::path::{Path, PathBuf};

use eval::Measure;
use lm::Precision;
use serde::Deserialize;
use toml::Spanned;

use self::key::RawKey;
use super::{Chunks, Collection, Config, DOCUMENTS, Retrieval, SetConfig, SetFiles, Training};
use crate::error::Problem;
use crate::project::keys::Key;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    project: RawProject,
    #[serde(default)]
    models: RawModels,
    #[serde(default)]
    chunks: RawChunks,
    #[serde(default)]
    retrieval: RawRetrieval,
    #[serde(default)]
    training: RawTraining,
    #[serde(default)]
    collection: Vec<RawCollection>,
    #[serde(default)]
    set: Vec<Spanned<RawSet>>,
    #[serde(default)]
    key: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCollection {
    name: Spanned<String>,
    documents: Vec<PathBuf>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProject {
    name: String,
    #[serde(default)]
    documents: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModels {
    generator: Option<String>,
    embedder: Option<String>,
    embedder_precision: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChunks {
    max_tokens: Option<Spanned<i64>>,
    min_tokens: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetrieval {
    passages: Option<Spanned<i64>>,
    candidates: Option<Spanned<i64>>,
    reranker: Option<String>,
    rerank_candidates: Option<Spanned<i64>>,
    neighbours: Option<Spanned<i64>>,
    lexical_weight: Option<Spanned<f64>>,
    language: Option<Spanned<String>>,
    abstain_below: Option<Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTraining {
    epochs: Option<Spanned<i64>>,
    learning_rate: Option<Spanned<f64>>,
    rank: Option<Spanned<i64>>,
    alpha: Option<Spanned<f64>>,
    batch_tokens: Option<Spanned<i64>>,
    max_length: Option<Spanned<i64>>,
    patience: Option<Spanned<i64>>,
    max_examples: Option<Spanned<i64>>,
    max_tokens: Option<Spanned<i64>>,
    gold_missing: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    name: Spanned<String>,
    questions: Option<PathBuf>,
    train: Option<PathBuf>,
    dev: Option<PathBuf>,
    test: Option<PathBuf>,
    instruction: Option<String>,
    measure: Spanned<String>,
    target: Option<Spanned<f64>>,
    margin: Option<Spanned<f64>>,
    max_tokens: Option<Spanned<i64>>,
    expected_queries: Option<Spanned<i64>>,
    shots: Option<Spanned<i64>>,
    passages: Option<Spanned<i64>>,
    abstain_below: Option<Spanned<f64>>,
    collections: Option<Vec<Spanned<String>>>,
}

/// Collects problems while values are checked.
pub(super) struct Check<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, span: &Range<usize>, field: &str, message: String) {
        self.problems.push(Problem {
            file: self.path.to_owned(),
            line: Some(line_at(self.text, span)),
            field: Some(field.to_owned()),
            message,
        });
    }

    fn integer(
        &mut self,
        field: &str,
        value: Option<Spanned<i64>>,
        default: usize,
        range: Range<usize>,
    ) -> usize {
        let Some(value) = value else { return default };
        match usize::try_from(*value.get_ref()) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let message = format!(
                    "expected a number from {} to {}, found {}",
                    range.start,
                    range.end - 1,
                    value.get_ref()
                );
                self.problem(&value.span(), field, message);
                default
            }
        }
    }

    /// `upper` itself is allowed.
    fn real(&mut self, field: &str, value: Option<Spanned<f64>>, default: f64, upper: f64) -> f64 {
        let Some(value) = value else { return default };
        let number = *value.get_ref();
        if (0.0..=upper).contains(&number) {
            return number;
        }
        self.problem(
            &value.span(),
            field,
            format!("expected a number from 0 to {upper}, found {number}"),
        );
        default
    }

    fn precision(&mut self, field: &str, value: Option<Spanned<String>>) -> Precision {
        let Some(value) = value else { return Precision::default() };
        value.get_ref().parse().unwrap_or_else(|_| {
            let message = format!("expected auto, int8, bf16 or f32, found {:?}", value.get_ref());
            self.problem(&value.span(), field, message);
            Precision::default()
        })
    }

    fn language(&mut self, field: &str, value: Option<Spanned<String>>, default: String) -> String {
        let Some(value) = value else { return default };
        let code = value.get_ref();
        if code.len() == 2 && code.chars().all(|c| c.is_ascii_lowercase()) {
            return value.into_inner();
        }
        self.problem(
            &value.span(),
            field,
            format!("expected two letters such as en or de, found {code:?}"),
        );
        default
    }

    /// A name that may also be a folder's, and of which there is one.
    fn name(&mut self, what: &str, name: &Spanned<String>, known: &[&str]) {
        let written = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if written.is_empty() || written == "all" || !written.chars().all(plain) {
            let message =
                format!("expected letters, digits, `-` and `_` (and not `all`), found {written:?}");
            self.problem(&name.span(), "name", message);
        } else if known.contains(&written.as_str()) {
            let message = format!("expected another name, found a second {what} {written:?}");
            self.problem(&name.span(), "name", message);
        }
    }

    /// Names of collections, of which these are known.
    fn collections(&mut self, names: &[Spanned<String>], known: &[&str]) {
        for name in names {
            if !known.contains(&name.get_ref().as_str()) {
                let message =
                    format!("expected one of {}, found {:?}", known.join(", "), name.get_ref());
                self.problem(&name.span(), "collections", message);
            }
        }
    }

    fn positive(
        &mut self,
        field: &str,
        value: Option<Spanned<f64>>,
        default: f64,
        upper: f64,
    ) -> f64 {
        if let Some(value) = &value
            && *value.get_ref() <= 0.0
        {
            let message = format!("expected a number above 0, found {}", value.get_ref());
            self.problem(&value.span(), field, message);
            return default;
        }
        self.real(field, value, default, upper)
    }
}

/// Any number a machine could reach: counts of tokens, steps and queries.
const COUNT: Range<usize> = 1..1_000_000_000;

impl Raw {
    pub(super) fn resolve(self, check: &mut Check) -> Config {
        let defaults = Config::default();
        let chunks = Chunks {
            max_tokens: check.integer(
                "max_tokens",
                self.chunks.max_tokens,
                defaults.chunks.max_tokens,
                16..4097,
            ),
            min_tokens: check.integer(
                "min_tokens",
                self.chunks.min_tokens,
                defaults.chunks.min_tokens,
                0..4097,
            ),
        };
        let found = self.retrieval;
        let retrieval = Retrieval {
            passages: found
                .passages
                .map(|number| check.integer("passages", Some(number), 3, 1..101)),
            candidates: check.integer(
                "candidates",
                found.candidates,
                defaults.retrieval.candidates,
                1..10_001,
            ),
            reranker: found.reranker,
            rerank_candidates: check.integer(
                "rerank_candidates",
                found.rerank_candidates,
                defaults.retrieval.rerank_candidates,
                1..1001,
            ),
            neighbours: check.integer(
                "neighbours",
                found.neighbours,
                defaults.retrieval.neighbours,
                0..11,
            ),
            lexical_weight: found
                .lexical_weight
                .map(|weight| check.real("lexical_weight", Some(weight), 0.5, 1.0) as f32),
            language: check.language("language", found.language, defaults.retrieval.language),
            abstain_below: check.real(
                "abstain_below",
                found.abstain_below,
                f64::from(defaults.retrieval.abstain_below),
                1.0,
            ) as f32,
        };
        let given = self.training;
        let usual = defaults.training;
        let training = Training {
            epochs: check.integer("epochs", given.epochs, usual.epochs, 1..1001),
            learning_rate: check.positive(
                "learning_rate",
                given.learning_rate,
                usual.learning_rate,
                1.0,
            ),
            rank: check.integer("rank", given.rank, usual.rank, 1..1025),
            alpha: check.positive("alpha", given.alpha, usual.alpha, 10_000.0),
            batch_tokens: check.integer(
                "batch_tokens",
                given.batch_tokens,
                usual.batch_tokens,
                COUNT,
            ),
            max_length: check.integer("max_length", given.max_length, usual.max_length, COUNT),
            patience: check.integer("patience", given.patience, usual.patience, COUNT),
            max_examples: given
                .max_examples
                .map(|number| check.integer("max_examples", Some(number), usize::MAX, COUNT)),
            max_tokens: given
                .max_tokens
                .map(|number| check.integer("max_tokens", Some(number), usize::MAX, COUNT)),
            gold_missing: check.real("gold_missing", given.gold_missing, usual.gold_missing, 1.0),
        };
        let mut collections: Vec<Collection> = Vec::new();
        for RawCollection { name, documents, tags } in self.collection {
            let mut known: Vec<&str> =
                collections.iter().map(|other| other.name.as_str()).collect();
            known.push(DOCUMENTS);
            check.name("collection", &name, &known);
            collections.push(Collection { name: name.into_inner(), documents, tags });
        }
        let mut named: Vec<&str> =
            collections.iter().map(|collection| collection.name.as_str()).collect();
        named.push(DOCUMENTS);
        let mut sets: Vec<SetConfig> = Vec::new();
        for raw in self.set {
            let span = raw.span();
            let known: Vec<&str> = sets.iter().map(|other| other.name.as_str()).collect();
            check.name("set", &raw.get_ref().name, &known);
            sets.push(raw.into_inner().resolve(check, &span, &named));
        }
        let mut keys: Vec<Key> = Vec::new();
        for raw in self.key {
            let known: Vec<&str> = keys.iter().map(|other| other.name.as_str()).collect();
            check.name("key", &raw.name, &known);
            let key = raw.resolve(check, &keys, &named);
            keys.push(key);
        }
        Config {
            name: self.project.name,
            documents: self.project.documents,
            collections,
            generator: self.models.generator.unwrap_or(defaults.generator),
            embedder: self.models.embedder.unwrap_or(defaults.embedder),
            embedder_precision: check
                .precision("embedder_precision", self.models.embedder_precision),
            chunks,
            retrieval,
            training,
            sets,
            keys,
        }
    }
}

impl RawSet {
    fn resolve(self, check: &mut Check, span: &Range<usize>, collections: &[&str]) -> SetConfig {
        let files = match (self.questions, self.train, self.dev, self.test) {
            (Some(path), None, None, None) => SetFiles::One(path),
            (None, Some(train), Some(dev), Some(test)) => SetFiles::Three { train, dev, test },
            _ => {
                let message = "expected either `questions`, or `train`, `dev` and `test`, found another combination";
                check.problem(span, "set", message.to_owned());
                SetFiles::One(PathBuf::new())
            }
        };
        check.collections(self.collections.as_deref().unwrap_or_default(), collections);
        let measure = self.measure.get_ref().parse().unwrap_or_else(|_| {
            let message = format!(
                "expected exact, f1, contains, label, numeric:TOLERANCE or rouge-l, found {:?}",
                self.measure.get_ref()
            );
            check.problem(&self.measure.span(), "measure", message);
            Measure::ExactMatch
        });
        SetConfig {
            name: self.name.into_inner(),
            files,
            instruction: self.instruction,
            measure,
            target: self.target.map(|target| check.real("target", Some(target), 1.0, 1.0)),
            margin: check.real("margin", self.margin, 0.05, 1.0),
            max_tokens: check.integer("max_tokens", self.max_tokens, 48, 1..100_001),
            expected_queries: check.integer(
                "expected_queries",
                self.expected_queries,
                10_000,
                COUNT,
            ) as u64,
            shots: check.integer("shots", self.shots, 4, 1..65),
            passages: self
                .passages
                .map(|number| check.integer("passages", Some(number), 3, 1..101)),
            abstain_below: self
                .abstain_below
                .map(|cosine| check.real("abstain_below", Some(cosine), 0.0, 1.0) as f32),
            collections: self
                .collections
                .map(|names| names.into_iter().map(Spanned::into_inner).collect()),
        }
    }
}

/// The line (from 1) on which a span starts.
pub(super) fn line_at(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}
