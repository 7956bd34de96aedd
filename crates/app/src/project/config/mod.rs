//! `tunesmith.toml`: what a user writes about a project, read and validated into values the rest of
//! the program can rely on.
//!
//! Every problem is reported, with its line, its field, what was expected and what was found.

mod check;
mod field;
mod fields;
mod kinds;
mod reference;
mod written;

use std::fs;
use std::path::{Path, PathBuf};

use eval::decision::Limits;
use eval::{Measure, Rule};
use lm::{Precision, TrainOptions};
use store::{Filter, SearchOptions};
use text::ChunkOptions;

use crate::error::{Error, IoContext};
use crate::project::access::Key;
use crate::questions::Split;

pub use self::reference::{reference, template};
pub use crate::project::collections::{Collection, DOCUMENTS};

/// The name of the configuration file in a project's folder.
pub const FILE: &str = "tunesmith.toml";

/// Passages in a prompt where nothing was set or tuned.
pub const DEFAULT_PASSAGES: usize = 3;

/// A validated project configuration. Paths are as written: relative to the project's folder, or
/// absolute.
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
    /// The number format the embedder computes in. Vectors already stored stay: they may be
    /// compared with those of another.
    pub embedder_precision: Precision,
    /// How documents are cut.
    pub chunks: Chunks,
    /// How passages are found.
    pub retrieval: Retrieval,
    /// How adapters are trained.
    pub training: Training,
    /// The question sets, in the order written.
    pub sets: Vec<SetConfig>,
    /// What is there already, and answered the test questions.
    pub systems: Vec<ForeignSystem>,
    /// Who may ask the server; nobody else may where there is any.
    pub keys: Vec<Key>,
}

/// `[[system]]`: a system that is there already, which is compared by the answers it gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignSystem {
    /// Its name: not that of an arm.
    pub name: String,
    /// The file with its answers, a JSON object a line.
    pub answers: PathBuf,
    /// The set whose questions it answered; `None` where its ids tell.
    pub set: Option<String>,
    /// Whether it answers without a network.
    pub offline: bool,
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
    /// The cross-encoder that reads question and passage together and puts the first hits in order:
    /// a name of the catalogue or a path; `None` for none.
    pub reranker: Option<String>,
    /// Hits that it puts in order.
    pub rerank_candidates: usize,
    /// Weight of BM25 against vectors, 0 to 1; `None` lets `compare` tune it on dev questions.
    pub lexical_weight: Option<f32>,
    /// Chunks before and after each passage that are read with it.
    pub neighbours: usize,
    /// ISO 639-1 code of the language of texts too short to tell.
    pub language: String,
    /// Without a set, `ask` abstains when the best passage's cosine similarity with the question is
    /// below this.
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
    /// Tokens run through the model over all epochs, at most: bounds the time of a run; `None` for
    /// no bound.
    pub max_tokens: Option<usize>,
    /// Adapters trained for each recipe in a comparison, each from a seed of its own. Those after
    /// the first are trained only for arms that are still in question.
    pub seeds: u64,
    /// Minutes of training for one comparison, at most: adapters after the first of each recipe
    /// that don't fit are not trained; `None` for no bound.
    pub max_minutes: Option<u64>,
    /// Whether `compare` trains on an eighth, a quarter and a half of the pairs as well where
    /// fine-tuning is due, to foresee what more pairs would bring.
    pub learning_curve: bool,
    /// Whether `compare` trains the setup it is about to recommend once more on shuffled answers.
    pub control: bool,
    /// Share of `raft` prompts from which the gold passage is left out. None by default: such an
    /// answer can only be guessed or learnt by heart, and on the example's dev questions a fifth of
    /// them undid most of what the others taught.
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
    /// The field of its rows by which questions are looked at in slices.
    pub slice: Option<String>,
    /// Hard limits: a setup that breaks one, or for which it was not measured, is not recommended.
    pub limits: Limits,
    /// The set that shows what a fine-tuned model forgets: its dev questions are asked of it and of
    /// the base model, without passages.
    pub general: Option<String>,
    /// The JSON schema that answers must keep to, for the measure `json`.
    pub schema: Option<PathBuf>,
    /// The program that grades and its arguments, for the measure `command`.
    pub command: Option<Vec<String>>,
    /// Seconds that the program may take for all answers of a split.
    pub command_seconds: u64,
    /// Tokens of the longest answer; `None` lets `compare` take it from the training answers.
    pub max_tokens: Option<usize>,
    /// Answers expected over the lifetime of the chosen arm: what training time is spread over.
    pub expected_queries: u64,
    /// Training examples shown to the few-shot arm.
    pub shots: usize,
    /// Labels that prompts name, at most: with more, and with 0, they name none.
    pub name_labels: usize,
    /// Passages in a prompt for this set; the project's number if not given.
    pub passages: Option<usize>,
    /// The same threshold as in `[retrieval]` for this set; `None` for the one calibrated, if any.
    pub abstain_below: Option<f32>,
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

