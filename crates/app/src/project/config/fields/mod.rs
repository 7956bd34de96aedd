//! Every table and every key of `tunesmith.toml`.

mod set;

use store::DEFAULT_LEXICAL_WEIGHT;

pub(super) use self::set::{WrittenSet, set};
use super::field::{Field, Section, Template};
use super::kinds::{
    COUNT, File, Flag, Integer, Language, List, Name, OneOf, Opened, Optional, Real,
};
use super::kinds::{Sha256, Text};
use super::{Config, DEFAULT_PASSAGES, ForeignSystem};
use crate::project::access::Key;
use crate::project::collections::Collection;

/// Passages in a prompt: more than a hundred fit no model's context.
const PASSAGES: Integer = Integer(1..=100);
/// Tokens of a chunk. The chunker cuts nothing smaller than 16.
const CHUNK_TOKENS: u64 = 4096;
const PATHS: List = List("folders, files, patterns and web addresses");

/// The tables that a file has once.
pub(super) fn tables() -> [Section<Config>; 5] {
    [project(), models(), chunks(), retrieval(), training()]
}

fn project() -> Section<Config> {
    Section {
        name: "project",
        repeated: false,
        about: "What the project is called and what it knows.",
        fields: vec![
            Field::new("name", Text, |to: &mut Config| &mut to.name, "The project's name.")
                .required()
                .example("\"acme\"")
                .template(Template::Set),
            Field::new(
                "documents",
                PATHS,
                |to: &mut Config| &mut to.documents,
                "The documents to ingest into the collection `documents`: folders, files, patterns \
                 such as `notes/**/*.md` and web addresses. Paths are relative to the project's \
                 folder.",
            )
            .example("[\"documents\"]")
            .template(Template::Set),
        ],
    }
}

fn models() -> Section<Config> {
    Section {
        name: "models",
        repeated: false,
        about: "The models. Each is a name that `tunesmith model list` shows, or the path of a \
                model on this machine.",
        fields: vec![
            Field::new(
                "generator",
                Text,
                |to: &mut Config| &mut to.generator,
                "The model that writes answers: a name, or the path of a GGUF file or of a folder \
                 with safetensors files.",
            )
            .template(Template::Set),
            Field::new(
                "embedder",
                Text,
                |to: &mut Config| &mut to.embedder,
                "The model that turns text into vectors: a name, or the path of a folder with \
                 safetensors files.",
            )
            .template(Template::Set),
            Field::new(
                "embedder_precision",
                OneOf(&["auto", "int8", "bf16", "f32"]),
                |to: &mut Config| &mut to.embedder_precision,
                "The number format in which the embedder computes. `auto` takes int8 where the \
                 processor has instructions for it, else bf16 or f32.",
            ),
        ],
    }
}

fn chunks() -> Section<Config> {
    Section {
        name: "chunks",
        repeated: false,
        about: "How documents are cut. A change takes effect with `tunesmith index build`.",
        fields: vec![
            Field::new(
                "max_tokens",
                Integer(16..=CHUNK_TOKENS),
                |to: &mut Config| &mut to.chunks.max_tokens,
                "The tokens of the largest chunk, estimated from its words.",
            ),
            Field::new(
                "min_tokens",
                Integer(0..=CHUNK_TOKENS),
                |to: &mut Config| &mut to.chunks.min_tokens,
                "A section with fewer tokens than this is joined with the next one.",
            ),
        ],
    }
}

