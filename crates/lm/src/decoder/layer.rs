//! One decoder layer, forward and backward, around the attention.

use crate::adapter::lora::Group;
use crate::kernels::{MatMut, MatRef, PackedWeights, Write};
use crate::ops::{
    AdaptedLinear, Adapters, Applied, HeadGradients, HeadNorms, Heads, Kept, Layout, LinearInputs,
    LoraBuffers, PackedAttention, Rotation, add, add_bias, gated, gated_backward, rms_norm,
    rms_norm_backward,
};
use crate::{Activation, Lora, Precision};

/// Frozen weights of one layer. Projections that read the same input are one matrix.
#[derive(Debug)]
pub(super) struct Layer {
    /// Position in the model, which adapters go by.
    pub(super) index: usize,
    pub(super) heads: Heads,
    pub(super) eps: f32,
    pub(super) attention_norm: Vec<f32>,
    /// Queries, keys and values, `[query + 2 * kv, hidden]`.
    pub(super) qkv: PackedWeights,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Norms of each head before the rotation, in models that have them.
    pub(super) head_norms: Option<HeadNorms>,
    /// Which of the model's rotations applies.
    pub(super) rotation: RotationKind,
    /// `[hidden, query]`.
    pub(super) output: PackedWeights,
    /// Norm of what attention gives, before it is added, in models that have one.
    pub(super) post_attention_norm: Option<Vec<f32>>,
    pub(super) feed_norm: Vec<f32>,
    pub(super) activation: Activation,
    /// Gate, then up, `[2 * intermediate, hidden]`.
    pub(super) gate_up: PackedWeights,
    /// `[hidden, intermediate]`.
    pub(super) down: PackedWeights,
    /// Norm of what the feed-forward part gives, as after attention.
    pub(super) post_feed_norm: Option<Vec<f32>>,
}

/// The rotations of a model whose layers with a sliding window have frequencies of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotationKind {
    Global,
    Sliding,
}

/// Rotations of the rows of a batch, by [`RotationKind`]; the second is prepared only where a layer
/// uses it.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    pub(super) global: Rotation,
    pub(super) sliding: Rotation,
}

impl Rotations {
    pub(super) fn of(&self, kind: RotationKind) -> &Rotation {
        match kind {
            RotationKind::Global => &self.global,
            RotationKind::Sliding => &self.sliding,
        }
    }
}

/// What the backward pass of a layer needs of its forward pass, for all rows of a batch. Normalised
/// inputs and the gated product are left out: computing them again is cheaper than keeping them.
#[derive(Debug, Default)]
pub(super) struct Activations {
    /// The residual stream before the layer, `[rows, hidden]`.
    pub(super) input: Vec<f32>,
    /// Rotated queries, rotated keys, values, `[rows, query + 2 * kv]`.
    pub(super) qkv: Vec<f32>,
    /// Queries and keys before the norms of their heads, `[rows, query + kv]`, where there are such
    /// norms.
    pub(super) unnormed: Vec<f32>,
    /// `[rows, query]`.
    pub(super) attended: Vec<f32>,
    /// `[rows, query heads]`; empty in inference.
    pub(super) lse: Vec<f32>,
    /// The residual stream between attention and feed-forward, `[rows, hidden]`.
    pub(super) middle: Vec<f32>,
    /// `[rows, 2 * intermediate]`.
    pub(super) gate_up: Vec<f32>,
    /// What attention and feed-forward give before the norms behind them, `[rows, hidden]`, where
    /// there are such norms.
    pub(super) branches: [Vec<f32>; 2],
    /// Low-rank inner products, by [`Group`].
    pub(super) low: [Vec<f32>; 4],
}

/// Buffers that live no longer than one layer's pass.
#[derive(Debug, Default)]
pub(super) struct LayerScratch {
    normed: Vec<f32>,
    gated: Vec<f32>,
    /// Of the products.
    pub(super) products: LoraBuffers,
    /// Keys and values of sequences behind a common beginning.
    pub(super) joined: Vec<f32>,
    d_gated: Vec<f32>,
    d_gate_up: Vec<f32>,
    d_attended: Vec<f32>,
    d_qkv: Vec<f32>,
    d_normed: Vec<f32>,
    d_heads: HeadGradients,
    d_branch: Vec<f32>,
}

/// What all layers of a backward pass share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    /// How the rows divide into sequences.
    pub(super) layout: Layout<'a>,
    /// Rotation of each row, as in the forward pass.
    pub(super) rotations: &'a Rotations,
    /// How everything is multiplied.
    pub(super) precision: Precision,
    /// The adapter that is trained.
    pub(super) lora: &'a Lora,
}

/// `buffer`, filled with `length` zeros to sum up in.
fn zeroed(buffer: &mut Vec<f32>, length: usize) -> &mut Vec<f32> {
    buffer.clear();
    buffer.resize(length, 0.0);
    buffer
}

