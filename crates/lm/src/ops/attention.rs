//! Causal grouped-query attention over several sequences, in blocks of query rows.
//!
//! Scores of a block exist whole, since they fit the cache; what a backward pass would need of them
//! is recomputed from the log-sum-exps (Dao et al. 2022). The query heads that share a key head
//! (Ainslie et al. 2023) are stacked into the rows of one product.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::Precision;
use crate::kernels::{self, MatMut, MatRef, Threads, Write, gemm};

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

/// Where the results of attention go.
#[derive(Debug)]
pub(crate) struct AttentionOutput<'a> {
    /// `[rows, query heads * width]`
    pub(crate) out: &'a mut [f32],
    /// The logarithm of each softmax's denominator, `[rows, query heads]`; empty where nobody asks.
    pub(crate) lse: &'a mut [f32],
}

/// Some rows of a sequence, for some key heads, and where their results go.
struct AttentionPiece<'a> {
    heads: Heads,
    sequence: Sequence<'a>,
    /// Rows within the sequence.
    rows: Range<usize>,
    key_heads: Range<usize>,
    /// Queries of these rows and heads, `[rows, heads of the piece * width]`.
    queries: MatRef<'a>,
    /// In the shapes of [`AttentionOutput`], for these rows and heads.
    to: AttentionOutput<'a>,
}

/// One key head for a block of rows of a piece, the rows of all query heads that share it stacked,
/// so that keys and values are read once for them: stacked row `i` is query head `i % group` of
/// row `i / group`.
struct Stacked<'a> {
    heads: Heads,
    /// First row within the piece, and rows.
    first: usize,
    rows: usize,
    /// Position of the first row in its sequence.
    position: usize,
    /// First query head within the piece.
    column: usize,
    /// The first key that any row sees; those before it are left out of all products.
    lowest: usize,
    /// Keys and values from `lowest` on to the last that any row sees, `[visible, width]`.
    keys: MatRef<'a>,
    values: MatRef<'a>,
}

thread_local! {
    /// Buffers of one thread; taken while in use, so that nested work finds an empty one and not a
    /// shared one.
    static BUFFERS: Cell<AttentionBuffers> = const {
        Cell::new(AttentionBuffers { queries: Vec::new(), scores: Vec::new(), out: Vec::new() })
    };
}

#[derive(Default)]
struct AttentionBuffers {
    /// `[stacked rows, width]`
    queries: Vec<f32>,
    /// `[stacked rows, visible keys]`
    scores: Vec<f32>,
    /// `[stacked rows, width]`
    out: Vec<f32>,
}

/// `out = softmax(q kᵀ * factor, causal and within the window) v` for the new rows of all
/// sequences.
///
/// `queries` holds the rows of all sequences one after the other, `[rows, query heads * width]`. In
/// bf16 all factors are rounded where the processor multiplies bf16 itself.
pub(crate) fn attention(
    heads: Heads,
    precision: Precision,
    sequences: &[Sequence<'_>],
    queries: MatRef<'_>,
    to: AttentionOutput<'_>,
) {
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16 && kernels::heads::available() {
        return super::attention_in_bf16::attention_in_bf16(heads, sequences, queries, to);
    }
    let _ = precision;
    let pieces = pieces(heads, sequences, queries, to);
    pieces.into_par_iter().with_max_len(1).for_each(|mut piece| {
        let mut buffers = BUFFERS.take();
        piece.compute(&mut buffers);
        BUFFERS.set(buffers);
    });
}

/// All sequences cut into pieces for the threads.
fn pieces<'a>(
    heads: Heads,
    sequences: &[Sequence<'a>],
    queries: MatRef<'a>,
    to: AttentionOutput<'a>,
) -> Vec<AttentionPiece<'a>> {
    let AttentionOutput { mut out, mut lse } = to;
    let (mut pieces, mut first) = (Vec::new(), 0);
    let want_lse = !lse.is_empty();
    for &sequence in sequences {
        for start in (0..sequence.rows).step_by(ROWS) {
            let rows = start..(start + ROWS).min(sequence.rows);
            // A single row is split by heads instead, or one thread would do all of it.
            let step = if sequence.rows == 1 { 1 } else { heads.keys };
            for key_head in (0..heads.keys).step_by(step) {
                let piece_heads = step * heads.group();
                let width = piece_heads * heads.width;
                let out = out.split_off_mut(..rows.len() * width).unwrap_or_default();
                let lse = match want_lse {
                    true => lse.split_off_mut(..rows.len() * piece_heads).unwrap_or_default(),
                    false => &mut [],
                };
                let column = key_head * heads.group() * heads.width;
                pieces.push(AttentionPiece {
                    heads,
                    sequence,
                    rows: rows.clone(),
                    key_heads: key_head..key_head + step,
                    queries: queries
                        .rows_from(first + start, rows.len())
                        .columns_from(column, width),
                    to: AttentionOutput { out, lse },
                });
            }
        }
        first += sequence.rows;
    }
    pieces
}

impl<'a> AttentionPiece<'a> {
    fn compute(&mut self, buffers: &mut AttentionBuffers) {
        let (heads, past) = (self.heads, self.sequence.past);
        let visible = past + self.rows.end - heads.first_seen(past + self.rows.start);
        let piece_heads = self.key_heads.len() * heads.group();
        let block = (SCORES / (visible * heads.group())).clamp(1, self.rows.len());
        for start in self.rows.clone().step_by(block) {
            let rows = start..(start + block).min(self.rows.end);
            for key_head in self.key_heads.clone() {
                let stacked = self.stacked(rows.clone(), key_head);
                stacked.gather(self.queries, buffers);
                stacked.score(buffers);
                // Rows are left unnormalised; the result is divided instead, which is narrower.
                let softmaxes = stacked.softmax(&mut buffers.scores);
                stacked.mix(buffers);
                stacked.scatter(&mut buffers.out, &softmaxes, piece_heads, &mut self.to);
            }
        }
    }

