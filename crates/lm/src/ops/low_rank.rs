//! Products of a frozen matrix with a low-rank adapter beside it, and their gradients.

use rayon::prelude::*;

use crate::Lora;
use crate::adapter::lora::Group;
use crate::kernels::{
    Adapted, AdaptedBuffers, Frozen, MatMut, MatRef, Member, Orientation, Threads, Update, dots,
    gemm, outer,
};

/// Up to this many rows, row by row is faster than a general product.
const FEW_ROWS: usize = 8;

/// The adapter to be applied, and to which projections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adapter<'a> {
    pub(crate) lora: &'a Lora,
    pub(crate) layer: usize,
    pub(crate) group: Group,
    /// Whether it may be rounded like the frozen weights and packed for one product with them,
    /// which pays for the many rows of a training step.
    pub(crate) joined: bool,
}

impl Adapter<'_> {
    /// The frozen matrix with this adapter in one product, where that is wanted and possible.
    fn join<'a>(&'a self, frozen: &'a Frozen) -> Option<Adapted<'a>> {
        let Self { lora, layer, group, joined } = self;
        let stack = lora.stack(*layer, *group).filter(|_| *joined)?;
        let members = stack.members.iter().map(|&(module, column)| Member {
            b: &lora.params[module.b.clone()],
            column,
            outputs: module.outputs,
        });
        frozen.with(Update {
            a: &lora.params[stack.a.clone()],
            rank: lora.config().rank,
            scaling: lora.scaling(),
            members: members.collect(),
        })
    }
}

/// A group's output: `y = x Wᵀ`, or `y += …` when `accumulate`, plus the adapter's part. `x` is
/// `[rows, inputs]`, `y` `[rows, outputs]`; `low` receives what [`project_backward`] needs.
#[allow(clippy::too_many_arguments)] // the operands of one product
pub(crate) fn project(
    frozen: &Frozen,
    adapter: Option<Adapter<'_>>,
    rows: usize,
    x: &[f32],
    y: &mut [f32],
    accumulate: bool,
    low: &mut [Vec<f32>; 4],
    buffers: &mut AdaptedBuffers,
) {
    let Some(adapter) = adapter else {
        return frozen.forward(rows, x, y, accumulate, &mut buffers.rounded);
    };
    let Adapter { lora, layer, group, .. } = adapter;
    let low = &mut low[group as usize];
    if let Some(adapted) = adapter.join(frozen) {
        low.resize(rows * adapted.ranks(), 0.0);
        return adapted.forward(rows, x, low, y, accumulate, buffers);
    }
    frozen.forward(rows, x, y, accumulate, &mut buffers.rounded);
    low_rank(lora, layer, group, rows, x, y, low);
}

/// Like [`project`] for tokens of answers, each under an adapter of its own or none: every row gets
/// the same bits alone and among others.
#[allow(clippy::too_many_arguments)] // the operands of one product
pub(crate) fn project_each(
    frozen: &Frozen,
    (layer, group): (usize, Group),
    adapters: &[Option<&Lora>],
    x: &[f32],
    y: &mut [f32],
    accumulate: bool,
    buffers: &mut AdaptedBuffers,
) {
    frozen.forward_alike(adapters.len(), x, y, accumulate, &mut buffers.rounded);
    if adapters.iter().all(Option::is_none) {
        return;
    }
    let rows = x.par_chunks_exact(frozen.inputs()).zip(y.par_chunks_exact_mut(frozen.outputs()));
    rows.zip(adapters).for_each(|((x, y), adapter)| {
        if let Some(lora) = adapter {
            low_rank(lora, layer, group, 1, x, y, &mut Vec::new());
        }
    });
}

/// Gradients of [`project`]: that of `x` goes to `dx`, where one is wanted, those of the adapter's
/// parameters are added to `grads`. `low` is what the forward pass left; `d_low` is a buffer.
#[allow(clippy::too_many_arguments)] // the operands of one product and its gradients
pub(crate) fn project_backward(
    frozen: &Frozen,
    adapter: Adapter<'_>,
    rows: usize,
    x: &[f32],
    low: &[Vec<f32>; 4],
    dy: &[f32],
    mut dx: Option<&mut [f32]>,
    grads: &mut [f32],
    d_low: &mut Vec<f32>,
    buffers: &mut AdaptedBuffers,
) {
    let Adapter { lora, layer, group, .. } = adapter;
    let low = &low[group as usize];
    let Some(adapted) = adapter.join(frozen) else {
        if let Some(dx) = dx.as_deref_mut() {
            frozen.backward(rows, dy, dx, false, &mut buffers.rounded);
        }
        return low_rank_backward(lora, layer, group, rows, x, low, dy, dx, grads, d_low);
    };
    d_low.resize(rows * adapted.ranks(), 0.0);
    adapted.backward(rows, dy, d_low, dx, buffers);
    let Some(stack) = lora.stack(layer, group) else { return };
    let (inputs, width, rank) = (frozen.inputs(), frozen.outputs(), lora.config().rank);
    for (i, (module, column)) in stack.members.into_iter().enumerate() {
        let low = MatRef::strided(&low[i * rank..], rows, rank, stack.rank);
        let dy = MatRef::strided(&dy[column..], rows, module.outputs, width);
        let db = MatMut::new(&mut grads[module.b.clone()], module.outputs, rank);
        outer(db, Orientation::Transposed, lora.scaling(), low, dy);
    }
    let (d_low, x) = (MatRef::new(d_low, rows, stack.rank), MatRef::new(x, rows, inputs));
    let da = MatMut::new(&mut grads[stack.a], stack.rank, inputs);
    outer(da, Orientation::Straight, 1.0, d_low, x);
}

