//! The engine: model files, tokenizer, chat template, decoder, encoder, generation, LoRA and
//! embedder training on the CPU.

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

pub use adapter::lora::{Lora, LoraConfig, Module, Projection};
pub use adapter::peft::{Adapter, changes_anything};
pub use decoder::config::{Activation, DecoderConfig, RopeScaling, Sliding};
pub use decoder::kv_cache::KvCache;
pub use decoder::pack::{Pack, Segment};
pub use decoder::{BatchInput, Decoder, Loss, Workspace};
pub use encoder::{
    EmbedderEstimate, EmbedderOptions, EmbedderStep, EmbedderTraining, Encoder, PlannedStep,
    Reranker, TrainingQuestion,
};
pub use error::{Error, Result};
pub use files::source::{Source, Tensor};
pub use inference::engine::{Engine, EngineOptions, Event, Stream};
pub use inference::generate::{FinishReason, GenerateOptions, Generation};
pub use inference::model::Model;
pub use kernels::{Isa, Precision};
pub use language::template::{ChatTemplate, Message, Rendered, Role};
pub use language::tokenizer::{TextStream, Tokenizer};
pub use optim::adamw::{AdamW, AdamWOptions, Group, clip_norm};
pub use optim::schedule::{Decay, Schedule};
pub use threads::{THREADS, computing_threads, on_computing_thread, start_threads};
pub use training::dataset::{
    DatasetErrors, Example, Form, RowError, parse_examples, read_examples, render_examples, show,
};
pub use training::{
    Checkpointing, Estimate, Evaluation, History, MemoryEstimate, StepRecord, TrainEvent,
    TrainOptions, Trained, TrainingRun, available_memory,
};
