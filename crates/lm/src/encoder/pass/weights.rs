//! The weights that a pass runs over, while they are trained.

use crate::encoder::config::BertConfig;
use crate::encoder::parameters::ParameterLayout;

/// A model and its weights.
#[derive(Clone, Copy)]
pub(in crate::encoder) struct BertWeights<'a> {
    pub(in crate::encoder) config: &'a BertConfig,
    pub(in crate::encoder) layout: &'a ParameterLayout,
    /// All weights, as `layout` places them.
    pub(in crate::encoder) values: &'a [f32],
    /// Whether the factors of products with weights are rounded to bf16; everything else is f32.
    pub(in crate::encoder) rounded: bool,
}
