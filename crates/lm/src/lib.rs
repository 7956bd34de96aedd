//! The engine: model files, tokenizer, chat template, decoder, encoder, generation, LoRA and
//! embedder training on the CPU.

mod adapter;
mod checkpoint;
mod config;
mod dataset;
mod decoder;
mod encoder;
mod engine;
mod error;
mod float_file;
mod folder;
mod generate;
mod gguf;
mod identity;
mod kernels;
mod kv_cache;
mod lookup;
mod lora;
mod model;
mod ops;
mod optimizer;
mod pack;
mod packing;
mod prefixes;
mod safetensors;
mod sample;
mod schedule;
mod source;
mod template;
mod threads;
mod tiny;
mod tokenizer;
mod train;

pub use adapter::{Adapter, changes_anything};
pub use config::{Activation, DecoderConfig, RopeScaling, Sliding};
pub use dataset::{
    DatasetErrors, Example, Form, RowError, parse_examples, read_examples, render_examples, show,
};
pub use decoder::{BatchInput, Decoder, Loss, Workspace};
pub use encoder::{
    EmbedderEstimate, EmbedderOptions, EmbedderStep, EmbedderTraining, Encoder, PlannedStep,
    Reranker, TrainingQuestion,
};
pub use engine::{Engine, EngineOptions, Event, Stream};
pub use error::{Error, Result};
pub use generate::{FinishReason, GenerateOptions, Generation};
pub use kernels::{Isa, Precision};
pub use kv_cache::KvCache;
pub use lora::{Lora, LoraConfig, Module, Projection};
pub use model::Model;
pub use optimizer::{AdamW, AdamWOptions, Group, clip_norm};
pub use pack::{Pack, Segment};
pub use schedule::{Decay, Schedule};
pub use source::{Source, Tensor};
pub use template::{ChatTemplate, Message, Rendered, Role};
pub use threads::{THREADS, computing_threads, on_computing_thread, start_threads};
pub use tokenizer::{TextStream, Tokenizer};
pub use train::{
    Checkpointing, Estimate, Evaluation, History, MemoryEstimate, StepRecord, TrainEvent,
    TrainOptions, Trained, TrainingRun, available_memory,
};