impl Layer {
    /// All weight matrices.
    pub(super) fn matrices(&self) -> [&PackedWeights; 4] {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
    }

    /// From `activations.input` to rotated queries and keys, and values, in `activations.qkv`.
    pub(super) fn before_attention(
        &self,
        rows: usize,
        rotations: &Rotations,
        adapters: Adapters<'_>,
        activations: &mut Activations,
        scratch: &mut LayerScratch,
    ) {
        let Activations { input, qkv, unnormed, low, .. } = activations;
        scratch.normed.resize(input.len(), 0.0);
        rms_norm(input, &self.attention_norm, self.eps, &mut scratch.normed);
        qkv.resize(rows * self.qkv.outputs(), 0.0);
        let LayerScratch { normed, products, .. } = scratch;
        let linear = self.linear(Group::Qkv, adapters);
        project(linear, normed, (qkv, Write::Set), low, products);
        if let Some(bias) = &self.qkv_bias {
            add_bias(qkv, bias);
        }
        let Heads { queries, keys, .. } = self.heads;
        if let Some(norms) = &self.head_norms {
            norms.forward(queries, keys, qkv, self.qkv.outputs(), unnormed);
        }
        rotations.of(self.rotation).forward(qkv, queries + keys, self.qkv.outputs());
    }

    /// From `activations.attended` to the residual stream after the layer, in `out`.
    pub(super) fn after_attention(
        &self,
        rows: usize,
        adapters: Adapters<'_>,
        activations: &mut Activations,
        scratch: &mut LayerScratch,
        out: &mut Vec<f32>,
    ) {
        let Activations { input, attended, middle, gate_up, branches, low, .. } = activations;
        let [attention_branch, feed_branch] = branches;
        let LayerScratch { normed, gated: product, products, .. } = scratch;
        middle.clone_from(input);
        // A branch sums up in the residual stream itself, unless it passes through a norm of its
        // own first.
        let sum = match self.post_attention_norm {
            Some(_) => zeroed(attention_branch, input.len()),
            None => &mut *middle,
        };
        let linear = self.linear(Group::Output, adapters);
        project(linear, attended, (sum, Write::Add), low, products);
        if let Some(norm) = &self.post_attention_norm {
            self.add_normed(norm, attention_branch, middle, normed);
        }
        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        gate_up.resize(rows * self.gate_up.outputs(), 0.0);
        let linear = self.linear(Group::GateUp, adapters);
        project(linear, normed, (gate_up, Write::Set), low, products);
        product.resize(rows * self.down.inputs(), 0.0);
        gated(self.activation, gate_up, self.down.inputs(), product);
        out.clone_from(middle);
        let sum = match self.post_feed_norm {
            Some(_) => zeroed(feed_branch, input.len()),
            None => &mut *out,
        };
        let linear = self.linear(Group::Down, adapters);
        project(linear, product, (sum, Write::Add), low, products);
        if let Some(norm) = &self.post_feed_norm {
            self.add_normed(norm, feed_branch, out, normed);
        }
    }

    /// `y += norm(branch)`.
    fn add_normed(&self, norm: &[f32], branch: &[f32], y: &mut [f32], normed: &mut Vec<f32>) {
        normed.resize(branch.len(), 0.0);
        rms_norm(branch, norm, self.eps, normed);
        add(y, normed);
    }

