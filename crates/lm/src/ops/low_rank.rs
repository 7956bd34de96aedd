//! Products of frozen weights with low-rank adapters (LoRA, Hu et al. 2021) beside them, and their
//! gradients.

use rayon::prelude::*;

use crate::Lora;
use crate::adapter::lora::Group;
use crate::kernels::{
    FusedLora, FusedLoraBuffers, MatMut, MatRef, Member, Orientation, PackedWeights, Threads,
    Update, Write, dots, gemm, outer,
};

/// Up to this many rows, row by row is faster than a general product.
const FEW_ROWS: usize = 8;

/// An adapter, and how it is multiplied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) lora: &'a Lora,
    /// Whether it may be rounded like the frozen weights and packed for one product with them,
    /// which pays for the many rows of a training step.
    pub(crate) fused: bool,
}

/// The adapters of a batch's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Adapters<'a> {
    /// One, or none, for all rows of a prompt or a pack: products are chosen by the number of rows.
    One(Option<Applied<'a>>),
    /// One, or none, for each row: tokens of answers, which get the same bits alone and among
    /// others.
    Each(&'a [Option<&'a Lora>]),
}

/// A group of projections of one layer, which read the same input, and the adapters of its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptedLinear<'a> {
    pub(crate) weights: &'a PackedWeights,
    pub(crate) layer: usize,
    pub(crate) group: Group,
    pub(crate) adapters: Adapters<'a>,
}

/// A group of projections of one layer, and the one adapter of all rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoraLinear<'a> {
    weights: &'a PackedWeights,
    adapter: LoraOperand<'a>,
    fused: bool,
}

/// What the backward pass of a [`LoraLinear`] needs of its forward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinearInputs<'a> {
    /// `[rows, inputs]`
    pub(crate) x: MatRef<'a>,
    /// The low-rank products `x Aᵀ`, `[rows, ranks]`.
    pub(crate) low: &'a [f32],
}

/// Buffers of products with adapters.
#[derive(Debug, Default)]
pub(crate) struct LoraBuffers {
    pub(crate) fused: FusedLoraBuffers,
    /// Gradients of the low-rank products.
    d_low: Vec<f32>,
}

impl<'a> AdaptedLinear<'a> {
    /// `y = x Wᵀ` or `y += x Wᵀ`, plus the adapters' part; `x` is `[rows, inputs]`, `y` `[rows,
    /// outputs]`, and nothing may lie between their rows. `low` receives what
    /// [`LoraLinear::backward`] needs, where one adapter holds for all rows.
    pub(crate) fn forward(
        self,
        x: MatRef<'_>,
        mut y: MatMut<'_>,
        write: Write,
        low: &mut Vec<f32>,
        buffers: &mut LoraBuffers,
    ) {
        let rounded = &mut buffers.fused.rounded;
        match self.adapters {
            Adapters::One(None) => self.weights.forward(x, y, write, rounded),
            Adapters::One(Some(applied)) => self.with(applied).forward(x, y, write, low, buffers),
            Adapters::Each(loras) => {
                self.weights.forward_alike(x, y.reborrow(), write, rounded);
                self.add_each(loras, x, y);
            }
        }
    }

    /// With `applied` for all rows.
    pub(crate) fn with(self, applied: Applied<'a>) -> LoraLinear<'a> {
        let Applied { lora, fused } = applied;
        let adapter = LoraOperand { lora, layer: self.layer, group: self.group };
        LoraLinear { weights: self.weights, adapter, fused }
    }

    /// Adds to each row the part of its own adapter.
    fn add_each(self, loras: &[Option<&Lora>], x: MatRef<'_>, y: MatMut<'_>) {
        if loras.iter().all(Option::is_none) {
            return;
        }
        let (inputs, outputs) = (self.weights.inputs(), self.weights.outputs());
        let rows = x.as_slice().par_chunks_exact(inputs);
        let rows = rows.zip(y.into_slice().par_chunks_exact_mut(outputs)).zip(loras);
        rows.for_each(|((x, y), lora)| {
            if let Some(lora) = lora {
                let adapter = LoraOperand { lora, layer: self.layer, group: self.group };
                let (x, y) = (MatRef::new(x, 1, inputs), MatMut::new(y, 1, outputs));
                adapter.add(x, y, &mut Vec::new());
            }
        });
    }
}

impl LoraLinear<'_> {
    /// As [`AdaptedLinear::forward`].
    fn forward(
        self,
        x: MatRef<'_>,
        mut y: MatMut<'_>,
        write: Write,
        low: &mut Vec<f32>,
        buffers: &mut LoraBuffers,
    ) {
        let buffers = &mut buffers.fused;
        if let Some(fused) = self.fuse() {
            low.resize(x.rows() * fused.ranks(), 0.0);
            return fused.forward(x, low, y, write, buffers);
        }
        self.weights.forward(x, y.reborrow(), write, &mut buffers.rounded);
        self.adapter.add(x, y, low);
    }

