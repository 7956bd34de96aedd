//! One decoder layer, forward and backward, around the attention.

use crate::adapter::lora::Group;
use crate::kernels::{AdaptedBuffers, Frozen};
use crate::ops::{
    Adapter, HeadGradients, HeadNorms, Heads, Kept, Layout, Rotation, add, add_bias,
    attention_backward, gated, gated_backward, project, project_backward, project_each, rms_norm,
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
    pub(super) qkv: Frozen,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Norms of each head before the rotation, in models that have them.
    pub(super) head_norms: Option<HeadNorms>,
    /// Which of the model's rotations applies.
    pub(super) rotation: RotationKind,
    /// `[hidden, query]`.
    pub(super) output: Frozen,
    /// Norm of what attention gives, before it is added, in models that have one.
    pub(super) post_attention_norm: Option<Vec<f32>>,
    pub(super) feed_norm: Vec<f32>,
    pub(super) activation: Activation,
    /// Gate, then up, `[2 * intermediate, hidden]`.
    pub(super) gate_up: Frozen,
    /// `[hidden, intermediate]`.
    pub(super) down: Frozen,
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

/// An adapter, and how it is multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) lora: &'a Lora,
    /// See [`Adapter::joined`].
    pub(super) joined: bool,
}

/// The adapters of a batch's rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Adapters<'a> {
    /// One, or none, for all rows of a prompt or a pack: products are chosen by the number of rows.
    One(Option<Applied<'a>>),
    /// One, or none, for each row: tokens of answers, which get the same bits alone and among
    /// others.
    Each(&'a [Option<&'a Lora>]),
}

/// `buffer`, filled with `length` zeros to sum up in.
fn zeroed(buffer: &mut Vec<f32>, length: usize) -> &mut Vec<f32> {
    buffer.clear();
    buffer.resize(length, 0.0);
    buffer
}

impl Layer {
    /// All weight matrices.
    pub(super) fn matrices(&self) -> [&Frozen; 4] {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
    }

    /// From `activations.input` to rotated queries and keys, and values, in `activations.qkv`.
    pub(super) fn before_attention(
        &self,
        rows: usize,
        rotations: &Rotations,
        adapters: Adapters<'_>,
        activations: &mut Activations,
        scratch: &mut Scratch,
    ) {
        let Activations { input, qkv, unnormed, low, .. } = activations;
        scratch.normed.resize(input.len(), 0.0);
        rms_norm(input, &self.attention_norm, self.eps, &mut scratch.normed);
        qkv.resize(rows * self.qkv.outputs(), 0.0);
        let Scratch { normed, products, .. } = scratch;
        self.project(&self.qkv, adapters, Group::Qkv, rows, normed, qkv, false, low, products);
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
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
    ) {
        let Activations { input, attended, middle, gate_up, branches, low, .. } = activations;
        let [attention_branch, feed_branch] = branches;
        let Scratch { normed, gated: product, products, .. } = scratch;
        middle.clone_from(input);
        // A branch sums up in the residual stream itself, unless it passes through a norm of its
        // own first.
        let sum = match self.post_attention_norm {
            Some(_) => zeroed(attention_branch, input.len()),
            None => &mut *middle,
        };
        self.project(
            &self.output,
            adapters,
            Group::Output,
            rows,
            attended,
            sum,
            true,
            low,
            products,
        );
        if let Some(norm) = &self.post_attention_norm {
            self.add_normed(norm, attention_branch, middle, normed);
        }
        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        gate_up.resize(rows * self.gate_up.outputs(), 0.0);
        self.project(
            &self.gate_up,
            adapters,
            Group::GateUp,
            rows,
            normed,
            gate_up,
            false,
            low,
            products,
        );
        product.resize(rows * self.down.inputs(), 0.0);
        gated(self.activation, gate_up, self.down.inputs(), product);
        out.clone_from(middle);
        let sum = match self.post_feed_norm {
            Some(_) => zeroed(feed_branch, input.len()),
            None => &mut *out,
        };
        self.project(&self.down, adapters, Group::Down, rows, product, sum, true, low, products);
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

    /// A group's output with the adapters' part, as [`project`] gives it.
    #[allow(clippy::too_many_arguments)] // the operands of one product
    fn project(
        &self,
        frozen: &Frozen,
        adapters: Adapters<'_>,
        group: Group,
        rows: usize,
        x: &[f32],
        y: &mut [f32],
        accumulate: bool,
        low: &mut [Vec<f32>; 4],
        buffers: &mut AdaptedBuffers,
    ) {
        let layer = self.index;
        match adapters {
            Adapters::One(applied) => {
                let adapter =
                    applied.map(|Applied { lora, joined }| Adapter { lora, layer, group, joined });
                project(frozen, adapter, rows, x, y, accumulate, low, buffers);
            }
            Adapters::Each(each) => {
                project_each(frozen, (layer, group), each, x, y, accumulate, buffers)
            }
        }
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
        scratch: &mut Scratch,
    ) {
        let Step { layout, rotations, precision, lora } = step;
        let rows = layout.rows();
        let Activations { input, qkv, unnormed, attended, lse, middle, gate_up, branches, low } =
            activations;
        let [attention_branch, feed_branch] = branches;
        let Scratch {
            normed,
            gated: product,
            products,
            d_gated,
            d_gate_up,
            d_attended,
            d_qkv,
            d_normed,
            d_low,
            d_heads,
            d_branch,
            ..
        } = scratch;
        let width = self.down.inputs();
        let mut back = |frozen: &Frozen, group, x: &[f32], dy: &[f32], dx: Option<&mut [f32]>| {
            let adapter = Adapter { lora, layer: self.index, group, joined: true };
            project_backward(frozen, adapter, rows, x, low, dy, dx, grads, d_low, products);
        };

        product.resize(rows * width, 0.0);
        gated(self.activation, gate_up, width, product);
        d_gated.resize(rows * width, 0.0);
        let d_feed = self.through_post_norm(&self.post_feed_norm, feed_branch, dx, d_branch);
        back(&self.down, Group::Down, product, d_feed, Some(d_gated));
        d_gate_up.resize(rows * 2 * width, 0.0);
        gated_backward(self.activation, gate_up, width, d_gated, d_gate_up);

        normed.resize(middle.len(), 0.0);
        rms_norm(middle, &self.feed_norm, self.eps, normed);
        d_normed.resize(middle.len(), 0.0);
        back(&self.gate_up, Group::GateUp, normed, d_gate_up, Some(d_normed));
        rms_norm_backward(middle, &self.feed_norm, self.eps, d_normed, dx);

        d_attended.resize(attended.len(), 0.0);
        let d_attention =
            self.through_post_norm(&self.post_attention_norm, attention_branch, dx, d_branch);
        back(&self.output, Group::Output, attended, d_attention, Some(d_attended));
        d_qkv.resize(qkv.len(), 0.0);
        let kept = Kept { qkv, out: attended, lse };
        let rotation = rotations.of(self.rotation);
        attention_backward(
            self.heads, precision, layout, kept, rotation, d_attended, d_qkv, d_heads,
        );
        if let Some(norms) = &self.head_norms {
            norms.backward(
                self.heads.queries,
                self.heads.keys,
                unnormed,
                d_qkv,
                self.qkv.outputs(),
            );
        }

        rms_norm(input, &self.attention_norm, self.eps, normed);
        if self.index == 0 {
            return back(&self.qkv, Group::Qkv, normed, d_qkv, None);
        }
        back(&self.qkv, Group::Qkv, normed, d_qkv, Some(d_normed));
        rms_norm_backward(input, &self.attention_norm, self.eps, d_normed, dx);
    }
}
