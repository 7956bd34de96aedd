//! Formats whose file is already its canonical text, byte for byte: only the blocks are looked for.

pub(crate) mod code;
pub(crate) mod markdown;
pub(crate) mod plain;
pub(crate) mod rst;
