//! Model files: GGUF and safetensors, seen as one source of tensors, and who they are.

pub(crate) mod float_file;
pub(crate) mod folder;
pub(crate) mod gguf;
pub(crate) mod identity;
pub(crate) mod safetensors;
pub(crate) mod source;