    fn stacked(&self, rows: Range<usize>, key_head: usize) -> Stacked<'a> {
        let Heads { width, .. } = self.heads;
        let Sequence { past, keys, values, stride, .. } = self.sequence;
        let lowest = self.heads.first_seen(past + rows.start);
        let visible = past + rows.end - lowest;
        let at = lowest * stride + key_head * width;
        Stacked {
            heads: self.heads,
            first: rows.start - self.rows.start,
            rows: rows.len(),
            position: past + rows.start,
            column: (key_head - self.key_heads.start) * self.heads.group(),
            lowest,
            keys: MatRef::strided(&keys[at..], visible, width, stride),
            values: MatRef::strided(&values[at..], visible, width, stride),
        }
    }
}

impl Stacked<'_> {
    fn visible(&self) -> usize {
        self.keys.rows()
    }

    fn stacked_rows(&self) -> usize {
        self.rows * self.heads.group()
    }

    /// Ranges of keys that stay in the first-level cache.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let visible = self.visible();
        (0..visible).step_by(KEYS).map(move |start| start..visible.min(start + KEYS))
    }

    /// Takes the queries of these rows and heads out of the piece's.
    fn gather(&self, queries: MatRef<'_>, buffers: &mut AttentionBuffers) {
        let (group, width) = (self.heads.group(), self.heads.width);
        buffers.queries.clear();
        for row in self.first..self.first + self.rows {
            let row = &queries.row(row)[self.column * width..][..group * width];
            buffers.queries.extend_from_slice(row);
        }
    }

    fn score(&self, buffers: &mut AttentionBuffers) {
        let (visible, width, factor) = (self.visible(), self.heads.width, self.heads.factor);
        let AttentionBuffers { queries, scores, .. } = buffers;
        scores.resize(self.stacked_rows() * visible, 0.0);
        if self.rows == 1 {
            for chunk in self.chunks() {
                let keys = self.keys.rows_from(chunk.start, chunk.len());
                for (q, scores) in queries.chunks_exact(width).zip(scores.chunks_exact_mut(visible))
                {
                    kernels::dots(keys, q, factor, &mut scores[chunk.clone()], Write::Set);
                }
            }
            return;
        }
        let scores = MatMut::new(scores, self.stacked_rows(), visible);
        let queries = MatRef::new(queries, self.stacked_rows(), width);
        let product = queries.times(self.keys.t()).scaled(factor);
        gemm(scores, Write::Set, product, Threads::One);
    }

    /// Turns scores into exponentials; returns the largest score and the sum of the exponentials of
    /// each stacked row.
    fn softmax(&self, scores: &mut [f32]) -> Vec<(f32, f32)> {
        let of_row = |(i, scores): (usize, &mut [f32])| {
            let position = self.position + i / self.heads.group();
            let first = self.heads.first_seen(position);
            let (before, scores) = scores.split_at_mut(first - self.lowest);
            let (seen, after) = scores.split_at_mut(position + 1 - first);
            let largest = kernels::max(seen);
            let total = kernels::exp_shifted(seen, largest);
            before.fill(0.0);
            after.fill(0.0);
            (largest, total)
        };
        scores.chunks_exact_mut(self.visible()).enumerate().map(of_row).collect()
    }

    /// Sums of the values, weighted by the exponentials.
    fn mix(&self, buffers: &mut AttentionBuffers) {
        let (visible, width) = (self.visible(), self.heads.width);
        let AttentionBuffers { scores, out, .. } = buffers;
        out.resize(self.stacked_rows() * width, 0.0);
        if self.rows == 1 {
            out.fill(0.0);
            for chunk in self.chunks() {
                let values = self.values.rows_from(chunk.start, chunk.len());
                for (p, out) in scores.chunks_exact(visible).zip(out.chunks_exact_mut(width)) {
                    kernels::weighted_sum(values, &p[chunk.clone()], out);
                }
            }
            return;
        }
        let p = MatRef::new(scores, self.stacked_rows(), visible);
        let out = MatMut::new(out, self.stacked_rows(), width);
        gemm(out, Write::Set, p.times(self.values), Threads::One);
    }

    /// Divides the sums `mixed` and puts them where they belong.
    fn scatter(
        &self,
        mixed: &mut [f32],
        softmaxes: &[(f32, f32)],
        piece_heads: usize,
        to: &mut AttentionOutput<'_>,
    ) {
        let (group, width) = (self.heads.group(), self.heads.width);
        let rows = mixed.chunks_exact_mut(width).zip(softmaxes).enumerate();
        for (i, (row, (largest, total))) in rows {
            let head = (self.first + i / group) * piece_heads + self.column + i % group;
            if let Some(lse) = to.lse.get_mut(head) {
                *lse = largest + total.ln();
            }
            kernels::scale(row, 1.0 / total);
            to.out[head * width..][..width].copy_from_slice(row);
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
            let rows = MatRef::new(&q, total, queries * width);
            let to = AttentionOutput { out: &mut out, lse: &mut lse };
            attention(heads, Precision::F32, &sequences, rows, to);
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
            let to = AttentionOutput { out: &mut quiet, lse: &mut [] };
            attention(heads, Precision::F32, &sequences, rows, to);
            assert_eq!(quiet, out);
        }
    }
}
