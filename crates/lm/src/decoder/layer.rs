//! One decoder layer, forward and backward, around the attention.

use crate::Lora;
use crate::kernels::{AdaptedBuffers, Frozen};
use crate::lora::Group;
use crate::ops::{
    Adapter, HeadGradients, Heads, Kept, Layout, Rotation, add_bias, attention_backward, project,
    project_backward, rms_norm, rms_norm_backward, swiglu, swiglu_backward,
};

/// Frozen weights of one layer. Projections that read the same input are one matrix.
#[derive(Debug)]
pub(super) struct Layer {
    /// Position in the model, which adapters go by.
    pub(super) index: usize,
    pub(super) heads: Heads,
    pub(super) eps: f32,
    pub(super) attention_norm: Vec<f32>,
    /// Queries, keys and values, `[query + 2 * kv, hidden]`.
    pub(super) qkv: Frozen,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// `[hidden, query]`.
    pub(super) output: Frozen,
    pub(super) feed_norm: Vec<f32>,
    /// Gate, then up, `[2 * intermediate, hidden]`.
    pub(super) gate_up: Frozen,
    /// `[hidden, intermediate]`.
    pub(super) down: Frozen,
}

/// What the backward pass of a layer needs of its forward pass, for all rows of a batch. Normalised inputs and
/// the gated product are left out: computing them again is cheaper than keeping them.
#[derive(Debug, Default)]
pub(super) struct Activations {
    /// The residual stream before the layer, `[rows, hidden]`.
    pub(super) input: Vec<f32>,
    /// Rotated queries, rotated keys, values, `[rows, query + 2 * kv]`.
    pub(super) qkv: Vec<f32>,
    /// `[rows, query]`.
    pub(super) attended: Vec<f32>,
    /// `[rows, query heads]`; empty in inference.
    pub(super) lse: Vec<f32>,
    /// The residual stream between attention and feed-forward, `[rows, hidden]`.
    pub(super) middle: Vec<f32>,
    /// `[rows, 2 * intermediate]`.
    pub(super) gate_up: Vec<f32>,
    /// Low-rank inner products, by [`Group`].
    pub(super) low: [Vec<f32>; 4],
}

/// Buffers that live no longer than one layer's pass.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    normed: Vec<f32>,
    gated: Vec<f32>,
    /// Of the products.
    pub(super) products: AdaptedBuffers,
    /// Keys and values of sequences behind a common beginning.
    pub(super) joined: Vec<f32>,
    d_gated: Vec<f32>,
    d_gate_up: Vec<f32>,
    d_attended: Vec<f32>,
    d_qkv: Vec<f32>,
    d_normed: Vec<f32>,
    d_low: Vec<f32>,
    d_heads: HeadGradients,
}

/// What all layers of a backward pass share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    /// How the rows divide into sequences.
    pub(super) layout: Layout<'a>,
    /// Rotation of each row, as in the forward pass.
    pub(super) rotation: &'a Rotation,
    /// The adapter that is trained.
    pub(super) lora: &'a Lora,
}

/// An adapter, and how it is multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) lora: &'a Lora,
    /// See [`Adapter::joined`].
    pub(super) joined: bool,
}

impl Layer {
    /// From `activations.input` to rotated queries and keys, and values, in `activations.qkv`.
    pub(super) fn before_attention(
        &self,
        rows: usize,
        rotation: &Rotation,
        adapter: Option<Applied<'_>>,
        activations: &mut Activations,
        scratch: &mut Scratch,
    ) {
        let Activations { input, qkv, low, .. } = activations;
        scratch.normed.resize(input.len(), 0.0);
        rms_norm(input, &self.attention_norm, self.eps, &mut scratch.normed);
        qkv.resize(rows * self.qkv.outputs(), 0.0);
        let Scratch { normed, products, .. } = scratch;
        project(&self.qkv, self.adapter(adapter, Group::Qkv), rows, normed, qkv, false, low, products);
        if let Some(bias) = &self.qkv_bias {
            add_bias(qkv, bias);
        }
        rotation.forward(qkv, self.heads.queries + self.heads.keys, self.qkv.outputs());
    }

    /// From `activations.attended` to the residual stream after the layer, in `out`.
    pub(super) fn after_attention(
        &self,
        rows: usize,
        adapter: Option<Applied<'_>>,
        activations: &mut Activations,
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
    ) {
        let Activations { input, attended, middle, gate_up, low, .. } = activations;
        let Scratch { normed, gated, products, .. } = scratch;
        let on = |group| self.adapter(adapter, group);
        middle.clone_from(input);
        project(&self.output, on(Group::Output), rows, attended, middle, true, low, products);
        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        gate_up.resize(rows * self.gate_up.outputs(), 0.0);
        project(&self.gate_up, on(Group::GateUp), rows, normed, gate_up, false, low, products);
        gated.resize(rows * self.down.inputs(), 0.0);
        swiglu(gate_up, self.down.inputs(), gated);
        out.clone_from(middle);
        project(&self.down, on(Group::Down), rows, gated, out, true, low, products);
    }

    /// An adapter's part in a group of this layer's projections.
    fn adapter<'a>(&self, applied: Option<Applied<'a>>, group: Group) -> Option<Adapter<'a>> {
        applied.map(|Applied { lora, joined }| Adapter { lora, layer: self.index, group, joined })
    }

    /// Turns the gradient `dx` of the residual stream after the layer into that before it, and adds the
    /// adapter's gradients to `grads`. Below the first layer nothing is trained, so there `dx` is left undone.
    pub(super) fn backward(
        &self,
        step: Step<'_>,
        activations: &Activations,
        dx: &mut [f32],
        grads: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Step { layout, rotation, lora } = step;
        let rows = layout.rows();
        let Activations { input, qkv, attended, lse, middle, gate_up, low } = activations;
        let Scratch {
            normed,
            gated,
            products,
            d_gated,
            d_gate_up,
            d_attended,
            d_qkv,
            d_normed,
            d_low,
            d_heads,
            ..
        } = scratch;
        let width = self.down.inputs();
        let mut back = |frozen: &Frozen, group, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>| {
            let adapter = Adapter { lora, layer: self.index, group, joined: true };
            project_backward(frozen, adapter, rows, x, low, dy, dx, grads, d_low, products);
        };

        gated.resize(rows * width, 0.0);
        swiglu(gate_up, width, gated);
        d_gated.resize(rows * width, 0.0);
        back(&self.down, Group::Down, gated, dx, Some(d_gated));
        d_gate_up.resize(rows * 2 * width, 0.0);
        swiglu_backward(gate_up, width, d_gated, d_gate_up);

        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        d_normed.resize(middle.len(), 0.0);
        back(&self.gate_up, Group::GateUp, normed, d_gate_up, Some(d_normed));
        rms_norm_backward(middle, &self.feed_norm, self.eps, d_normed, dx);

        d_attended.resize(attended.len(), 0.0);
        back(&self.output, Group::Output, attended, dx, Some(d_attended));
        d_qkv.resize(qkv.len(), 0.0);
        let kept = Kept { qkv, out: attended, lse };
        attention_backward(self.heads, layout, kept, rotation, d_attended, d_qkv, d_heads);

        rms_norm(input, &self.attention_norm, self.eps, normed);
        if self.index == 0 {
            return back(&self.qkv, Group::Qkv, normed, d_qkv, None);
        }
        back(&self.qkv, Group::Qkv, normed, d_qkv, Some(d_normed));
        rms_norm_backward(input, &self.attention_norm, self.eps, d_normed, dx);
    }
}
