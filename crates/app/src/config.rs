//! `tunesmith.toml`: what a user writes about a project, read and validated into values the rest of the program can rely on.
//!
//! Every problem is reported, with its line, its field, what was expected and what was found.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use eval::Measure;
use lm::Precision;
use serde::Deserialize;
use store::Filter;
use toml::Spanned;

use crate::error::{Error, IoContext, Problem};

/// The name of the configuration file in a project's folder.
pub const FILE: &str = "tunesmith.toml";

/// A validated project configuration. Paths are as written: relative to the project's folder, or absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The project's name.
    pub name: String,
    /// What to ingest into the collection [`DOCUMENTS`].
    pub documents: Vec<PathBuf>,
    /// What else to ingest.
    pub collections: Vec<Collection>,
    /// The model that writes answers: a name of the catalogue or a path.
    pub generator: String,
    /// The model that turns text into vectors: a name of the catalogue or a path.
    pub embedder: String,
    /// The number format the embedder computes in. Vectors already stored stay: they may be compared with those of another.
    pub embedder_precision: Precision,
    /// How documents are cut.
    pub chunks: Chunks,
    /// How passages are found.
    pub retrieval: Retrieval,
    /// How adapters are trained.
    pub training: Training,
    /// The question sets, in the order written.
    pub sets: Vec<SetConfig>,
}

/// The collection of what no other one claims.
pub const DOCUMENTS: &str = "documents";

/// `[[collection]]`: documents that can be searched apart from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Folders, files, patterns and addresses to ingest.
    pub documents: Vec<PathBuf>,
    /// Tags of all its documents.
    pub tags: Vec<String>,
}

/// `[chunks]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// The largest chunk, in tokens of the embedder.
    pub max_tokens: usize,
    /// Smaller neighbours under one heading are joined up to this.
    pub min_tokens: usize,
}

/// `[retrieval]`
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// Passages in a prompt; `None` lets `compare` tune their number on dev questions.
    pub passages: Option<usize>,
    /// Candidates taken from each of text index and vectors before they are fused.
    pub candidates: usize,
    /// Weight of BM25 against vectors, 0 to 1; `None` lets `compare` tune it on dev questions.
    pub lexical_weight: Option<f32>,
    /// ISO 639-1 code of the language of texts too short to tell.
    pub language: String,
    /// `ask` abstains when the best passage's cosine similarity with the question is below this.
    pub abstain_below: f32,
}

/// `[training]`
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Passes over the training examples, at most: dev loss may stop earlier.
    pub epochs: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Rank of the adapter's matrices.
    pub rank: usize,
    /// Adapter scale numerator (the scale is alpha / rank).
    pub alpha: f64,
    /// Tokens of one optimiser step.
    pub batch_tokens: usize,
    /// Tokens of the longest example; longer ones are refused.
    pub max_length: usize,
    /// Evaluations on dev without improvement before training stops.
    pub patience: usize,
    /// Training examples used at most, in the order of the file; `None` for all.
    pub max_examples: Option<usize>,
    /// Tokens run through the model over all epochs, at most: bounds the time of a run; `None` for no bound.
    pub max_tokens: Option<usize>,
    /// Share of `raft` prompts from which the gold passage is left out. None by default: such an answer can only be guessed or
    /// learnt by heart, and on the example's dev questions a fifth of them undid most of what the others taught.
    pub gold_missing: f64,
}

/// `[[set]]`: a question set and what the user needs from it.
#[derive(Clone, Debug, PartialEq)]
pub struct SetConfig {
    /// Its name, also a folder name: letters, digits, `-` and `_`.
    pub name: String,
    /// Where its questions are.
    pub files: SetFiles,
    /// The system prompt of every arm; `None` takes the one of the pairs.
    pub instruction: Option<String>,
    /// The primary measure.
    pub measure: Measure,
    /// The score the user needs, 0 to 1.
    pub target: Option<f64>,
    /// Differences up to this do not matter, 0 to 1.
    pub margin: f64,
    /// Tokens of the longest answer.
    pub max_tokens: usize,
    /// Answers expected over the lifetime of the chosen arm: what training time is spread over.
    pub expected_queries: u64,
    /// Training examples shown to the few-shot arm.
    pub shots: usize,
    /// Passages in a prompt for this set; the project's number if not given.
    pub passages: Option<usize>,
    /// Collections its questions are answered from; `None` for all.
    pub collections: Option<Vec<String>>,
}

impl SetConfig {
    /// The documents its questions are answered from.
    pub fn filter(&self) -> Filter {
        Filter { collections: self.collections.clone(), ..Filter::ALL }
    }
}

