//! Causal grouped-query attention of new rows over a key-value cache.
//!
//! The keys are taken in chunks of a fixed length, counted from the first token, and every row's
//! chunks are joined in order. So a row's result is the same to the last bit alone, among other
//! rows, in one piece or in several, and with any number of threads.
//!
//! Softmaxes over parts of the keys are joined as in FlashDecoding: each keeps its largest score
//! and its sum, and both sides are scaled to the larger of the two.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::Heads;
use crate::KvCache;
use crate::decoder::kv_cache::{BLOCK, value_columns};
use crate::kernels::{self, Lines, MatMut, MatRef, WordRows, Write};

/// Keys of a chunk: four blocks.
const CHUNK: usize = 4 * BLOCK;

/// Query rows a thread takes at a time.
const ROWS: usize = 16;

/// Products of numbers below which attention stays on one thread: waking another takes longer.
const SPLIT_WORK: usize = 1 << 17;

/// One sequence of a batch: the last `rows` tokens written to its cache are new.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CachedRows<'a> {
    /// New rows, written to the cache but not yet counted by its length.
    pub(crate) rows: usize,
    pub(crate) cache: &'a KvCache,
}

/// Some rows of a sequence for one key head.
#[derive(Clone)]
struct CachedPiece<'a> {
    cache: &'a KvCache,
    layer: usize,
    heads: Heads,
    key_head: usize,
    /// Positions of the rows.
    positions: Range<usize>,
    /// Row of the batch that the first of them is.
    first: usize,
    /// Chunks of keys to be looked at.
    chunks: Range<usize>,
}

/// A softmax over some of the keys: not divided by its denominator yet.
struct Partial<'a> {
    /// `[stacked rows, value columns]`
    out: &'a mut [f32],
    /// `[stacked rows]`: largest score and sum of `exp(score - largest)`; a sum of zero where a row
    /// sees no key.
    largest: &'a mut [f32],
    sums: &'a mut [f32],
}

thread_local! {
    /// Buffers of one thread; taken while in use, so that nested work finds empty ones and not
    /// shared ones.
    static BUFFERS: Cell<Option<Box<CachedAttentionBuffers>>> = const { Cell::new(None) };
}

#[derive(Default)]
struct CachedAttentionBuffers {
    row: Vec<f32>,
    queries: Vec<u32>,
    partial: Vec<f32>,
    chunk: ChunkBuffers,
}

/// Of one chunk of keys.
#[derive(Default)]
struct ChunkBuffers {
    /// `[stacked rows, keys]`
    scores: Vec<f32>,
    /// The exponentials, as words.
    weights: Vec<u32>,
}

/// `out = softmax(q kᵀ * factor, causal and within the window) v` for the new rows of all
/// sequences, with the keys and values of `layer`.
///
/// `queries` holds the rows of all sequences one after the other, `[rows, query heads * width]`;
/// `out` has the same shape.
pub(crate) fn cached_attention(
    heads: Heads,
    layer: usize,
    sequences: &[CachedRows<'_>],
    queries: MatRef<'_>,
    out: &mut [f32],
) {
    let mut pieces = Vec::new();
    let (mut first, mut work) = (0, 0);
    for &CachedRows { rows, cache } in sequences {
        let past = cache.len();
        for start in (0..rows).step_by(ROWS) {
            let positions = past + start..past + (start + ROWS).min(rows);
            for key_head in 0..heads.keys {
                let chunks =
                    heads.first_seen(positions.start) / CHUNK..positions.end.div_ceil(CHUNK);
                work += chunks.len() * CHUNK * positions.len() * heads.group() * heads.width;
                let (positions, first) = (positions.clone(), first + start);
                pieces.push(CachedPiece {
                    cache,
                    layer,
                    heads,
                    key_head,
                    positions,
                    first,
                    chunks,
                });
            }
        }
        first += rows;
    }
    let alone = work < SPLIT_WORK || rayon::current_num_threads() == 1;
    // Too few pieces to share: a piece for every chunk then, joined at the end.
    let split = !alone && pieces.len() < 4 * rayon::current_num_threads();
    let parts: Vec<CachedPiece<'_>> = match split {
        true => {
            pieces.iter().flat_map(|piece| piece.chunks.clone().map(|at| piece.only(at))).collect()
        }
        false => pieces.clone(),
    };
    let mut results = vec![0.0; parts.iter().map(CachedPiece::result).sum()];
    let mut rest = &mut results[..];
    let tasks: Vec<_> = parts
        .iter()
        .map(|part| (part, part.partial(rest.split_off_mut(..part.result()).unwrap_or_default())))
        .collect();
    let run = |(part, mut partial): (&CachedPiece<'_>, Partial<'_>)| {
        let mut buffers = BUFFERS.take().unwrap_or_default();
        part.compute(queries, &mut partial, &mut buffers);
        BUFFERS.set(Some(buffers));
    };
    match alone {
        true => tasks.into_iter().for_each(run),
        false => tasks.into_par_iter().for_each(run),
    }
    let mut rest = &mut results[..];
    for piece in &pieces {
        let mut whole = piece.partial(rest.split_off_mut(..piece.result()).unwrap_or_default());
        if split {
            for _ in piece.chunks.clone().skip(1) {
                whole
                    .join(&piece.partial(rest.split_off_mut(..piece.result()).unwrap_or_default()));
            }
        }
        piece.write(&whole, out);
    }
}

