//! Loss of packed sequences and the adapter's gradient.

use super::forward::PassBuffers;
use super::layer::{Activations, Rotations, Step};
use super::stash::Stash;
use super::{Decoder, Loss};
use crate::kernels::{MatMut, MatRef, Rounded, Write};
use crate::ops::{
    Adapters, Applied, AttentionOutput, attention, cross_entropy, rms_norm, rms_norm_backward,
    sequences,
};
use crate::{Error, Lora, Pack, Result};

/// Targets whose logits exist at a time: the vocabulary's logits of all targets would not fit.
const TARGETS: usize = 128;

/// PassBuffers of a training step, kept between steps because fresh memory costs as much as the
/// arithmetic.
#[derive(Debug, Default)]
pub struct Workspace {
    /// One per layer.
    layers: Vec<Stash>,
    rest: PassBuffers,
    head: HeadBuffers,
    dx: Vec<f32>,
}

/// PassBuffers of the vocabulary's logits for a chunk of targets.
#[derive(Debug, Default)]
struct HeadBuffers {
    x: Vec<f32>,
    normed: Vec<f32>,
    logits: Vec<f32>,
    d_normed: Vec<f32>,
    d_x: Vec<f32>,
}

/// Where the gradient of the targets' loss goes.
struct LossGradient<'a> {
    /// What it is multiplied by.
    scale: f32,
    /// The gradient of the residual stream, `[rows, hidden]`; rows that predict no target are left
    /// as they are.
    dx: &'a mut [f32],
}

impl Decoder {
    /// A workspace with room for packs of `rows` tokens; it grows where one is longer.
    pub fn workspace(&self, lora: &Lora, rows: usize) -> Workspace {
        let layers = 0..self.layers.len();
        let stash = |layer| Stash::with_room(&self.config, self.precision, lora, layer, rows);
        Workspace { layers: layers.map(stash).collect(), ..Workspace::default() }
    }

    /// Negative log-likelihood of the targets of `pack`. It does not depend on how sequences are
    /// put into packs beyond rounding, nor on the number of threads.
    ///
    /// # Errors
    /// [`Error::Pack`], [`Error::TokenOutOfRange`], [`Error::TooLong`], [`Error::Mismatch`].
    pub fn loss(&self, adapter: Option<&Lora>, pack: &Pack) -> Result<Loss> {
        pack.validate(&self.config)?;
        if let Some(lora) = adapter {
            lora.check_fits(&self.config)?;
        }
        let mut sum = 0.0;
        rayon::scope(|_| {
            let mut buffers = self.take_buffers();
            let PassBuffers { activations, rotations, .. } = &mut buffers;
            self.start(pack, rotations, &mut activations.input);
            for layer in 0..self.layers.len() {
                self.layer_forward(layer, pack, adapter, &mut buffers, false);
                std::mem::swap(&mut buffers.out, &mut buffers.activations.input);
            }
            let x = std::mem::take(&mut buffers.activations.input);
            let mut head = HeadBuffers::default();
            sum = self.targets(
                pack,
                &x,
                None,
                &mut head,
                &mut buffers.scratch.products.fused.rounded,
            );
            buffers.activations.input = x;
            self.return_buffers(buffers);
        });
        Ok(Loss { sum, tokens: pack.targets() })
    }