fn retrieval() -> Section<Config> {
    Section {
        name: "retrieval",
        repeated: false,
        about: "How passages are found.",
        fields: vec![
            Field::new(
                "passages",
                Optional(PASSAGES),
                |to: &mut Config| &mut to.retrieval.passages,
                "The number of passages in a prompt.",
            )
            .tuned_from(DEFAULT_PASSAGES),
            Field::new(
                "candidates",
                Integer(1..=10_000),
                |to: &mut Config| &mut to.retrieval.candidates,
                "The number of chunks taken from the text index, and from the vectors, before the \
                 two lists are combined.",
            ),
            Field::new(
                "lexical_weight",
                Optional(Real::Share),
                |to: &mut Config| &mut to.retrieval.lexical_weight,
                "The keyword weight (BM25) in the combined score: 0 ranks by vectors only, 1 by words only.",
            )
            .tuned_from(DEFAULT_LEXICAL_WEIGHT),
            Field::new(
                "reranker",
                Optional(Text),
                |to: &mut Config| &mut to.retrieval.reranker,
                "The folder of a cross-encoder that puts the first hits in order. `tunesmith \
                 compare` leaves it out of a set whose dev questions it makes worse. If the key is \
                 left out, nothing is reranked.",
            )
            .example("\"models/ms-marco-MiniLM-L-6-v2\""),
            Field::new(
                "rerank_candidates",
                Integer(1..=1000),
                |to: &mut Config| &mut to.retrieval.rerank_candidates,
                "The number of hits that the reranker puts in order.",
            ),
            Field::new(
                "neighbours",
                Integer(0..=10),
                |to: &mut Config| &mut to.retrieval.neighbours,
                "The number of chunks before and after each passage that are read with it.",
            ),
            Field::new(
                "language",
                Language,
                |to: &mut Config| &mut to.retrieval.language,
                "The language of texts that are too short to detect it from, as an ISO 639-1 code.",
            ),
            Field::new(
                "abstain_below",
                Real::Share,
                |to: &mut Config| &mut to.retrieval.abstain_below,
                "`tunesmith ask` without a set gives no answer if the cosine similarity of the \
                 question and its best passage is below this.",
            ),
        ],
    }
}

fn training() -> Section<Config> {
    Section {
        name: "training",
        repeated: false,
        about: "How `tunesmith tune` and `tunesmith compare` train adapters.",
        fields: [optimiser(), limits_of_training()].into_iter().flatten().collect(),
    }
}

fn optimiser() -> Vec<Field<Config>> {
    vec![
        Field::new(
            "epochs",
            Integer(1..=1000),
            |to: &mut Config| &mut to.training.epochs,
            "The most times that each training example is seen. Training stops earlier if the \
             loss on dev no longer falls.",
        ),
        Field::new(
            "learning_rate",
            Real::Positive(1.0),
            |to: &mut Config| &mut to.training.learning_rate,
            "The highest learning rate, reached at the end of the warm-up.",
        ),
        Field::new(
            "rank",
            Integer(1..=1024),
            |to: &mut Config| &mut to.training.rank,
            "The rank of the adapter's matrices (LoRA).",
        ),
        Field::new(
            "alpha",
            Real::Positive(10_000.0),
            |to: &mut Config| &mut to.training.alpha,
            "The numerator of the adapter's scale, which is alpha / rank.",
        ),
        Field::new(
            "batch_tokens",
            COUNT,
            |to: &mut Config| &mut to.training.batch_tokens,
            "The most tokens of examples in one optimiser step. A longer example has a step of \
             its own.",
        ),
        Field::new(
            "patience",
            COUNT,
            |to: &mut Config| &mut to.training.patience,
            "Training stops after this many evaluations on dev without a new best.",
        ),
    ]
}