impl<'a> CachedPiece<'a> {
    /// Query rows of all heads that share the key head.
    fn stacked(&self) -> usize {
        self.positions.len() * self.heads.group()
    }

    /// Numbers of a result.
    fn result(&self) -> usize {
        self.stacked() * (value_columns(self.heads.width) + 2)
    }

    fn only(&self, chunk: usize) -> Self {
        Self { chunks: chunk..chunk + 1, ..self.clone() }
    }

    fn partial<'b>(&self, numbers: &'b mut [f32]) -> Partial<'b> {
        let (out, rest) = numbers.split_at_mut(self.stacked() * value_columns(self.heads.width));
        let (largest, sums) = rest.split_at_mut(self.stacked());
        Partial { out, largest, sums }
    }

    fn compute(
        &self,
        queries: MatRef<'_>,
        whole: &mut Partial<'_>,
        buffers: &mut CachedAttentionBuffers,
    ) {
        let Heads { width, .. } = self.heads;
        let (form, group) = (self.cache.form(), self.heads.group());
        let words = form.words(width);
        let CachedAttentionBuffers { row, queries: encoded, partial, chunk: buffers } = buffers;
        encoded.resize(self.stacked() * words, 0);
        for (i, words) in encoded.chunks_exact_mut(words).enumerate() {
            let head = self.key_head * group + i % group;
            row.clear();
            row.extend_from_slice(&queries.row(self.first + i / group)[head * width..][..width]);
            kernels::scale(row, self.heads.factor);
            form.encode(row, words);
        }
        partial.resize(self.result(), 0.0);
        let mut chunks = self.chunks.clone();
        if let Some(chunk) = chunks.next() {
            self.chunk(chunk, encoded, buffers, whole);
        }
        for chunk in chunks {
            let mut next = self.partial(partial);
            self.chunk(chunk, encoded, buffers, &mut next);
            whole.join(&next);
        }
    }

    /// The softmax over one chunk of keys.
    fn chunk(
        &self,
        chunk: usize,
        queries: &[u32],
        buffers: &mut ChunkBuffers,
        partial: &mut Partial<'_>,
    ) {
        let ChunkBuffers { scores, weights } = buffers;
        let (stacked, group, form) = (self.stacked(), self.heads.group(), self.cache.form());
        let columns = value_columns(self.heads.width);
        let (query_words, block_words) = (form.words(self.heads.width), form.words(BLOCK));
        let first = chunk * CHUNK;
        let count = (self.positions.end - first).min(CHUNK);
        let blocks = count.div_ceil(BLOCK);
        let head = |block: usize| {
            self.cache.head(self.layer, self.key_head, chunk * (CHUNK / BLOCK) + block)
        };
        let stride = blocks * BLOCK;
        scores.resize(stacked * stride, 0.0);
        weights.resize(stacked * blocks * block_words, 0);
        for block in 0..blocks {
            let rows = WordRows { count: stacked, words: queries, stride: query_words };
            let keys = Lines { count: query_words, columns: BLOCK, words: head(block).0 };
            let out = MatMut::strided(&mut scores[block * BLOCK..], stacked, BLOCK, stride);
            kernels::multiply(form, rows, keys, out, Write::Set);
        }
        let lines =
            scores.chunks_exact_mut(stride).zip(weights.chunks_exact_mut(blocks * block_words));
        for (i, (scores, weights)) in lines.enumerate() {
            let position = self.positions.start + i / group;
            let end = (position + 1).saturating_sub(first).min(count);
            let start = self.heads.first_seen(position).saturating_sub(first).min(end);
            let (seen, after) = scores.split_at_mut(end);
            let (before, seen) = seen.split_at_mut(start);
            partial.largest[i] = kernels::max(seen);
            partial.sums[i] = kernels::exp_shifted(seen, partial.largest[i]);
            before.fill(0.0);
            after.fill(0.0);
            form.encode(scores, weights);
        }
        for block in 0..blocks {
            let lines = form.words((count - block * BLOCK).min(BLOCK));
            let words = &weights[block * block_words..];
            let rows = WordRows { count: stacked, words, stride: blocks * block_words };
            let values = Lines { count: lines, columns, words: head(block).1 };
            let out = MatMut::new(partial.out, stacked, columns);
            let write = if block > 0 { Write::Add } else { Write::Set };
            kernels::multiply(form, rows, values, out, write);
        }
    }

    /// Divides by the denominators and puts the rows where they belong.
    fn write(&self, whole: &Partial<'_>, out: &mut [f32]) {
        let Heads { queries, width, .. } = self.heads;
        let group = self.heads.group();
        let rows = whole.out.chunks_exact(value_columns(width)).zip(&*whole.sums);
        for (i, (row, sum)) in rows.enumerate() {
            let head = (self.first + i / group) * queries + self.key_head * group + i % group;
            let out = &mut out[head * width..][..width];
            out.copy_from_slice(&row[..width]);
            kernels::scale(out, 1.0 / sum);
        }
    }
}

