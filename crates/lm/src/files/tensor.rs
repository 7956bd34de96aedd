//! A tensor in memory, whatever file it came from.

/// A tensor in f32, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first: `[out, in]` for a linear layer.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub data: Vec<f32>,
}
