//! What does a LoRA adapter hold, and how is it stored?
//!
//! [`Lora`] is the parameters and their places on a decoder's projections; [`Adapter`] is a `Lora`
//! read from or written to a folder in the layout of Hugging Face PEFT.

pub(crate) mod lora;
mod peft;

pub use lora::{Lora, LoraConfig, Module, Projection};
pub use peft::{Adapter, changes_anything};
