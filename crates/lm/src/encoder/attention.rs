//! Attention of texts to themselves, in both directions and without padding.

use std::cell::Cell;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::kernels::self_attention;
use crate::kernels::{HeadProduct, MatMut, MatRef, Threads, Write, exp_shifted, gemm, max, scale};

/// Rows whose scores stay in the cache.
const ROWS: usize = 64;

thread_local! {
    /// Buffers of one thread; taken while in use.
    static BUFFERS: Cell<AttentionBuffers> = Cell::default();
}

#[derive(Default)]
struct AttentionBuffers {
    scores: Vec<f32>,
    /// Of one head, each `[rows, width]`.
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    mixed: Vec<f32>,
    product: HeadProduct,
}

/// How a model attends.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionShape {
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Whether queries, keys, values and probabilities may be rounded to bf16.
    pub(super) rounded: bool,
}

/// `attended = softmax(q kᵀ / sqrt(width)) v` for each text by itself. `lengths` are the texts'
/// rows; `qkv` is `[rows, 3 * hidden]`, queries, keys and values side by side, `attended` is
/// `[rows, hidden]`.
pub(super) fn attend(
    shape: AttentionShape,
    lengths: impl Iterator<Item = usize>,
    mut qkv: &[f32],
    mut attended: &mut [f32],
    threads: Threads,
) {
    for length in lengths {
        let of_text = qkv.split_off(..length * 3 * shape.hidden).unwrap_or_default();
        let out = attended.split_off_mut(..length * shape.hidden).unwrap_or_default();
        #[cfg(target_arch = "x86_64")]
        if shape.rounded && self_attention(shape.hidden, shape.heads, of_text, out, threads) {
            continue;
        }
        if shape.rounded {
            let mut buffers = BUFFERS.take();
            in_bf16(shape, of_text, out, &mut buffers);
            BUFFERS.set(buffers);
            continue;
        }
        let block = |(index, out): (usize, &mut [f32])| {
            let mut buffers = BUFFERS.take();
            rows(shape, of_text, index * ROWS, out, &mut buffers.scores);
            BUFFERS.set(buffers);
        };
        match threads {
            Threads::One => out.chunks_mut(ROWS * shape.hidden).enumerate().for_each(block),
            Threads::All => out.par_chunks_mut(ROWS * shape.hidden).enumerate().for_each(block),
        }
    }
}

/// The rows of `out`, the first of which is row `first` of the text, attend to the whole text.
fn rows(shape: AttentionShape, qkv: &[f32], first: usize, out: &mut [f32], scores: &mut Vec<f32>) {
    let AttentionShape { hidden, heads, .. } = shape;
    let (width, stride) = (hidden / heads, 3 * hidden);
    let (rows, keys) = (out.len() / hidden, qkv.len() / stride);
    let factor = 1.0 / (width as f32).sqrt();
    scores.resize(rows * keys, 0.0);
    for head in 0..heads {
        let queries = MatRef::strided(&qkv[first * stride + head * width..], rows, width, stride);
        let of_head = |part: usize| {
            MatRef::strided(&qkv[part * hidden + head * width..], keys, width, stride)
        };
        let product = queries.times(of_head(1).t()).scaled(factor);
        gemm(MatMut::new(scores, rows, keys), Write::Set, product, Threads::One);
        let mut totals = [0f32; ROWS];
        for (scores, total) in scores.chunks_exact_mut(keys).zip(&mut totals) {
            *total = exp_shifted(scores, max(scores));
        }
        let mixed = MatMut::strided(&mut out[head * width..], rows, width, hidden);
        let product = MatRef::new(scores, rows, keys).times(of_head(2));
        gemm(mixed, Write::Set, product, Threads::One);
        // Divided after mixing, which is narrower.
        for (row, total) in out.chunks_exact_mut(hidden).zip(totals) {
            scale(&mut row[head * width..][..width], 1.0 / total);
        }
    }
}

/// All rows of a text, head by head, in products of bf16.
fn in_bf16(shape: AttentionShape, qkv: &[f32], out: &mut [f32], buffers: &mut AttentionBuffers) {
    let AttentionShape { hidden, heads, .. } = shape;
    let (width, stride) = (hidden / heads, 3 * hidden);
    let rows = out.len() / hidden;
    let factor = 1.0 / (width as f32).sqrt();
    let AttentionBuffers { scores, queries, keys, values, mixed, product } = buffers;
    scores.resize(rows * rows, 0.0);
    mixed.resize(rows * width, 0.0);
    for head in 0..heads {
        for (part, to) in [&mut *queries, &mut *keys, &mut *values].into_iter().enumerate() {
            to.clear();
            let of_head =
                |row: &[f32]| to.extend_from_slice(&row[part * hidden + head * width..][..width]);
            qkv.chunks_exact(stride).for_each(of_head);
        }
        scale(queries, factor);
        let of_head = |part| MatRef::new(part, rows, width);
        let to = MatMut::new(scores, rows, rows);
        product.multiply(of_head(queries), of_head(keys).t(), to, Write::Set);
        let mut totals = Vec::with_capacity(rows);
        for scores in scores.chunks_exact_mut(rows.max(1)) {
            totals.push(exp_shifted(scores, max(scores)));
        }
        let to = MatMut::new(mixed, rows, width);
        product.multiply(MatRef::new(scores, rows, rows), of_head(values), to, Write::Set);
        for ((row, mixed), total) in
            out.chunks_exact_mut(hidden).zip(mixed.chunks_exact_mut(width)).zip(totals)
        {
            // Divided after mixing, which is narrower.
            scale(mixed, 1.0 / total);
            row[head * width..][..width].copy_from_slice(mixed);
        }
    }
}