/// Adds an adapter's part to a group's output: `y += (x Aᵀ) Bᵀ * scaling` for each adapted member.
///
/// `x` is `[rows, inputs]`; `y` is `[rows, width]`, the members' outputs side by side; `low`
/// receives `x Aᵀ` `[rows, ranks]`, which the backward pass needs.
fn low_rank(
    lora: &Lora,
    layer: usize,
    group: Group,
    rows: usize,
    x: &[f32],
    y: &mut [f32],
    low: &mut Vec<f32>,
) {
    let Some(stack) = lora.stack(layer, group) else { return };
    let (inputs, width) = (x.len() / rows, y.len() / rows);
    low.resize(rows * stack.rank, 0.0);
    if rows <= FEW_ROWS {
        let lines = x.chunks_exact(inputs).zip(y.chunks_exact_mut(width));
        for ((x, y), low) in lines.zip(low.chunks_exact_mut(stack.rank)) {
            dots(&lora.params[stack.a.clone()], inputs, x, 1.0, false, low);
            let rank = lora.config().rank;
            for (&(module, column), low) in stack.members.iter().zip(low.chunks_exact(rank)) {
                let y = &mut y[column..column + module.outputs];
                dots(&lora.params[module.b.clone()], rank, low, lora.scaling(), true, y);
            }
        }
        return;
    }
    let a = MatRef::new(&lora.params[stack.a], stack.rank, inputs);
    gemm(
        MatMut::new(low, rows, stack.rank),
        false,
        1.0,
        MatRef::new(x, rows, inputs),
        a.t(),
        Threads::All,
    );
    let rank = lora.config().rank;
    for (i, (module, column)) in stack.members.into_iter().enumerate() {
        let low = MatRef::strided(&low[i * rank..], rows, rank, stack.rank);
        let b = MatRef::new(&lora.params[module.b.clone()], module.outputs, rank);
        let y = MatMut::strided(&mut y[column..], rows, module.outputs, width);
        gemm(y, true, lora.scaling(), low, b.t(), Threads::All);
    }
}

/// Gradients of [`low_rank`]: adds those of the parameters to `grads` and that of `x` to `dx`,
/// where one is wanted. `low` is what the forward pass left; `d_low` is a buffer.
#[allow(clippy::too_many_arguments)] // the operands of one product and its three gradients
fn low_rank_backward(
    lora: &Lora,
    layer: usize,
    group: Group,
    rows: usize,
    x: &[f32],
    low: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    grads: &mut [f32],
    d_low: &mut Vec<f32>,
) {
    let Some(stack) = lora.stack(layer, group) else { return };
    let (inputs, width) = (x.len() / rows, dy.len() / rows);
    let rank = lora.config().rank;
    d_low.resize(rows * stack.rank, 0.0);
    for (i, (module, column)) in stack.members.into_iter().enumerate() {
        let dy = MatRef::strided(&dy[column..], rows, module.outputs, width);
        let low = MatRef::strided(&low[i * rank..], rows, rank, stack.rank);
        let db = MatMut::new(&mut grads[module.b.clone()], module.outputs, rank);
        gemm(db, true, lora.scaling(), dy.t(), low, Threads::All);
        let b = MatRef::new(&lora.params[module.b.clone()], module.outputs, rank);
        let d_low = MatMut::strided(&mut d_low[i * rank..], rows, rank, stack.rank);
        gemm(d_low, false, lora.scaling(), dy, b, Threads::All);
    }
    let d_low = MatRef::new(d_low, rows, stack.rank);
    let da = MatMut::new(&mut grads[stack.a.clone()], stack.rank, inputs);
    gemm(da, true, 1.0, d_low.t(), MatRef::new(x, rows, inputs), Threads::All);
    if let Some(dx) = dx {
        let a = MatRef::new(&lora.params[stack.a], stack.rank, inputs);
        gemm(MatMut::new(dx, rows, inputs), true, 1.0, d_low, a, Threads::All);
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
                    low_rank(&lora, 1, group, rows, &x, &mut y, &mut low);
                    let (mut dx, mut grads) = (vec![0.0; x.len()], vec![0.0; lora.params.len()]);
                    let d_low = &mut Vec::new();
                    low_rank_backward(
                        &lora,
                        1,
                        group,
                        rows,
                        &x,
                        &low,
                        &dy,
                        Some(&mut dx),
                        &mut grads,
                        d_low,
                    );
                    assert_gradient(&x, &dy, &dx, 1e-2, |x, y| {
                        y.fill(0.0);
                        low_rank(&lora, 1, group, rows, x, y, &mut low);
                    });
                    let mut other = lora.clone();
                    assert_gradient(&lora.params, &dy, &grads, 1e-2, |params, y| {
                        y.fill(0.0);
                        other.params.copy_from_slice(params);
                        low_rank(&other, 1, group, rows, &x, y, &mut low);
                    });
                }
            }
        }
    }
}
