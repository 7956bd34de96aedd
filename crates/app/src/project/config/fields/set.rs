//! The keys of `[[set]]`.

use std::path::PathBuf;

use eval::Tolerance;

use super::PASSAGES;
use crate::project::config::SetConfig;
use crate::project::config::field::{Field, Section, Template};
use crate::project::config::kinds::{
    COUNT, File, Flag, Integer, List, Mebibytes, Name, OneOf, Optional, Real, Text, Within,
};

/// A `[[set]]` as it is written: which of the files are named is looked at once all are known.
#[derive(Default)]
pub(in crate::project::config) struct WrittenSet {
    pub(in crate::project::config) set: SetConfig,
    pub(in crate::project::config) questions: Option<PathBuf>,
    pub(in crate::project::config) train: Option<PathBuf>,
    pub(in crate::project::config) dev: Option<PathBuf>,
    pub(in crate::project::config) test: Option<PathBuf>,
    pub(in crate::project::config) tolerance: Option<Tolerance>,
}

/// `[[set]]`
pub(in crate::project::config) fn set() -> Section<WrittenSet> {
    Section {
        name: "set",
        repeated: true,
        about: "A set of questions with their answers, and what you need from it.",
        fields: [
            questions_of_set(),
            needs_of_set(),
            grading_of_set(),
            limits_of_set(),
            answers_of_set(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn questions_of_set() -> Vec<Field<WrittenSet>> {
    vec![
        Field::new(
            "name",
            Name,
            |to: &mut WrittenSet| &mut to.set.name,
            "The set's name, which is also the name of a folder.",
        )
        .required()
        .example("\"facts\""),
        Field::new(
            "questions",
            Optional(File),
            |to: &mut WrittenSet| &mut to.questions,
            "The file with its questions. Each row may name its split; rows that do not are split \
             by group. Instead of this key, `train`, `dev` and `test` may name three files.",
        )
        .example("\"questions/facts.jsonl\""),
        Field::new(
            "train",
            Optional(File),
            |to: &mut WrittenSet| &mut to.train,
            "The file to train on.",
        )
        .example("\"questions/train.jsonl\"")
        .template(Template::Absent),
        Field::new(
            "dev",
            Optional(File),
            |to: &mut WrittenSet| &mut to.dev,
            "The file for every choice that is made before the comparison.",
        )
        .example("\"questions/dev.jsonl\"")
        .template(Template::Absent),
        Field::new(
            "test",
            Optional(File),
            |to: &mut WrittenSet| &mut to.test,
            "The file for the comparison.",
        )
        .example("\"questions/test.jsonl\"")
        .template(Template::Absent),
        Field::new(
            "collections",
            Optional(List("names of collections")),
            |to: &mut WrittenSet| &mut to.set.collections,
            "Its questions are answered from these collections alone. If the key is left out, all \
             are searched.",
        )
        .example("[\"handbook\"]"),
    ]
}

fn needs_of_set() -> Vec<Field<WrittenSet>> {
    vec![
        Field::new(
            "measure",
            OneOf(&["exact", "f1", "contains", "label", "numeric", "rouge-l", "json", "command"]),
            |to: &mut WrittenSet| &mut to.set.measure,
            "How an answer is scored.",
        )
        .required()
        .example("\"contains\""),
        Field::new(
            "target",
            Optional(Real::Positive(1.0)),
            |to: &mut WrittenSet| &mut to.set.target,
            "The score that you need. If it is left out, more is always better.",
        )
        .example("0.6"),
        Field::new(
            "margin",
            Real::Margin,
            |to: &mut WrittenSet| &mut to.set.margin,
            "Differences in score up to this do not matter to you.",
        ),
        Field::new(
            "expected_queries",
            COUNT,
            |to: &mut WrittenSet| &mut to.set.expected_queries,
            "The number of questions that you expect to ask: training time is spread over them.",
        ),
    ]
}

fn limits_of_set() -> Vec<Field<WrittenSet>> {
    vec![
        Field::new(
            "slice",
            Optional(Text),
            |to: &mut WrittenSet| &mut to.set.slice,
            "A field of the rows, such as a product or a language. The report shows the score on the \
             questions of each of its values, the worst first.",
        )
        .example("\"product\""),
        Field::new(
            "max_latency_seconds",
            Optional(Real::Positive(86_400.0)),
            |to: &mut WrittenSet| &mut to.set.limits.p95_latency_seconds,
            "A hard limit: of 100 answers, 95 take no longer than this. A setup that breaks a hard \
             limit, or for which it was not measured, is not recommended.",
        )
        .example("2.0"),
        Field::new(
            "max_memory_mib",
            Optional(Mebibytes),
            |to: &mut WrittenSet| &mut to.set.limits.memory_bytes,
            "A hard limit: the most memory that answering takes, in MiB.",
        )
        .example("2048"),
        Field::new(
            "max_freshness_seconds",
            Optional(Real::Positive(31_557_600.0)),
            |to: &mut WrittenSet| &mut to.set.limits.freshness_seconds,
            "A hard limit: the longest time from an edited document to the next answer, reckoned \
             from the time to index or train again and to answer.",
        )
        .example("60.0"),
        Field::new(
            "max_forgetting",
            Optional(Real::Share),
            |to: &mut WrittenSet| &mut to.set.limits.forgetting,
            "A hard limit: the most that fine-tuning may lose on the set named by `general`.",
        )
        .example("0.05"),
        Field::new(
            "general",
            Optional(Name),
            |to: &mut WrittenSet| &mut to.set.general,
            "Another set, whose dev questions show what a fine-tuned model has forgotten: they are \
             asked of it and of the base model, without passages.",
        )
        .example("\"small-talk\"")
        .template(Template::Absent),
        Field::new(
            "citations",
            Flag,
            |to: &mut WrittenSet| &mut to.set.limits.citations,
            "A hard limit: answers must come from passages, so that they can be cited.",
        ),
        Field::new(
            "offline",
            Flag,
            |to: &mut WrittenSet| &mut to.set.limits.offline,
            "A hard limit: answers must not need a network.",
        ),
    ]
}

fn grading_of_set() -> Vec<Field<WrittenSet>> {
    vec![
        Field::new(
            "tolerance",
            Optional(Within),
            |to: &mut WrittenSet| &mut to.tolerance,
            "How far a number may be off with the measure `numeric`: by so much, or by a \
             percentage of the expected number. If it is left out, the numbers must be the same.",
        )
        .example("\"1%\"")
        .template(Template::Absent),
        Field::new(
            "schema",
            Optional(File),
            |to: &mut WrittenSet| &mut to.set.schema,
            "The JSON schema of the answers with the measure `json`. An answer that breaks it \
             scores 0. If it is left out, any JSON is accepted, and its fields are compared.",
        )
        .example("\"schema.json\"")
        .template(Template::Absent),
        Field::new(
            "command",
            Optional(List("texts: a program and its arguments")),
            |to: &mut WrittenSet| &mut to.set.command,
            "The program that scores answers with the measure `command`. It runs in the project's \
             folder, without a shell, reads lines `{\"id\", \"question\", \"answer\", \
             \"expected\"}` and writes a line `{\"id\", \"score\"}` for each, with a score from 0 to \
             1.",
        )
        .example("[\"python3\", \"grade.py\"]")
        .template(Template::Absent),
        Field::new(
            "command_seconds",
            Integer(1..=86_400),
            |to: &mut WrittenSet| &mut to.set.command_seconds,
            "The seconds that this program may take for all answers it is asked about at once. \
             Answers without a score by then are missing, not wrong.",
        )
        .template(Template::Absent),
    ]
}

fn answers_of_set() -> Vec<Field<WrittenSet>> {
    vec![
        Field::new(
            "instruction",
            Optional(Text),
            |to: &mut WrittenSet| &mut to.set.instruction,
            "The system prompt. If it is left out, each question's own is used.",
        )
        .example("\"Answer the question in a few words.\""),
        Field::new(
            "max_tokens",
            Optional(Integer(1..=100_000)),
            |to: &mut WrittenSet| &mut to.set.max_tokens,
            "The most tokens of an answer. An answer that is cut there is wrong. If the key is \
             left out, `tunesmith compare` takes the length of the longest training answer and adds \
             some room.",
        )
        .example("48"),
        Field::new(
            "shots",
            Integer(1..=64),
            |to: &mut WrittenSet| &mut to.set.shots,
            "The number of training examples in the prompts of the setup `few-shot`.",
        ),
        Field::new(
            "name_labels",
            Integer(0..=1000),
            |to: &mut WrittenSet| &mut to.set.name_labels,
            "With the measure `label`, the system prompt of every setup names the labels of the \
             training answers if there are no more than this. With 0 it never does.",
        ),
        Field::new(
            "passages",
            Optional(PASSAGES),
            |to: &mut WrittenSet| &mut to.set.passages,
            "The number of passages in a prompt. If it is left out, that of `[retrieval]` holds.",
        )
        .example("3"),
        Field::new(
            "abstain_below",
            Optional(Real::Share),
            |to: &mut WrittenSet| &mut to.set.abstain_below,
            "No answer is given if the cosine similarity of the question and its best passage is \
             below this. If it is left out, the value that `tunesmith eval citations --calibrate` \
             chose holds, and before that every question is answered.",
        )
        .example("0.5"),
    ]
}