    /// Gradients of the forward pass for the gradient `dy` of its result: that of `x` goes to `dx`,
    /// where one is wanted, those of the adapter's parameters are added to `grads`.
    pub(crate) fn backward(
        self,
        kept: LinearInputs<'_>,
        dy: MatRef<'_>,
        mut dx: Option<MatMut<'_>>,
        grads: &mut [f32],
        buffers: &mut LoraBuffers,
    ) {
        let LoraBuffers { fused: buffers, d_low } = buffers;
        let LoraOperand { lora, layer, group } = self.adapter;
        let Some(fused) = self.fuse() else {
            if let Some(dx) = &mut dx {
                self.weights.backward(dy, dx.reborrow(), Write::Set, &mut buffers.rounded);
            }
            return self.adapter.backward(kept, dy, dx, grads, d_low);
        };
        let (LinearInputs { x, low }, rows) = (kept, dy.rows());
        d_low.resize(rows * fused.ranks(), 0.0);
        fused.backward(dy, d_low, dx, buffers);
        let Some(stack) = lora.stack(layer, group) else { return };
        let rank = lora.config().rank;
        let low = MatRef::new(low, rows, stack.rank);
        for (i, (module, column)) in stack.members.into_iter().enumerate() {
            let (low, dy) =
                (low.columns_from(i * rank, rank), dy.columns_from(column, module.outputs));
            let db = MatMut::new(&mut grads[module.b.clone()], module.outputs, rank);
            outer(db, Orientation::Transposed, lora.scaling(), low, dy);
        }
        let d_low = MatRef::new(d_low, rows, stack.rank);
        let da = MatMut::new(&mut grads[stack.a], stack.rank, x.columns());
        outer(da, Orientation::Straight, 1.0, d_low, x);
    }

    /// The frozen weights with the adapter in one product, where that is wanted and possible.
    fn fuse(&self) -> Option<FusedLora<'_>> {
        let LoraOperand { lora, layer, group } = self.adapter;
        let stack = lora.stack(layer, group).filter(|_| self.fused)?;
        let members = stack.members.iter().map(|&(module, column)| Member {
            b: &lora.params[module.b.clone()],
            column,
            outputs: module.outputs,
        });
        self.weights.with(Update {
            a: MatRef::new(&lora.params[stack.a.clone()], stack.rank, self.weights.inputs()),
            rank: lora.config().rank,
            scaling: lora.scaling(),
            members: members.collect(),
        })
    }
}

/// The part of an adapter that belongs to one group of projections of one layer.
#[derive(Debug, Clone, Copy)]
struct LoraOperand<'a> {
    lora: &'a Lora,
    layer: usize,
    group: Group,
}