/// Where the questions of a set are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetFiles {
    /// One file; each row names its split, or the rows are split by group.
    One(PathBuf),
    /// One file per split.
    Three {
        /// Training examples.
        train: PathBuf,
        /// Questions for every choice before the end.
        dev: PathBuf,
        /// Questions for the comparison.
        test: PathBuf,
    },
}

impl Config {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Problems`] with every problem found.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).context("read", path)?;
        Self::parse(path, &text)
    }

    /// Parses the text of a configuration file; `path` is for the messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_at(text, &span));
            Error::Problems(vec![Problem {
                file: path.to_owned(),
                line,
                field: None,
                message: error.message().trim().to_owned(),
            }])
        })?;
        let mut check = Check { path, text, problems: Vec::new() };
        let config = raw.resolve(&mut check);
        if check.problems.is_empty() { Ok(config) } else { Err(Error::Problems(check.problems)) }
    }

    /// The set called `name`.
    pub fn set(&self, name: &str) -> Result<&SetConfig, Error> {
        self.sets.iter().find(|set| set.name == name).ok_or_else(|| Error::UnknownSet {
            name: name.to_owned(),
            known: self.sets.iter().map(|set| set.name.clone()).collect(),
        })
    }

    /// The sets of that name, or every set for `all` or no names at all.
    pub fn sets_named(&self, names: &[String]) -> Result<Vec<&SetConfig>, Error> {
        if self.sets.is_empty() {
            return Err(Error::NoSets);
        }
        if names.is_empty() || names.iter().any(|name| name == "all") {
            return Ok(self.sets.iter().collect());
        }
        names.iter().map(|name| self.set(name)).collect()
    }
}

/// A new project's configuration: every setting with its default, commented.
pub fn template(name: &str) -> String {
    format!(include_str!("config/template.toml"), name = toml::Value::String(name.to_owned()))
}

// ---------------------------------------------------------------------------------------------------------------------
// The file as written.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
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
    collections: Option<Vec<Spanned<String>>>,
}

/// Collects problems while values are checked.
struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
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
        self.problem(&value.span(), field, format!("expected a number from 0 to {upper}, found {number}"));
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
        self.problem(&value.span(), field, format!("expected two letters such as en or de, found {code:?}"));
        default
    }

    /// A name that may also be a folder's, and of which there is one.
    fn name(&mut self, what: &str, name: &Spanned<String>, known: &[&str]) {
        let written = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if written.is_empty() || written == "all" || !written.chars().all(plain) {
            let message = format!("expected letters, digits, `-` and `_` (and not `all`), found {written:?}");
            self.problem(&name.span(), "name", message);
        } else if known.contains(&written.as_str()) {
            let message = format!("expected another name, found a second {what} {written:?}");
            self.problem(&name.span(), "name", message);
        }
    }

    fn positive(&mut self, field: &str, value: Option<Spanned<f64>>, default: f64, upper: f64) -> f64 {
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
    fn resolve(self, check: &mut Check) -> Config {
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
            passages: found.passages.map(|number| check.integer("passages", Some(number), 3, 1..101)),
            candidates: check.integer(
                "candidates",
                found.candidates,
                defaults.retrieval.candidates,
                1..10_001,
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
            learning_rate: check.positive("learning_rate", given.learning_rate, usual.learning_rate, 1.0),
            rank: check.integer("rank", given.rank, usual.rank, 1..1025),
            alpha: check.positive("alpha", given.alpha, usual.alpha, 10_000.0),
            batch_tokens: check.integer("batch_tokens", given.batch_tokens, usual.batch_tokens, COUNT),
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
            let mut known: Vec<&str> = collections.iter().map(|other| other.name.as_str()).collect();
            known.push(DOCUMENTS);
            check.name("collection", &name, &known);
            collections.push(Collection { name: name.into_inner(), documents, tags });
        }
        let mut named: Vec<&str> = collections.iter().map(|collection| collection.name.as_str()).collect();
        named.push(DOCUMENTS);
        let mut sets: Vec<SetConfig> = Vec::new();
        for raw in self.set {
            let span = raw.span();
            let known: Vec<&str> = sets.iter().map(|other| other.name.as_str()).collect();
            check.name("set", &raw.get_ref().name, &known);
            sets.push(raw.into_inner().resolve(check, &span, &named));
        }
        Config {
            name: self.project.name,
            documents: self.project.documents,
            collections,
            generator: self.models.generator.unwrap_or(defaults.generator),
            embedder: self.models.embedder.unwrap_or(defaults.embedder),
            embedder_precision: check.precision("embedder_precision", self.models.embedder_precision),
            chunks,
            retrieval,
            training,
            sets,
        }
    }
}

impl RawSet {
    fn resolve(self, check: &mut Check, span: &Range<usize>, collections: &[&str]) -> SetConfig {
        let files = match (self.questions, self.train, self.dev, self.test) {
            (Some(path), None, None, None) => SetFiles::One(path),
            (None, Some(train), Some(dev), Some(test)) => SetFiles::Three { train, dev, test },
            _ => {
                let message =
                    "expected either `questions`, or `train`, `dev` and `test`, found another combination";
                check.problem(span, "set", message.to_owned());
                SetFiles::One(PathBuf::new())
            }
        };
        for name in self.collections.iter().flatten() {
            if !collections.contains(&name.get_ref().as_str()) {
                let message =
                    format!("expected one of {}, found {:?}", collections.join(", "), name.get_ref());
                check.problem(&name.span(), "collections", message);
            }
        }
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
            expected_queries: check.integer("expected_queries", self.expected_queries, 10_000, COUNT) as u64,
            shots: check.integer("shots", self.shots, 4, 1..65),
            passages: self.passages.map(|number| check.integer("passages", Some(number), 3, 1..101)),
            collections: self.collections.map(|names| names.into_iter().map(Spanned::into_inner).collect()),
        }
    }
}

impl Default for Config {
    /// What holds where a configuration file is silent.
    fn default() -> Self {
        Self {
            name: String::new(),
            documents: Vec::new(),
            collections: Vec::new(),
            generator: "smollm2-135m-instruct".to_owned(),
            embedder: "all-minilm-l6-v2".to_owned(),
            embedder_precision: Precision::Auto,
            chunks: Chunks { max_tokens: 160, min_tokens: 40 },
            retrieval: Retrieval {
                passages: None,
                candidates: 100,
                lexical_weight: None,
                language: "en".to_owned(),
                abstain_below: 0.25,
            },
            training: Training {
                epochs: 6,
                learning_rate: 1e-3,
                rank: 16,
                alpha: 32.0,
                batch_tokens: 1024,
                max_length: 1536,
                patience: 3,
                max_examples: None,
                max_tokens: None,
                gold_missing: 0.0,
            },
            sets: Vec::new(),
        }
    }
}

/// The line (from 1) on which a span starts.
fn line_at(text: &str, span: &Range<usize>) -> usize {
    let end = span.start.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(Path::new(FILE), text)
    }

    fn problems(text: &str) -> Vec<String> {
        match parse(text) {
            Err(Error::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("expected problems, got {other:?}"),
        }
    }

    #[test]
    fn the_template_holds_the_defaults() {
        let config = parse(&template("a \"quoted\" name")).unwrap();
        let expected = Config {
            name: "a \"quoted\" name".to_owned(),
            documents: vec!["documents".into()],
            ..Config::default()
        };
        assert_eq!(config, expected);
        let uncommented: String = template("x")
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let config = parse(&uncommented).unwrap();
        assert_eq!(config.training, Config::default().training);
        assert_eq!(config.sets.len(), 1);
    }

    #[test]
    fn all_problems_come_at_once_with_line_and_field() {
        let text = "[project]\nname = \"p\"\n[retrieval]\nlexical_weight = 1.5\n[[set]]\nname = \"a b\"\n\
                    questions = \"q.jsonl\"\nmeasure = \"bleu\"\n[[set]]\nname = \"c\"\nmeasure = \"f1\"\n";
        assert_eq!(
            problems(text),
            [
                "tunesmith.toml:4: lexical_weight: expected a number from 0 to 1, found 1.5",
                "tunesmith.toml:6: name: expected letters, digits, `-` and `_` (and not `all`), found \"a b\"",
                "tunesmith.toml:8: measure: expected exact, f1, contains, label, numeric:TOLERANCE or rouge-l, found \"bleu\"",
                "tunesmith.toml:9: set: expected either `questions`, or `train`, `dev` and `test`, found another combination",
            ]
        );
    }

    #[test]
    fn the_precision_of_the_embedder_is_one_of_four() {
        let with =
            |name: &str| format!("[project]\nname = \"p\"\n[models]\nembedder_precision = \"{name}\"\n");
        let named = [
            ("auto", Precision::Auto),
            ("int8", Precision::Int8),
            ("bf16", Precision::Bf16),
            ("f32", Precision::F32),
        ];
        for (name, precision) in named {
            assert_eq!(parse(&with(name)).unwrap().embedder_precision, precision);
        }
        let expected =
            "tunesmith.toml:4: embedder_precision: expected auto, int8, bf16 or f32, found \"int4\"";
        assert_eq!(problems(&with("int4")), [expected]);
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_named() {
        let message = &problems("[project]\nname = \"p\"\ndocumets = []\n")[0];
        assert!(message.starts_with("tunesmith.toml:3") && message.contains("documets"), "{message}");
        let message = &problems("[project]\nname = 3\n")[0];
        assert!(message.starts_with("tunesmith.toml:2"), "{message}");
    }
}