    /// Negative log-likelihood of the targets of `pack`; adds `scale` times the gradient of its sum
    /// to `grads`, which has the layout of [`Lora::params`]. The result does not depend on the
    /// number of threads; gradients of sequences joined in a pack or taken one by one differ by
    /// rounding only.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_grad(
        &self,
        lora: &Lora,
        pack: &Pack,
        scale: f32,
        grads: &mut [f32],
        workspace: &mut Workspace,
    ) -> Result<Loss> {
        pack.validate(&self.config)?;
        lora.check_fits(&self.config)?;
        if grads.len() != lora.params.len() {
            let reason = format!("{} gradients for {} parameters", grads.len(), lora.params.len());
            return Err(Error::Mismatch { what: "gradient buffer", reason });
        }
        let mut sum = 0.0;
        rayon::scope(|_| sum = self.step(lora, pack, scale, grads, workspace));
        Ok(Loss { sum, tokens: pack.targets() })
    }

    fn step(
        &self,
        lora: &Lora,
        pack: &Pack,
        scale: f32,
        grads: &mut [f32],
        workspace: &mut Workspace,
    ) -> f64 {
        let Workspace { layers, rest, head, dx } = workspace;
        let (rows, precision) = (pack.len(), self.precision);
        layers.resize_with(self.layers.len(), Stash::default);
        self.start(pack, &mut rest.rotations, &mut rest.activations.input);
        for (layer, stash) in layers.iter_mut().enumerate() {
            self.layer_forward(layer, pack, Some(lora), rest, true);
            stash.keep(precision, rows, &mut rest.activations);
            std::mem::swap(&mut rest.out, &mut rest.activations.input);
        }
        dx.clear();
        dx.resize(rows * self.config.hidden, 0.0);
        let x = &rest.activations.input;
        let gradient = Some(LossGradient { scale, dx });
        let sum = self.targets(pack, x, gradient, head, &mut rest.scratch.products.fused.rounded);
        let step = Step { layout: pack.layout(), rotations: &rest.rotations, precision, lora };
        for (layer, stash) in self.layers.iter().zip(layers).rev() {
            stash.restore(precision, rows, &mut rest.activations);
            layer.backward(step, &rest.activations, dx, grads, &mut rest.scratch);
        }
        sum
    }

    /// Prepares positions, which restart behind the common beginning at each sequence, and the
    /// embeddings.
    fn start(&self, pack: &Pack, rotations: &mut Rotations, x: &mut Vec<f32>) {
        self.rotations(pack.layout().positions(), rotations);
        self.embed(pack.ids.iter(), pack.len(), x);
    }

    /// One layer from `buffers.activations.input` to `buffers.out`.
    fn layer_forward(
        &self,
        index: usize,
        pack: &Pack,
        adapter: Option<&Lora>,
        buffers: &mut PassBuffers,
        keep: bool,
    ) {
        let adapters = Adapters::One(adapter.map(|lora| Applied { lora, fused: true }));
        let (query, kv) = (self.config.query_width(), self.config.kv_width());
        let stride = query + 2 * kv;
        let layer = &self.layers[index];
        let rows = pack.len();
        let PassBuffers { activations, scratch, rotations, out } = buffers;
        layer.before_attention(rows, rotations, adapters, activations, scratch);
        activations.attended.resize(rows * query, 0.0);
        activations.lse.resize(if keep { rows * self.config.heads } else { 0 }, 0.0);
        let Activations { qkv, attended, lse, .. } = &mut *activations;
        let parts = sequences(layer.heads, pack.layout(), qkv, &mut scratch.joined);
        let queries = MatRef::strided(qkv, rows, query, stride);
        let to = AttentionOutput { out: attended, lse };
        attention(layer.heads, self.precision, &parts, queries, to);
        layer.after_attention(rows, adapters, activations, scratch, out);
    }

    /// Loss of the targets given the residual stream `x` after all layers, and its gradient where
    /// one is wanted.
    fn targets(
        &self,
        pack: &Pack,
        x: &[f32],
        mut gradient: Option<LossGradient<'_>>,
        buffers: &mut HeadBuffers,
        rounded: &mut Rounded,
    ) -> f64 {
        let (hidden, eps) = (self.config.hidden, self.config.rms_norm_eps);
        // The row before a target predicts it.
        let rows: Vec<usize> =
            (1..pack.len()).filter(|&row| pack.mask[row] != 0).map(|row| row - 1).collect();
        let vocabulary = self.config.vocabulary;
        let scale = gradient.as_ref().map_or(0.0, |gradient| gradient.scale);
        let HeadBuffers { x: chosen, normed, logits, d_normed, d_x } = buffers;
        let mut sum = 0.0;
        for rows in rows.chunks(TARGETS) {
            let count = rows.len();
            chosen.clear();
            for row in rows {
                chosen.extend_from_slice(&x[row * hidden..][..hidden]);
            }
            normed.resize(count * hidden, 0.0);
            rms_norm(chosen, &self.final_norm, eps, normed);
            logits.resize(count * vocabulary, 0.0);
            let (x, y) =
                (MatRef::new(normed, count, hidden), MatMut::new(logits, count, vocabulary));
            self.head().forward(x, y, Write::Set, rounded);
            let targets: Vec<u32> = rows.iter().map(|row| pack.ids[row + 1]).collect();
            sum += cross_entropy(logits, &targets, scale);
            if let Some(LossGradient { dx, .. }) = &mut gradient {
                d_normed.resize(count * hidden, 0.0);
                let dy = MatRef::new(logits, count, vocabulary);
                let d = MatMut::new(d_normed, count, hidden);
                self.head().backward(dy, d, Write::Set, rounded);
                d_x.clear();
                d_x.resize(count * hidden, 0.0);
                rms_norm_backward(chosen, &self.final_norm, eps, d_normed, d_x);
                for (row, d) in rows.iter().zip(d_x.chunks_exact(hidden)) {
                    dx[row * hidden..][..hidden].copy_from_slice(d);
                }
            }
        }
        sum
    }
}