impl LoraOperand<'_> {
    /// `y += (x Aᵀ) Bᵀ * scaling` for each adapted member of the group.
    ///
    /// `x` is `[rows, inputs]`; `y` is `[rows, width]`, the members' outputs side by side; `low`
    /// receives `x Aᵀ` `[rows, ranks]`, which the backward pass needs.
    fn add(self, x: MatRef<'_>, mut y: MatMut<'_>, low: &mut Vec<f32>) {
        let lora = self.lora;
        let Some(stack) = lora.stack(self.layer, self.group) else { return };
        let (rows, rank) = (x.rows(), lora.config().rank);
        low.resize(rows * stack.rank, 0.0);
        let a = MatRef::new(&lora.params[stack.a], stack.rank, x.columns());
        let b = |module: &crate::adapter::lora::Module| {
            MatRef::new(&lora.params[module.b.clone()], module.outputs, rank)
        };
        if rows <= FEW_ROWS {
            for (row, low) in low.chunks_exact_mut(stack.rank).enumerate() {
                let y = y.row_mut(row);
                dots(a, x.row(row), 1.0, low, Write::Set);
                for (&(module, column), low) in stack.members.iter().zip(low.chunks_exact(rank)) {
                    let y = &mut y[column..column + module.outputs];
                    dots(b(module), low, lora.scaling(), y, Write::Add);
                }
            }
            return;
        }
        let mut low = MatMut::new(low, rows, stack.rank);
        gemm(low.reborrow(), Write::Set, x.times(a.t()), Threads::All);
        for (i, (module, column)) in stack.members.into_iter().enumerate() {
            let low = low.as_ref().columns_from(i * rank, rank);
            let y = y.columns_from(column, module.outputs);
            gemm(y, Write::Add, low.times(b(module).t()).scaled(lora.scaling()), Threads::All);
        }
    }

    /// Gradients of [`add`](Self::add): adds those of the parameters to `grads` and that of `x` to
    /// `dx`, where one is wanted. `d_low` is a buffer.
    fn backward(
        self,
        kept: LinearInputs<'_>,
        dy: MatRef<'_>,
        dx: Option<MatMut<'_>>,
        grads: &mut [f32],
        d_low: &mut Vec<f32>,
    ) {
        let lora = self.lora;
        let Some(stack) = lora.stack(self.layer, self.group) else { return };
        let (LinearInputs { x, low }, rows, rank) = (kept, dy.rows(), lora.config().rank);
        d_low.resize(rows * stack.rank, 0.0);
        let low = MatRef::new(low, rows, stack.rank);
        let mut d_low = MatMut::new(d_low, rows, stack.rank);
        for (i, (module, column)) in stack.members.into_iter().enumerate() {
            let (dy, low) =
                (dy.columns_from(column, module.outputs), low.columns_from(i * rank, rank));
            let db = MatMut::new(&mut grads[module.b.clone()], module.outputs, rank);
            gemm(db, Write::Add, dy.t().times(low).scaled(lora.scaling()), Threads::All);
            let b = MatRef::new(&lora.params[module.b.clone()], module.outputs, rank);
            let d_low = d_low.columns_from(i * rank, rank);
            gemm(d_low, Write::Set, dy.times(b).scaled(lora.scaling()), Threads::All);
        }
        let d_low = d_low.as_ref();
        let da = MatMut::new(&mut grads[stack.a.clone()], stack.rank, x.columns());
        gemm(da, Write::Add, d_low.t().times(x), Threads::All);
        if let Some(dx) = dx {
            let a = MatRef::new(&lora.params[stack.a], stack.rank, x.columns());
            gemm(dx, Write::Add, d_low.times(a), Threads::All);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_gradient, noise};
    use crate::{DecoderConfig, LoraConfig, Projection};

    #[test]
    fn gradients_match_differences_for_every_group_and_choice_of_targets() {
        use Projection::{Down, Gate, Key, Output, Query, Up, Value};
        let decoder = DecoderConfig::tiny();
        let choices =
            [Projection::ALL.to_vec(), vec![Query, Value], vec![Key, Up, Down], vec![Gate, Output]];
        for targets in choices {
            let config = LoraConfig { rank: 3, alpha: 5.0, targets };
            let mut lora = Lora::new(&decoder, config, 1).unwrap();
            lora.params = noise(2, lora.params.len());
            for (group, inputs, width) in [
                (Group::Qkv, 24, 80),
                (Group::Output, 48, 24),
                (Group::GateUp, 24, 80),
                (Group::Down, 40, 24),
            ] {
                for rows in [5, 11] {
                    let (x, dy) = (noise(3, rows * inputs), noise(4, rows * width));
                    let (mut low, mut y) = (Vec::new(), vec![0.0; rows * width]);
                    let add = |lora: &Lora, x: &[f32], y: &mut [f32], low: &mut Vec<f32>| {
                        let (x, y) = (MatRef::new(x, rows, inputs), MatMut::new(y, rows, width));
                        LoraOperand { lora, layer: 1, group }.add(x, y, low);
                    };
                    add(&lora, &x, &mut y, &mut low);
                    let (mut dx, mut grads) = (vec![0.0; x.len()], vec![0.0; lora.params.len()]);
                    let d_low = &mut Vec::new();
                    let kept = LinearInputs { x: MatRef::new(&x, rows, inputs), low: &low };
                    let (dy_rows, dx_rows) =
                        (MatRef::new(&dy, rows, width), MatMut::new(&mut dx, rows, inputs));
                    let operand = LoraOperand { lora: &lora, layer: 1, group };
                    operand.backward(kept, dy_rows, Some(dx_rows), &mut grads, d_low);
                    assert_gradient(&x, &dy, &dx, 1e-2, |x, y| {
                        y.fill(0.0);
                        add(&lora, x, y, &mut low);
                    });
                    let mut other = lora.clone();
                    assert_gradient(&lora.params, &dy, &grads, 1e-2, |params, y| {
                        y.fill(0.0);
                        other.params.copy_from_slice(params);
                        add(&other, &x, y, &mut low);
                    });
                }
            }
        }
    }
}