fn limits_of_training() -> Vec<Field<Config>> {
    vec![
        Field::new(
            "max_length",
            COUNT,
            |to: &mut Config| &mut to.training.max_length,
            "The most tokens of an example, prompt and answer together. Longer ones are refused.",
        ),
        Field::new(
            "max_examples",
            Optional(COUNT),
            |to: &mut Config| &mut to.training.max_examples,
            "The most training examples, taken in the order of the file. If it is left out, all \
             are used.",
        )
        .example("1000"),
        Field::new(
            "max_tokens",
            Optional(COUNT),
            |to: &mut Config| &mut to.training.max_tokens,
            "The most tokens run through the model in all epochs together, which limits the time \
             that a run takes. If it is left out, there is no limit.",
        )
        .example("240000"),
        Field::new(
            "seeds",
            Integer(1..=100),
            |to: &mut Config| &mut to.training.seeds,
            "The number of adapters that `compare` trains for each recipe, each from its own seed. \
             Those after the first are trained only for setups that are still in question.",
        ),
        Field::new(
            "max_minutes",
            Optional(COUNT),
            |to: &mut Config| &mut to.training.max_minutes,
            "The most minutes that `compare` trains for one set: adapters after the first of each \
             recipe are left out where they would take longer. If it is left out, there is no limit.",
        )
        .example("60"),
        Field::new(
            "learning_curve",
            Flag,
            |to: &mut Config| &mut to.training.learning_curve,
            "Where fine-tuning is due, `compare` also trains on an eighth, a quarter and a half of the \
             pairs, which takes about as long as one adapter, and foresees what more pairs would \
             bring.",
        ),
        Field::new(
            "control",
            Flag,
            |to: &mut Config| &mut to.training.control,
            "Before `compare` recommends a fine-tuned setup it trains it once more on the same \
             questions with shuffled answers: a setup that is not better than that has learnt \
             nothing from them.",
        ),
        Field::new(
            "gold_missing",
            Real::Share,
            |to: &mut Config| &mut to.training.gold_missing,
            "The share of `raft` prompts without the passage that holds the answer, from which \
             the model learns to answer without it.",
        ),
    ]
}

/// `[[collection]]`
pub(super) fn collection() -> Section<Collection> {
    Section {
        name: "collection",
        repeated: true,
        about: "Documents that can be searched apart from the others.",
        fields: vec![
            Field::new("name", Name, |to: &mut Collection| &mut to.name, "The collection's name.")
                .required()
                .example("\"handbook\""),
            Field::new(
                "documents",
                PATHS,
                |to: &mut Collection| &mut to.documents,
                "The documents to ingest into it, written as in `[project]`.",
            )
            .required()
            .example("[\"handbook/**/*.md\"]"),
            Field::new(
                "tags",
                List("tags"),
                |to: &mut Collection| &mut to.tags,
                "Tags of all its documents.",
            )
            .example("[\"internal\"]"),
        ],
    }
}

/// `[[system]]`
pub(super) fn system() -> Section<ForeignSystem> {
    Section {
        name: "system",
        repeated: true,
        about: "A system that is there already. Its answers to the test questions are compared \
                with those of the setups, and it may be what is recommended. `tunesmith questions \
                export SET --split test` writes what to answer.",
        fields: vec![
            Field::new("name", Name, |to: &mut ForeignSystem| &mut to.name, "The system's name.")
                .required()
                .example("\"helpdesk\""),
            Field::new(
                "answers",
                File,
                |to: &mut ForeignSystem| &mut to.answers,
                "The file with its answers. Each line is a JSON object with the `id` of the \
                 question and the `answer`, and if known `latency_seconds`, `cost` (in your \
                 currency) and `passages` (the texts that it read).",
            )
            .required()
            .example("\"answers/helpdesk.jsonl\""),
            Field::new(
                "set",
                Optional(Name),
                |to: &mut ForeignSystem| &mut to.set,
                "The set whose questions it answered. If it is left out, it takes part in every set \
                 that has questions with its ids.",
            )
            .example("\"facts\""),
            Field::new(
                "offline",
                Flag,
                |to: &mut ForeignSystem| &mut to.offline,
                "Whether it answers without a network.",
            ),
        ],
    }
}

/// `[[key]]`
pub(super) fn key() -> Section<Key> {
    Section {
        name: "key",
        repeated: true,
        about: "Somebody who may ask the server. As soon as there is one, nobody else may. \
                `tunesmith key new` makes a key and adds its table.",
        fields: vec![
            Field::new("name", Name, |to: &mut Key| &mut to.name, "The key's name, for people.")
                .required()
                .example("\"clerk\""),
            Field::new(
                "sha256",
                Sha256,
                |to: &mut Key| &mut to.sha256,
                "The SHA-256 of the key's secret, which is itself written nowhere.",
            )
            .required()
            .secret(),
            Field::new(
                "collections",
                Opened,
                |to: &mut Key| &mut to.access,
                "The collections that the key opens. If it is left out, it opens all.",
            )
            .example("[\"handbook\"]"),
        ],
    }
}
