//! The operators of a decoder, forward and backward, over row-major buffers `[rows, width]`.

mod attention;
mod attention_backward;
#[cfg(target_arch = "x86_64")]
mod attention_in_bf16;
mod cached_attention;
mod cross_entropy;
mod low_rank;
mod packed;
mod rotary;
mod rows;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use attention::{AttentionOutput, Heads, Sequence, attention};
pub(crate) use attention_backward::{HeadGradients, Kept, PackedAttention};
pub(crate) use cached_attention::{CachedRows, cached_attention};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use low_rank::{AdaptedLinear, Adapters, Applied, LinearInputs, LoraBuffers};
pub(crate) use packed::{Layout, Span, sequences};
pub(crate) use rotary::Rotation;
pub(crate) use rows::{
    HeadNorms, add, add_bias, gated, gated_backward, rms_norm, rms_norm_backward,
};
