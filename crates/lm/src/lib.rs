//! The engine: from model files to answers, vectors and trained weights, on the CPU.
//!
//! | room | question it answers |
//! |---|---|
//! | `files` | What is in a model file, and which model is it? |
//! | `language` | Which token ids does a text or a conversation become, and back? |
//! | `decoder` | What does a language model compute, forward and backward? |
//! | `encoder` | Which vector does a text get, which score a pair of texts, and how is that learnt? |
//! | `adapter` | What does a LoRA adapter hold, and how is it stored? |
//! | `inference` | Which answer does a prompt get, alone or beside others? |
//! | `training` | How do examples become an adapter? |
//! | `optim` | How far does a step move the weights? |
//! | `ops` | How is each operator of a layer computed, on whole matrices? |
//! | `kernels` | How is it computed fast, on this processor? |
//!
//! Three files stand beside them: `error`, `threads` (how many compute) and this one.

mod adapter;
mod decoder;
mod encoder;
mod error;
mod files;
mod inference;
mod kernels;
mod language;
mod ops;
mod optim;
mod threads;
mod training;

pub use error::{Cause, Error, Result};
pub use threads::{THREADS, computing_threads, on_computing_thread, start_threads};

// Models, and the language they speak.
pub use decoder::config::{Activation, DecoderConfig, RopeScaling, Sliding};
pub use decoder::kv_cache::KvCache;
pub use decoder::pack::{Pack, Segment};
pub use decoder::{BatchInput, Decoder, Loss, Workspace};
pub use encoder::{Encoder, Reranker};
pub use files::{Source, Tensor};
pub use kernels::{Isa, Precision};
pub use language::{ChatTemplate, Message, NEUTRAL_SYSTEM, Rendered, Role, TextStream, Tokenizer};

// Answers.
pub use inference::{
    Engine, EngineOptions, Event, FinishReason, GenerateOptions, Generation, Model, Stream,
};

// Training.
pub use adapter::{Adapter, Lora, LoraConfig, Module, Projection, changes_anything};
pub use encoder::{
    EmbedderEstimate, EmbedderOptions, EmbedderStep, EmbedderTraining, PlannedStep,
    TrainingQuestion,
};
pub use optim::{AdamW, AdamWOptions, Decay, Group, Schedule, clip_norm};
pub use training::{
    Checkpointing, DatasetErrors, Estimate, Evaluation, Example, Form, History, MemoryEstimate,
    RowError, StepRecord, TrainEvent, TrainOptions, Trained, TrainingRun, available_memory,
    parse_examples, peak_memory_of, read_examples, render_examples, show,
};
