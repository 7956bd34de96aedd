//! Attention of texts to themselves, forward and backward; a thread takes a text at a time.

use std::cell::Cell;

use rayon::prelude::*;

use crate::encoder::attention::{AttentionShape, attend as attend_text};
use crate::encoder::config::BertConfig;
use crate::kernels::{MatMut, MatRef, Threads, Write, dot, exp_shifted, gemm, max, scale};

thread_local! {
    /// Buffers of one thread; taken while in use.
    static BUFFERS: Cell<(Vec<f32>, Vec<f32>)> = Cell::default();
}

/// `attended = softmax(q kᵀ / sqrt(width)) v` for each text and head by itself; `qkv` is
/// `[rows, 3 * hidden]`, queries, keys and values side by side, `attended` is `[rows, hidden]`.
pub(super) fn attend(config: &BertConfig, texts: &[&[u32]], qkv: &[f32], attended: &mut [f32]) {
    let shape = AttentionShape { hidden: config.hidden, heads: config.heads, rounded: false };
    let outs = cut(attended, texts, config.hidden);
    starts(texts).zip(outs).collect::<Vec<_>>().into_par_iter().for_each(
        |((start, length), out)| {
            let of_text = &qkv[start * 3 * config.hidden..][..length * 3 * config.hidden];
            attend_text(shape, std::iter::once(length), of_text, out, Threads::One);
        },
    );
}

/// `d_qkv` becomes the gradient with respect to `qkv` for the gradient `d_out` of [`attend`]'s
/// result.
pub(super) fn attend_backward(
    config: &BertConfig,
    texts: &[&[u32]],
    qkv: &[f32],
    d_out: &[f32],
    d_qkv: &mut [f32],
) {
    let (hidden, stride) = (config.hidden, 3 * config.hidden);
    let outs = cut(d_qkv, texts, stride);
    starts(texts).zip(outs).collect::<Vec<_>>().into_par_iter().for_each(
        |((start, length), d_qkv)| {
            let qkv = &qkv[start * stride..][..length * stride];
            let d_out = &d_out[start * hidden..][..length * hidden];
            let (mut p, mut d) = BUFFERS.take();
            for index in 0..config.heads {
                let head = Head { index, width: hidden / config.heads, hidden };
                head_backward(head, qkv, d_out, d_qkv, (&mut p, &mut d));
            }
            BUFFERS.set((p, d));
        },
    );
}

/// A head, as columns of the rows of a text.
#[derive(Clone, Copy)]
struct Head {
    index: usize,
    width: usize,
    /// Of all heads together.
    hidden: usize,
}

/// One head of one text: its columns of `d_qkv` are written.
fn head_backward(
    head: Head,
    qkv: &[f32],
    d_out: &[f32],
    d_qkv: &mut [f32],
    (p, d): (&mut Vec<f32>, &mut Vec<f32>),
) {
    let Head { index: head, width, hidden } = head;
    let stride = 3 * hidden;
    let rows = qkv.len() / stride;
    let factor = 1.0 / (width as f32).sqrt();
    let column = |part: usize| part * hidden + head * width;
    let part = |part: usize| MatRef::strided(&qkv[column(part)..], rows, width, stride);
    let (queries, keys, values) = (part(0), part(1), part(2));
    let d_out = MatRef::strided(&d_out[head * width..], rows, width, hidden);
    p.resize(rows * rows, 0.0);
    d.resize(rows * rows, 0.0);
    let (p, d) = (&mut p[..rows * rows], &mut d[..rows * rows]);
    let scores = queries.times(keys.t()).scaled(factor);
    gemm(MatMut::new(p, rows, rows), Write::Set, scores, Threads::One);
    gemm(MatMut::new(d, rows, rows), Write::Set, d_out.times(values.t()), Threads::One);
    for (p, d) in p.chunks_exact_mut(rows).zip(d.chunks_exact_mut(rows)) {
        let total = exp_shifted(p, max(p));
        scale(p, 1.0 / total);
        let mean = dot(p, d);
        p.iter().zip(d).for_each(|(p, d)| *d = p * (*d - mean));
    }
    let (p, d) = (MatRef::new(p, rows, rows), MatRef::new(d, rows, rows));
    let mut into = |part: usize, factor: f32, a: MatRef<'_>, b: MatRef<'_>| {
        let target = MatMut::strided(&mut d_qkv[column(part)..], rows, width, stride);
        gemm(target, Write::Set, a.times(b).scaled(factor), Threads::One);
    };
    into(0, factor, d, keys);
    into(1, factor, d.t(), queries);
    into(2, 1.0, p.t(), d_out);
}

/// First row and rows of every text.
fn starts(texts: &[&[u32]]) -> impl Iterator<Item = (usize, usize)> {
    texts.iter().scan(0, |next, text| {
        let start = *next;
        *next += text.len();
        Some((start, text.len()))
    })
}

/// The texts' parts of rows of `width` numbers.
fn cut<'a>(mut rows: &'a mut [f32], texts: &[&[u32]], width: usize) -> Vec<&'a mut [f32]> {
    let part = |text: &&[u32]| rows.split_off_mut(..text.len() * width).unwrap_or_default();
    texts.iter().map(part).collect()
}