    /// The gradient of a branch's result for the gradient `dx` of the residual stream that it is
    /// added to: `dx` itself, or what the norm behind the branch makes of it.
    fn through_post_norm<'a>(
        &self,
        norm: &Option<Vec<f32>>,
        branch: &[f32],
        dx: &'a [f32],
        d_branch: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let Some(norm) = norm else { return dx };
        rms_norm_backward(branch, norm, self.eps, dx, zeroed(d_branch, dx.len()));
        d_branch
    }

    /// A group of projections, and the adapters of its rows.
    fn linear<'a>(&'a self, group: Group, adapters: Adapters<'a>) -> AdaptedLinear<'a> {
        let weights = match group {
            Group::Qkv => &self.qkv,
            Group::Output => &self.output,
            Group::GateUp => &self.gate_up,
            Group::Down => &self.down,
        };
        AdaptedLinear { weights, layer: self.index, group, adapters }
    }

    /// Turns the gradient `dx` of the residual stream after the layer into that before it, and adds
    /// the adapter's gradients to `grads`. Below the first layer nothing is trained, so there `dx`
    /// is left undone.
    pub(super) fn backward(
        &self,
        step: Step<'_>,
        activations: &Activations,
        dx: &mut [f32],
        grads: &mut [f32],
        scratch: &mut LayerScratch,
    ) {
        self.feed_backward(step, activations, dx, grads, scratch);
        self.attention_backward(step, activations, dx, grads, scratch);
    }

    /// The feed-forward half of [`backward`](Self::backward).
    fn feed_backward(
        &self,
        step: Step<'_>,
        activations: &Activations,
        dx: &mut [f32],
        grads: &mut [f32],
        scratch: &mut LayerScratch,
    ) {
        let Activations { middle, gate_up, branches: [_, branch], low, .. } = activations;
        let LayerScratch {
            normed,
            gated: product,
            products,
            d_gated,
            d_gate_up,
            d_normed,
            d_branch,
            ..
        } = scratch;
        let mut back = self.backward_of(step, low, grads, products);
        let width = self.down.inputs();
        let rows = gate_up.len() / (2 * width);
        product.resize(rows * width, 0.0);
        gated(self.activation, gate_up, width, product);
        d_gated.resize(rows * width, 0.0);
        let d_feed = self.through_post_norm(&self.post_feed_norm, branch, dx, d_branch);
        back(Group::Down, product, d_feed, Some(d_gated));
        d_gate_up.resize(rows * 2 * width, 0.0);
        gated_backward(self.activation, gate_up, width, d_gated, d_gate_up);

        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        d_normed.resize(middle.len(), 0.0);
        back(Group::GateUp, normed, d_gate_up, Some(d_normed));
        rms_norm_backward(middle, &self.feed_norm, self.eps, d_normed, dx);
    }

    /// The attention half of [`backward`](Self::backward).
    fn attention_backward(
        &self,
        step: Step<'_>,
        activations: &Activations,
        dx: &mut [f32],
        grads: &mut [f32],
        scratch: &mut LayerScratch,
    ) {
        let Activations { input, qkv, unnormed, attended, lse, branches: [branch, _], low, .. } =
            activations;
        let LayerScratch {
            normed, products, d_attended, d_qkv, d_normed, d_heads, d_branch, ..
        } = scratch;
        let mut back = self.backward_of(step, low, grads, products);
        d_attended.resize(attended.len(), 0.0);
        let d_attention = self.through_post_norm(&self.post_attention_norm, branch, dx, d_branch);
        back(Group::Output, attended, d_attention, Some(d_attended));
        d_qkv.resize(qkv.len(), 0.0);
        let pass = PackedAttention {
            heads: self.heads,
            precision: step.precision,
            layout: step.layout,
            rotation: step.rotations.of(self.rotation),
        };
        pass.backward(Kept { qkv, out: attended, lse }, d_attended, d_qkv, d_heads);
        if let Some(norms) = &self.head_norms {
            let Heads { queries, keys, .. } = self.heads;
            norms.backward(queries, keys, unnormed, d_qkv, self.qkv.outputs());
        }

        rms_norm(input, &self.attention_norm, self.eps, normed);
        if self.index == 0 {
            return back(Group::Qkv, normed, d_qkv, None);
        }
        back(Group::Qkv, normed, d_qkv, Some(d_normed));
        rms_norm_backward(input, &self.attention_norm, self.eps, d_normed, dx);
    }

    /// The gradients of a group for its inputs `x` and the gradient `dy` of its output: that of `x`
    /// goes to `dx`, where one is wanted, those of the adapter are added to `grads`.
    fn backward_of<'a>(
        &'a self,
        step: Step<'a>,
        low: &'a [Vec<f32>; 4],
        grads: &'a mut [f32],
        buffers: &'a mut LoraBuffers,
    ) -> impl FnMut(Group, &[f32], &[f32], Option<&mut Vec<f32>>) + 'a {
        move |group, x, dy, dx| {
            let applied = Applied { lora: step.lora, fused: true };
            let linear = self.linear(group, Adapters::One(None)).with(applied);
            let (rows, inputs) = (step.layout.rows(), x.len() / step.layout.rows());
            let kept = LinearInputs { x: MatRef::new(x, rows, inputs), low: &low[group as usize] };
            let dx = dx.map(|dx| MatMut::new(dx, rows, inputs));
            linear.backward(kept, MatRef::new(dy, rows, dy.len() / rows), dx, grads, buffers);
        }
    }
}

/// The output of a group with the adapters' part, for the rows `x`, is written to `y` or added
/// to it.
fn project(
    linear: AdaptedLinear<'_>,
    x: &[f32],
    (y, write): (&mut [f32], Write),
    low: &mut [Vec<f32>; 4],
    buffers: &mut LoraBuffers,
) {
    let (inputs, outputs) = (linear.weights.inputs(), linear.weights.outputs());
    let rows = x.len() / inputs;
    let (x, y) = (MatRef::new(x, rows, inputs), MatMut::new(y, rows, outputs));
    linear.forward(x, y, write, &mut low[linear.group as usize], buffers);
}
