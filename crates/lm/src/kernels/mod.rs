//! Arithmetic on plain buffers: the only place with `unsafe`.

/// How the frozen weight matrices are held and multiplied. Everything else is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// bf16 where the processor multiplies it natively (AVX-512 bf16), f32 elsewhere.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16 weights and inputs, products summed in f32. Runs everywhere, slowly without AVX-512 bf16.
    Bf16,
}
