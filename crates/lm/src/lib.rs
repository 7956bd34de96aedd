//! The engine: model files, tokenizer, chat template, decoder, encoder, generation and LoRA training on the CPU.

mod config;
mod encoder;
mod error;
mod source;
mod template;
mod tokenizer;

pub use config::{DecoderConfig, RopeScaling};
pub use encoder::Encoder;
pub use error::{Error, Result};
pub use source::{Source, Tensor};
pub use template::{ChatTemplate, Message, Rendered, Role};
pub use tokenizer::Tokenizer;
