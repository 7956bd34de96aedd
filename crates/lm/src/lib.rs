//! The engine: model files, tokenizer, chat template, decoder, encoder, generation and LoRA training on the CPU.

mod config;
mod decoder;
mod encoder;
mod error;
mod kernels;
mod kv_cache;
mod lora;
mod pack;
mod source;
mod template;
mod tokenizer;

pub use config::{DecoderConfig, RopeScaling};
pub use decoder::{BatchInput, Decoder, Loss, Workspace};
pub use encoder::Encoder;
pub use error::{Error, Result};
pub use kernels::Precision;
pub use kv_cache::KvCache;
pub use lora::{Lora, LoraConfig, Module, Projection};
pub use pack::Pack;
pub use source::{Source, Tensor};
pub use template::{ChatTemplate, Message, Rendered, Role};
pub use tokenizer::Tokenizer;
