//! What a training step keeps of each layer until its backward pass.

use super::layer::Activations;
use crate::Precision;
use crate::kernels::Rounded;

/// Activations of one layer between its forward and its backward pass. With weights in bf16 those that only go into
/// products, norms and gates again are kept in bf16 too, which halves most of a training step's memory; queries and
/// keys stay as they were, because attention is recomputed from them and its log-sum-exps must fit.
#[derive(Debug, Default)]
pub(super) struct Stash {
    exact: Activations,
    rounded: [Rounded; 4],
    lengths: [usize; 4],
}

/// The parts that may be rounded.
fn parts(activations: &mut Activations) -> [&mut Vec<f32>; 4] {
    let Activations { input, attended, middle, gate_up, .. } = activations;
    [input, attended, middle, gate_up]
}

impl Stash {
    /// Takes what the layer's forward pass over `rows` rows left; `activations` gets buffers for the next one.
    pub(super) fn keep(&mut self, precision: Precision, rows: usize, activations: &mut Activations) {
        std::mem::swap(&mut self.exact, activations);
        if precision == Precision::Bf16 {
            let rounded = self.rounded.iter_mut().zip(&mut self.lengths);
            let given = parts(activations).into_iter().zip(parts(&mut self.exact));
            for ((rounded, length), (back, part)) in rounded.zip(given) {
                rounded.fill(rows, part.len() / rows, part);
                *length = part.len();
                // The next layer works in the same buffer.
                std::mem::swap(back, part);
            }
        }
    }

    /// Gives it back to `activations`.
    pub(super) fn restore(&mut self, precision: Precision, rows: usize, activations: &mut Activations) {
        if precision == Precision::Bf16 {
            let given = parts(activations).into_iter().zip(parts(&mut self.exact));
            for ((rounded, &length), (back, part)) in self.rounded.iter().zip(&self.lengths).zip(given) {
                std::mem::swap(back, part);
                part.resize(length, 0.0);
                rounded.expand(rows, length / rows, part);
            }
        }
        std::mem::swap(&mut self.exact, activations);
    }
}
