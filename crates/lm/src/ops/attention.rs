//! Causal grouped-query attention over several sequences, in blocks of query rows.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::Precision;
use crate::kernels::{self, MatMut, MatRef, Threads, gemm};

/// Query rows a thread takes at a time; few enough that two threads end at the same time.
const ROWS: usize = 32;

/// Scores held at a time by one thread: half a mebibyte, within the second-level cache.
const SCORES: usize = 1 << 17;

/// Keys that stay in the first-level cache while the query heads of a group take their turns, where
/// there is a single row.
const KEYS: usize = 32;

/// How the width of queries, keys and values divides into heads, and how they attend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heads {
    /// Query heads.
    pub(crate) queries: usize,
    /// Key and value heads; divides `queries`.
    pub(crate) keys: usize,
    /// Width of one head.
    pub(crate) width: usize,
    /// What scores are multiplied by.
    pub(crate) factor: f32,
    /// Keys that a row sees, its own included; `None` = all before it.
    pub(crate) window: Option<usize>,
}

impl Heads {
    /// Heads that see everything before them, scores multiplied by `1 / sqrt(width)`.
    #[cfg(test)]
    pub(crate) fn plain(queries: usize, keys: usize, width: usize) -> Self {
        Self { queries, keys, width, factor: 1.0 / (width as f32).sqrt(), window: None }
    }

    /// Query heads that share one key head.
    pub(crate) fn group(self) -> usize {
        self.queries / self.keys
    }

    /// The first key that the row at `position` sees.
    pub(crate) fn first_seen(self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }
}

/// One sequence of a batch: what its new rows may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence<'a> {
    /// New rows; they are the last of the keys.
    pub(crate) rows: usize,
    /// Keys before the new rows.
    pub(crate) past: usize,
    /// Rotated keys, `past + rows` rows that start `stride` elements apart, heads side by side.
    pub(crate) keys: &'a [f32],
    /// Values, laid out like the keys.
    pub(crate) values: &'a [f32],
    /// Distance between the rows of keys and of values.
    pub(crate) stride: usize,
}

/// Some rows of a sequence, for some key heads, and where their results go.
struct Piece<'a> {
    sequence: Sequence<'a>,
    /// Rows within the sequence.
    rows: Range<usize>,
    key_heads: Range<usize>,
    /// `[rows, width]` of the queries of these heads, rows `query_stride` apart.
    queries: &'a [f32],
    /// `[rows, heads of the piece * width]`.
    out: &'a mut [f32],
    /// `[rows, heads of the piece]`, or empty where nobody asks.
    lse: &'a mut [f32],
}

thread_local! {
    /// Buffers of one thread; taken while in use, so that nested work finds an empty one and not a
    /// shared one.
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers { queries: Vec::new(), scores: Vec::new(), out: Vec::new() }) };
}

