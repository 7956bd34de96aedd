//! Arithmetic on plain buffers: the only place with `unsafe`.
//!
//! Each kernel is chosen at run time from what the processor offers and has a scalar reference that
//! its tests compare it with. No kernel's result depends on the number of threads: a result element
//! is always computed by one thread, in one order.

mod bf16;
mod cached;
mod fused_lora;
mod gemm;
mod head_product;
mod int8;
mod isa;
mod low_bit;
mod rhs;
#[cfg(target_arch = "x86_64")]
mod self_attention;
mod spin_join;
mod vector;
mod weights;

use crate::{Error, Result};

#[cfg(target_arch = "x86_64")]
pub(crate) use bf16::heads;
pub(crate) use bf16::{Orientation, Rounded, outer};
pub(crate) use cached::{Form, Lines, WordRows, multiply};
pub(crate) use fused_lora::{FusedLora, FusedLoraBuffers, Member, Update};
pub(crate) use gemm::{MatMut, MatRef, Threads, Write, gemm};
pub(crate) use head_product::HeadProduct;
pub(crate) use int8::{Int8Panels, Int8Rows};
pub use isa::Isa;
pub(crate) use low_bit::{Bits, GROUP, Grid};
#[cfg(target_arch = "x86_64")]
pub(crate) use self_attention::self_attention;
pub(crate) use spin_join::spin_join;
pub(crate) use vector::{
    NormGradients, add, dot, dots, exp_shifted, geglu, geglu_backward, gelu, gelu_backward,
    layer_norm_backward_row, layer_norm_row, max, rms_norm_backward_row, rms_norm_row, rotate,
    scale, softmax_backward_row, swiglu, swiglu_backward, weighted_sum,
};
pub(crate) use weights::PackedWeights;

/// How the frozen weight matrices are held and multiplied. Everything else is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// What suits the machine: bf16 where the processor multiplies it itself (AVX-512 bf16), f32
    /// elsewhere; for embedders int8 where it multiplies that itself (AVX-512 VNNI).
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16 weights and inputs, products summed in f32. Runs everywhere; without AVX-512 bf16
    /// it saves memory and not time.
    Bf16,
    /// Eight-bit weights and inputs, products summed in f32 over groups. For encoders alone; runs
    /// everywhere, slowly without AVX-512 VNNI.
    Int8,
}

impl Precision {
    /// What `Auto` means on this machine for an embedder; the others mean themselves. Rankings lose
    /// nothing that matters by eight bits (`benches/retrieval/precision.py`, docs/log.md).
    pub(crate) fn resolve_for_embedder(self) -> Self {
        match self {
            Self::Auto if Isa::current() >= Isa::Avx512Vnni => Self::Int8,
            other => other.resolve(),
        }
    }

    /// `F32` or `Bf16`: what `Auto` means on this machine, but for embedders; the others mean
    /// themselves.
    pub fn resolve(self) -> Self {
        match self {
            Self::Auto if Isa::current() == Isa::Avx512Bf16 => Self::Bf16,
            Self::Auto => Self::F32,
            chosen => chosen,
        }
    }

    const NAMES: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("f32", Self::F32), ("bf16", Self::Bf16), ("int8", Self::Int8)];
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::NAMES.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, precision)| precision).ok_or_else(|| Error::Option {
            name: "precision",
            reason: format!("expected auto, int8, bf16 or f32, found {text:?}"),
        })
    }
}
