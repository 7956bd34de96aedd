//! Low-rank adapters: the trained factors, and the PEFT folder they are kept in.

pub(crate) mod lora;
pub(crate) mod peft;