#[derive(Default)]
struct Buffers {
    queries: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

/// `out = softmax(q kᵀ * factor, causal and within the window) v` for the new rows of all
/// sequences.
///
/// `queries` holds the rows of all sequences one after the other, `query_stride` apart, the query
/// heads first in each row; `out` is `[rows, query heads * width]`; `lse` receives the logarithm of
/// each softmax's denominator, `[rows, query heads]`, unless it is empty. In bf16 all factors are
/// rounded where the processor multiplies bf16 itself.
pub(crate) fn attention(
    heads: Heads,
    precision: Precision,
    sequences: &[Sequence<'_>],
    queries: &[f32],
    query_stride: usize,
    mut out: &mut [f32],
    mut lse: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16 && kernels::heads::available() {
        return super::attention_in_bf16::attention_in_bf16(
            heads,
            sequences,
            queries,
            query_stride,
            out,
            lse,
        );
    }
    let _ = precision;
    let mut pieces = Vec::new();
    let mut first = 0;
    let want_lse = !lse.is_empty();
    for &sequence in sequences {
        for start in (0..sequence.rows).step_by(ROWS) {
            let rows = start..(start + ROWS).min(sequence.rows);
            // A single row is split by heads instead, or one thread would do all of it.
            let step = if sequence.rows == 1 { 1 } else { heads.keys };
            for key_head in (0..heads.keys).step_by(step) {
                let piece_heads = step * heads.group();
                let out =
                    out.split_off_mut(..rows.len() * piece_heads * heads.width).unwrap_or_default();
                let lse = match want_lse {
                    true => lse.split_off_mut(..rows.len() * piece_heads).unwrap_or_default(),
                    false => &mut [],
                };
                let at = (first + start) * query_stride + key_head * heads.group() * heads.width;
                let queries = &queries[at..];
                pieces.push(Piece {
                    sequence,
                    rows: rows.clone(),
                    key_heads: key_head..key_head + step,
                    queries,
                    out,
                    lse,
                });
            }
        }
        first += sequence.rows;
    }
    pieces.into_par_iter().with_max_len(1).for_each(|mut piece| {
        let mut buffers = BUFFERS.take();
        piece.compute(heads, query_stride, &mut buffers);
        BUFFERS.set(buffers);
    });
}

impl Piece<'_> {
    fn compute(&mut self, heads: Heads, query_stride: usize, buffers: &mut Buffers) {
        let past = self.sequence.past;
        let visible = past + self.rows.end - heads.first_seen(past + self.rows.start);
        let block = (SCORES / (visible * heads.group())).clamp(1, self.rows.len());
        for start in self.rows.clone().step_by(block) {
            let rows = start..(start + block).min(self.rows.end);
            for key_head in self.key_heads.clone() {
                self.block(heads, query_stride, rows.clone(), key_head, buffers);
            }
        }
    }

    /// One key head for a block of rows: the rows of all query heads that share it are stacked, so
    /// that keys and values are read once for them.
    fn block(
        &mut self,
        heads: Heads,
        query_stride: usize,
        rows: Range<usize>,
        key_head: usize,
        buffers: &mut Buffers,
    ) {
        let (group, width) = (heads.group(), heads.width);
        let Sequence { past, keys, values, stride, .. } = self.sequence;
        // Keys before the first that any row of the block sees are left out of all products.
        let lowest = heads.first_seen(past + rows.start);
        let visible = past + rows.end - lowest;
        let stacked = rows.len() * group;
        let first = rows.start - self.rows.start;
        let column = (key_head - self.key_heads.start) * group;
        let piece_heads = self.key_heads.len() * group;

        buffers.queries.clear();
        for row in 0..rows.len() {
            let at = (first + row) * query_stride + column * width;
            buffers.queries.extend_from_slice(&self.queries[at..at + group * width]);
        }
        buffers.scores.resize(stacked * visible, 0.0);
        buffers.out.resize(stacked * width, 0.0);

        let keys = &keys[lowest * stride + key_head * width..];
        let values = &values[lowest * stride + key_head * width..];
        let single = rows.len() == 1;
        if single {
            for start in (0..visible).step_by(KEYS) {
                let lines = buffers.scores.chunks_exact_mut(visible);
                for (q, scores) in buffers.queries.chunks_exact(width).zip(lines) {
                    let scores = &mut scores[start..visible.min(start + KEYS)];
                    kernels::dots(&keys[start * stride..], stride, q, heads.factor, false, scores);
                }
            }
        } else {
            let scores = MatMut::new(&mut buffers.scores, stacked, visible);
            let q = MatRef::new(&buffers.queries, stacked, width);
            let k = MatRef::strided(keys, visible, width, stride);
            gemm(scores, false, heads.factor, q, k.t(), Threads::One);
        }
        // Rows are left unnormalised; the result is divided instead, which is narrower.
        let totals: Vec<f32> = buffers
            .scores
            .chunks_exact_mut(visible)
            .enumerate()
            .map(|(i, scores)| {
                let position = past + rows.start + i / group;
                let (before, scores) = scores.split_at_mut(heads.first_seen(position) - lowest);
                let (seen, after) = scores.split_at_mut(position + 1 - heads.first_seen(position));
                let largest = kernels::max(seen);
                let total = kernels::exp_shifted(seen, largest);
                before.fill(0.0);
                after.fill(0.0);
                if !self.lse.is_empty() {
                    self.lse[(first + i / group) * piece_heads + column + i % group] =
                        largest + total.ln();
                }
                total
            })
            .collect();
        if single {
            buffers.out.fill(0.0);
            for start in (0..visible).step_by(KEYS) {
                let lines = buffers.scores.chunks_exact(visible);
                for (p, out) in lines.zip(buffers.out.chunks_exact_mut(width)) {
                    let p = &p[start..visible.min(start + KEYS)];
                    kernels::weighted_sum(&values[start * stride..], stride, p, out);
                }
            }
        } else {
            let p = MatRef::new(&buffers.scores, stacked, visible);
            let v = MatRef::strided(values, visible, width, stride);
            gemm(MatMut::new(&mut buffers.out, stacked, width), false, 1.0, p, v, Threads::One);
        }
        for ((i, row), total) in buffers.out.chunks_exact_mut(width).enumerate().zip(totals) {
            kernels::scale(row, 1.0 / total);
            let at = ((first + i / group) * piece_heads + column + i % group) * width;
            self.out[at..at + width].copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    /// Attention of one sequence in f64, straight from the formula: results and log-sum-exps.
    fn reference(
        heads: Heads,
        rows: usize,
        q: &[f32],
        k: &[f32],
        v: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let (hq, hk, d) = (heads.queries, heads.keys, heads.width);
        let total = k.len() / (hk * d);
        let past = total - rows;
        let (mut out, mut lse) = (vec![0.0; rows * hq * d], vec![0.0; rows * hq]);
        for i in 0..rows {
            for h in 0..hq {
                let kh = h / heads.group();
                let first = heads.first_seen(past + i);
                let weights: Vec<f64> = (first..=past + i)
                    .map(|j| {
                        let dot: f64 = (0..d)
                            .map(|c| {
                                f64::from(q[(i * hq + h) * d + c])
                                    * f64::from(k[(j * hk + kh) * d + c])
                            })
                            .sum();
                        (dot * f64::from(heads.factor)).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                lse[i * hq + h] = sum.ln() as f32;
                for c in 0..d {
                    let weighted: f64 = weights
                        .iter()
                        .enumerate()
                        .map(|(j, w)| w * f64::from(v[((first + j) * hk + kh) * d + c]))
                        .sum();
                    out[(i * hq + h) * d + c] = (weighted / sum) as f32;
                }
            }
        }
        (out, lse)
    }

    #[test]
    fn several_sequences_with_and_without_a_past_match_the_formula() {
        for (queries, keys, width, window) in [
            (6, 2, 8, None),
            (3, 3, 4, None),
            (4, 1, 16, None),
            (6, 2, 8, Some(1)),
            (6, 2, 8, Some(7)),
            (4, 1, 16, Some(33)),
            (4, 4, 8, Some(1000)),
        ] {
            let heads = Heads { window, factor: 0.3, ..Heads::plain(queries, keys, width) };
            let shapes = [(70, 0), (1, 9), (5, 33), (1, 0), (33, 1)];
            let total: usize = shapes.iter().map(|s| s.0).sum();
            let q = noise(1, total * queries * width);
            let stored: Vec<_> = shapes
                .iter()
                .enumerate()
                .map(|(i, (rows, past))| {
                    let n = (rows + past) * keys * width;
                    (noise(10 + i as u64, n), noise(20 + i as u64, n))
                })
                .collect();
            let sequences: Vec<_> = shapes
                .iter()
                .zip(&stored)
                .map(|(&(rows, past), (keys_of, values))| Sequence {
                    rows,
                    past,
                    keys: keys_of,
                    values,
                    stride: keys * width,
                })
                .collect();
            let mut out = vec![0.0; q.len()];
            let mut lse = vec![0.0; total * queries];
            attention(heads, Precision::F32, &sequences, &q, queries * width, &mut out, &mut lse);
            let (mut expected, mut expected_lse) = (Vec::new(), Vec::new());
            let mut first = 0;
            for sequence in &sequences {
                let q = &q[first * queries * width..][..sequence.rows * queries * width];
                let (o, l) = reference(heads, sequence.rows, q, sequence.keys, sequence.values);
                expected.extend(o);
                expected_lse.extend(l);
                first += sequence.rows;
            }
            assert_close(&out, &expected, 1e-5);
            assert_close(&lse, &expected_lse, 1e-5);
            let mut quiet = vec![0.0; q.len()];
            attention(heads, Precision::F32, &sequences, &q, queries * width, &mut quiet, &mut []);
            assert_eq!(quiet, out);
        }
    }
}