impl SetFiles {
    /// The file that holds the questions of a split.
    pub fn of(&self, split: Split) -> &Path {
        match (self, split) {
            (Self::One(path), _) => path,
            (Self::Three { train, .. }, Split::Train) => train,
            (Self::Three { dev, .. }, Split::Dev) => dev,
            (Self::Three { test, .. }, Split::Test) => test,
        }
    }
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
        written::read(path, text)
    }

    /// The names of all collections, that of [`DOCUMENTS`] last.
    pub fn collection_names(&self) -> Vec<String> {
        let named = self.collections.iter().map(|collection| collection.name.clone());
        named.chain([DOCUMENTS.to_owned()]).collect()
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

impl Default for Config {
    /// What holds where a configuration file is silent.
    fn default() -> Self {
        Self {
            name: String::new(),
            documents: Vec::new(),
            collections: Vec::new(),
            generator: "smollm2-135m-instruct".to_owned(),
            embedder: "all-minilm-l6-v2".to_owned(),
            embedder_precision: Precision::default(),
            chunks: Chunks::default(),
            retrieval: Retrieval::default(),
            training: Training::default(),
            sets: Vec::new(),
            systems: Vec::new(),
            keys: Vec::new(),
        }
    }
}

impl Default for Chunks {
    /// Those of the chunker.
    fn default() -> Self {
        let ChunkOptions { max_tokens, min_tokens } = ChunkOptions::default();
        Self { max_tokens, min_tokens }
    }
}

impl Default for Retrieval {
    /// Those of the store's searches, and what no search of the store knows of.
    fn default() -> Self {
        let SearchOptions { candidates, neighbours, .. } = SearchOptions::default();
        Self {
            passages: None,
            candidates,
            reranker: None,
            // A cross-encoder reads every one of them: the time of an answer grows with them.
            rerank_candidates: 20,
            lexical_weight: None,
            neighbours,
            language: "en".to_owned(),
            // Refuses 3 in 1,000 of the answerable training questions of squad and 1 in 100 of the
            // others (docs/log.md, "citing and abstaining").
            abstain_below: 0.25,
        }
    }
}

impl Default for Training {
    /// Those of the trainer; of the prompts, see [`Training::gold_missing`].
    fn default() -> Self {
        let usual = TrainOptions::default();
        Self {
            epochs: usual.epochs,
            learning_rate: usual.learning_rate,
            rank: usual.lora.rank,
            alpha: f64::from(usual.lora.alpha),
            batch_tokens: usual.batch_tokens,
            max_length: usual.max_length,
            patience: usual.patience.unwrap_or(usize::MAX),
            max_examples: None,
            max_tokens: None,
            // With fewer the luck of training cannot be told from what was learnt.
            seeds: 3,
            max_minutes: None,
            learning_curve: true,
            control: true,
            gold_missing: 0.0,
        }
    }
}

impl Default for SetConfig {
    /// What holds where a set is silent. Name, files and measure are always written.
    fn default() -> Self {
        let Rule { target, margin, expected_queries, .. } = Rule::default();
        Self {
            name: String::new(),
            files: SetFiles::One(PathBuf::new()),
            instruction: None,
            measure: Measure::ExactMatch,
            target,
            margin,
            slice: None,
            limits: Limits::default(),
            general: None,
            schema: None,
            command: None,
            command_seconds: 300,
            max_tokens: None,
            expected_queries,
            shots: 4,
            // The 77 labels of `banking77` would take more tokens than most questions.
            name_labels: 30,
            passages: None,
            abstain_below: None,
            collections: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use eval::Tolerance;

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
        let template = template("x");
        let uncommented: Vec<&str> = template
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => setting,
                _ => line,
            })
            .collect();
        let config = parse(&uncommented.join("\n")).unwrap();
        let Training { max_examples, max_tokens, max_minutes, .. } = config.training;
        assert!(max_examples.is_some() && max_tokens.is_some() && max_minutes.is_some());
        let usual = Config::default().training;
        let expected = Training { max_examples, max_tokens, max_minutes, ..usual };
        assert_eq!(config.training, expected);
        let usual = Config::default();
        assert_eq!(config.chunks, usual.chunks);
        assert_eq!((config.collections.len(), config.sets.len()), (1, 1));
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
                "tunesmith.toml:8: measure: expected exact, f1, contains, label, numeric, rouge-l, json or command, found \"bleu\"",
                "tunesmith.toml:9: set: expected either `questions`, or `train`, `dev` and `test`, found another combination",
            ]
        );
    }

    #[test]
    fn a_measure_has_the_keys_it_needs_and_no_others() {
        let with = |fields: &str| {
            let set = "[[set]]\nname = \"s\"\nquestions = \"q.jsonl\"";
            format!("[project]\nname = \"p\"\n{set}\n{fields}\n")
        };
        let measure = |fields: &str| parse(&with(fields)).unwrap().sets[0].measure;
        let numeric = |tolerance| Measure::Numeric { tolerance };
        for (fields, tolerance) in [
            ("measure = \"numeric\"", Tolerance::NONE),
            ("measure = \"numeric:0.5\"", Tolerance::Absolute(0.5)),
            ("measure = \"numeric\"\ntolerance = 0.01", Tolerance::Absolute(0.01)),
            ("measure = \"numeric\"\ntolerance = 2", Tolerance::Absolute(2.0)),
            ("measure = \"numeric\"\ntolerance = \"1%\"", Tolerance::Relative(0.01)),
        ] {
            assert_eq!(measure(fields), numeric(tolerance), "{fields}");
        }
        let config =
            parse(&with("measure = \"command\"\ncommand = [\"python3\", \"g.py\"]")).unwrap();
        assert_eq!(config.sets[0].command.as_deref().unwrap(), ["python3", "g.py"]);
        assert_eq!(config.sets[0].command_seconds, 300);
        for (fields, problem) in [
            ("measure = \"f1\"\ntolerance = 0.1", "tolerance: expected the measure numeric"),
            ("measure = \"numeric:1\"\ntolerance = 0.1", "tolerance: expected it once"),
            ("measure = \"numeric\"\ntolerance = -1", "tolerance: expected a number from 0 on"),
            ("measure = \"f1\"\nschema = \"s.json\"", "schema: expected the measure json"),
            ("measure = \"f1\"\ncommand = [\"x\"]", "command: expected the measure command"),
            ("measure = \"command\"", "command: expected a program and its arguments"),
            (
                "measure = \"command\"\ncommand = []",
                "command: expected a program and its arguments",
            ),
        ] {
            let found = problems(&with(fields));
            assert!(found.len() == 1 && found[0].contains(problem), "{fields}: {found:?}");
        }
    }

    #[test]
    fn the_precision_of_the_embedder_is_one_of_four() {
        let with = |name: &str| {
            format!("[project]\nname = \"p\"\n[models]\nembedder_precision = \"{name}\"\n")
        };
        let named = [
            ("auto", Precision::Auto),
            ("int8", Precision::Int8),
            ("bf16", Precision::Bf16),
            ("f32", Precision::F32),
        ];
        for (name, precision) in named {
            assert_eq!(parse(&with(name)).unwrap().embedder_precision, precision);
        }
        let expected = "tunesmith.toml:4: embedder_precision: expected auto, int8, bf16 or f32, found \"int4\"";
        assert_eq!(problems(&with("int4")), [expected]);
    }

    #[test]
    fn keys_hold_a_hash_and_known_collections() {
        let hash = "ab".repeat(32);
        let with =
            |fields: &str| format!("[project]\nname = \"p\"\n[[key]]\nname = \"k\"\n{fields}\n");
        let config =
            parse(&with(&format!("sha256 = \"{hash}\"\ncollections = [\"documents\"]"))).unwrap();
        assert_eq!((config.keys[0].name.as_str(), config.keys[0].sha256), ("k", [0xab; 32]));
        assert!(
            config.keys[0].access.allows("documents") && !config.keys[0].access.allows("other")
        );
        let none = problems(&with(&format!("sha256 = \"{hash}\"\ncollections = []")));
        assert_eq!(none, ["tunesmith.toml:6: collections: expected at least one, found none"]);
        let other = problems(&with("sha256 = \"secret\"\ncollections = [\"attic\"]"));
        assert_eq!(
            other,
            [
                "tunesmith.toml:5: sha256: expected 64 hexadecimal digits, as `tunesmith key new` writes them",
                "tunesmith.toml:6: collections: expected one of documents, found \"attic\"",
            ]
        );
        let twice = format!(
            "{}[[key]]\nname = \"l\"\nsha256 = \"{hash}\"\n",
            with(&format!("sha256 = \"{hash}\""))
        );
        assert_eq!(
            problems(&twice),
            ["tunesmith.toml:8: sha256: expected another secret than that of key \"k\""]
        );
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_named() {
        let message = &problems("[project]\nname = \"p\"\ndocumets = []\n")[0];
        assert!(
            message.starts_with("tunesmith.toml:3") && message.contains("documets"),
            "{message}"
        );
        let message = &problems("[project]\nname = 3\n")[0];
        assert!(message.starts_with("tunesmith.toml:2"), "{message}");
    }
}