impl Partial<'_> {
    /// Takes in the softmax over the chunk that follows.
    fn join(&mut self, next: &Partial<'_>) {
        let columns = self.out.len() / self.sums.len().max(1);
        let rows = self.out.chunks_exact_mut(columns).zip(next.out.chunks_exact(columns));
        for (i, (out, next_out)) in rows.enumerate() {
            // A row that sees nothing of the chunk stays as it is, bit for bit.
            if next.sums[i] == 0.0 {
                continue;
            }
            let largest = self.largest[i].max(next.largest[i]);
            let (ours, theirs) =
                ((self.largest[i] - largest).exp(), (next.largest[i] - largest).exp());
            self.largest[i] = largest;
            self.sums[i] = self.sums[i] * ours + next.sums[i] * theirs;
            out.iter_mut().zip(next_out).for_each(|(x, y)| *x = *x * ours + y * theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, noise};
    use crate::{DecoderConfig, Precision};

    const LAYER: usize = 1;

    fn config(heads: Heads) -> DecoderConfig {
        let Heads { queries, keys, width, .. } = heads;
        DecoderConfig { heads: queries, kv_heads: keys, head_dim: width, ..DecoderConfig::tiny() }
    }

    /// A cache with `tokens` tokens of noise of which the last `rows` are not yet counted.
    fn filled(
        heads: Heads,
        precision: Precision,
        tokens: usize,
        rows: usize,
    ) -> (KvCache, Vec<f32>, Vec<f32>) {
        let width = heads.keys * heads.width;
        let (keys, values) = (noise(7, tokens * width), noise(8, tokens * width));
        let mut cache = KvCache::new(&config(heads), precision);
        cache.reserve(tokens);
        for (at, (key, value)) in keys.chunks(width).zip(values.chunks(width)).enumerate() {
            cache.write(LAYER, at, key, value);
        }
        cache.commit(&vec![1; tokens - rows]);
        (cache, keys, values)
    }

    fn run(heads: Heads, cache: &KvCache, rows: usize, queries: &[f32]) -> Vec<f32> {
        let stride = heads.queries * heads.width;
        let mut out = vec![0.0; rows * stride];
        let queries = MatRef::new(queries, rows, stride);
        cached_attention(heads, LAYER, &[CachedRows { rows, cache }], queries, &mut out);
        out
    }

    /// Attention in f64, straight from the formula.
    fn reference(heads: Heads, rows: usize, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let (hq, hk, d) = (heads.queries, heads.keys, heads.width);
        let past = k.len() / (hk * d) - rows;
        let mut out = vec![0.0; rows * hq * d];
        for (at, out) in out.chunks_mut(d).enumerate() {
            let (i, h) = (at / hq, at % hq);
            let weight = |j: usize| -> f64 {
                let (q, k) = (&q[at * d..][..d], &k[(j * hk + h / heads.group()) * d..][..d]);
                let dot: f64 = q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
                (dot * f64::from(heads.factor)).exp()
            };
            let first = heads.first_seen(past + i);
            let weights: Vec<f64> = (first..=past + i).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            for (c, out) in out.iter_mut().enumerate() {
                let value = |j: usize| f64::from(v[(j * hk + h / heads.group()) * d + c]);
                *out = (weights.iter().enumerate().map(|(j, w)| w * value(first + j)).sum::<f64>()
                    / sum) as f32;
            }
        }
        out
    }

    #[test]
    fn odd_shapes_match_the_formula() {
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.01)] {
            for (queries, keys, width, window) in [
                (6, 2, 8, None),
                (9, 3, 64, None),
                (4, 1, 20, Some(1)),
                (2, 2, 80, Some(300)),
                (4, 1, 256, Some(70)),
            ] {
                let heads = Heads { window, ..Heads::plain(queries, keys, width) };
                for (tokens, rows) in
                    [(1, 1), (63, 5), (64, 64), (65, 1), (257, 3), (700, 33), (1025, 1)]
                {
                    let (cache, k, v) = filled(heads, precision, tokens, rows);
                    let q = noise(9, rows * queries * width);
                    assert_close(
                        &run(heads, &cache, rows, &q),
                        &reference(heads, rows, &q, &k, &v),
                        tolerance,
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_among_others_and_behind_tokens_that_were_cut() {
        for (precision, window) in
            [(Precision::F32, None), (Precision::Bf16, None), (Precision::Bf16, Some(90))]
        {
            let heads = Heads { window, ..Heads::plain(9, 3, 64) };
            let stride = heads.queries * heads.width;
            // Beyond the first chunk the last rows are, before it the first.
            let (tokens, rows) = (600, 400);
            let (cache, keys, values) = filled(heads, precision, tokens, rows);
            let q = noise(9, rows * stride);
            let together = run(heads, &cache, rows, &q);
            for row in [0, 1, 55, 56, 57, 399] {
                let (mut cut, kv) = (cache.clone(), heads.keys * heads.width);
                let at = tokens - rows + row;
                cut.commit(&vec![1; row]);
                cut.reserve(1);
                cut.write(LAYER, 0, &keys[at * kv..][..kv], &values[at * kv..][..kv]);
                let alone = run(heads, &cut, 1, &q[row * stride..][..stride]);
                assert_eq!(alone, together[row * stride..][..stride], "row {row}");
            }
            // Several sequences at once, one of them long.
            let parts = [CachedRows { rows: 3, cache: &cache }, CachedRows { rows, cache: &cache }];
            let both = [&q[..3 * stride], &q].concat();
            let mut out = vec![0.0; both.len()];
            let queries = MatRef::new(&both, 3 + rows, stride);
            cached_attention(heads, LAYER, &parts, queries, &mut out);
            assert_eq!(out[..3 * stride], together[..3 * stride]);
            assert_eq!(out[3 * stride..], together);
        }
    }
}
