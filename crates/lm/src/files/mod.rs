//! Model files: what is in them, and which model are they?
//!
//! In go paths of GGUF files and of Hugging Face folders; out come configuration, tokenizer, chat
//! template and tensors ([`Source`]), whatever the format, and a hash that names the model. Floats
//! of checkpoints and adapters are written here too ([`float_file`]).

pub(crate) mod float_file;
mod folder;
pub(crate) mod gguf;
mod identity;
mod safetensors;
mod save;
pub(crate) mod source;
mod tensor;

pub(crate) use folder::read_json;
pub(crate) use identity::{Identity, fingerprint};
pub(crate) use safetensors::Shards;
pub use source::Source;
pub(crate) use source::{Parts, Weights, check_vocabulary};
pub use tensor::Tensor;
