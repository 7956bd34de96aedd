//! Attention of one text to itself in bf16, for processors with AVX-512 bf16: scores, softmax and
//! mixing of a few rows follow each other while they are in the first-level cache.
//!
//! A text is short, so a block's scores over all keys fit the cache and the softmax needs no
//! running maximum (compare Dao et al. 2022). Exponentials are taken to base 2 with the factor
//! folded into the queries, and are divided by their sum only after mixing, when a row is narrower.

use std::arch::x86_64::*;
use std::cell::Cell;

use rayon::prelude::*;

use super::bf16::{Destination, bf16x32};
use super::{Isa, Threads, spin_join};

/// Rows that attend at a time.
const ROWS: usize = 8;

/// Numbers of a vector.
const LANES: usize = 16;

/// Coefficients of `2ˣ` over ±½, the highest power first; relative error below 5e-6, far below that
/// of a bf16.
const EXP2: [f32; 5] = [0.009_560_51, 0.055_917_04, 0.240_249_81, 0.693_121_97, 0.999_999_2];

thread_local! {
    /// Buffers of one thread; taken while in use.
    static BUFFERS: Cell<SelfAttentionBuffers> = Cell::default();
}

#[derive(Debug, Default)]
struct SelfAttentionBuffers {
    /// `[rows, pairs of the width]`, times the factor of the scores.
    queries: Vec<u32>,
    /// `[block of 16 keys][pair of the width][key in block]`.
    keys: Vec<u32>,
    /// `[pair of keys][width]`.
    values: Vec<u32>,
    /// Of the rows that attend, `[ROWS, keys]`.
    scores: Vec<f32>,
    /// The same as bf16, `[ROWS, pairs of keys]`, not yet divided by their sum.
    shares: Vec<u32>,
}

/// `out = softmax(q kᵀ / sqrt(width)) v` for every head of a text. `qkv` is `[rows, 3 * hidden]`,
/// queries, keys and values side by side; `out` is `[rows, hidden]`. Returns false, and does
/// nothing, on other processors and for other widths than 32 and 64.
pub(crate) fn self_attention(
    hidden: usize,
    heads: usize,
    qkv: &[f32],
    out: &mut [f32],
    threads: Threads,
) -> bool {
    let (width, rows) = (hidden / heads, out.len() / hidden);
    if Isa::current() < Isa::Avx512Bf16 || !(width == 32 || width == 64) {
        return false;
    }
    assert!(out.len() == rows * hidden && qkv.len() == 3 * out.len() && hidden == heads * width);
    let to = Destination(out.as_mut_ptr());
    let one = |head: usize| {
        let mut buffers = BUFFERS.take();
        // SAFETY: the level was just asked; `out` holds all rows, and each head has its own
        // columns.
        unsafe {
            match width {
                32 => buffers.attend::<32>(rows, hidden, head, qkv, to),
                _ => buffers.attend::<64>(rows, hidden, head, qkv, to),
            }
        }
        BUFFERS.set(buffers);
    };
    match threads {
        Threads::One => (0..heads).for_each(one),
        Threads::All => spin_join((0..heads).into_par_iter(), one),
    }
    true
}

impl SelfAttentionBuffers {
    /// One head of `WIDTH` columns.
    ///
    /// # Safety
    /// The processor must have AVX-512 bf16; the head's columns of `rows` rows of `hidden` numbers
    /// must be writable in `out`, and nobody else may touch them meanwhile.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn attend<const WIDTH: usize>(
        &mut self,
        rows: usize,
        hidden: usize,
        head: usize,
        qkv: &[f32],
        out: Destination,
    ) {
        let blocks = rows.div_ceil(LANES);
        self.pack::<WIDTH>(rows, hidden, head, qkv);
        // An even number of blocks, since shares are rounded two vectors at a time.
        let stride = blocks.next_multiple_of(2) * LANES;
        self.scores.resize(ROWS * stride, 0.0);
        self.shares.resize(ROWS * stride / 2, 0);
        for first in (0..rows).step_by(ROWS) {
            let queries = &self.queries[first * WIDTH / 2..][..ROWS * WIDTH / 2];
            let mut block = 0;
            while block < blocks {
                let keys = &self.keys[block * LANES * WIDTH / 2..];
                let scores = &mut self.scores[block * LANES..];
                match blocks - block {
                    1 => score::<WIDTH, 1>(queries, keys, scores, stride),
                    2 => score::<WIDTH, 2>(queries, keys, scores, stride),
                    _ => score::<WIDTH, 3>(queries, keys, scores, stride),
                }
                block += 3;
            }
            let mut totals = [0.0; ROWS];
            let lines =
                self.scores.chunks_exact(stride).zip(self.shares.chunks_exact_mut(stride / 2));
            for ((scores, shares), total) in lines.zip(&mut totals) {
                *total = softmax(rows, scores, shares);
            }
            for column in (0..WIDTH).step_by(32) {
                let mixed =
                    mix::<WIDTH>(rows.div_ceil(2), &self.shares, stride / 2, &self.values, column);
                for (i, (mixed, total)) in mixed.iter().zip(totals).enumerate().take(rows - first) {
                    let inverse = _mm512_set1_ps(1.0 / total);
                    for (v, &mixed) in mixed.iter().enumerate() {
                        let at = (first + i) * hidden + head * WIDTH + column + LANES * v;
                        // SAFETY: row and columns exist, and are this call's alone, as the caller
                        // promises.
                        unsafe { _mm512_storeu_ps(out.at(at), _mm512_mul_ps(mixed, inverse)) };
                    }
                }
            }
        }
    }

    /// Takes queries, keys and values of a head out of `qkv`.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack<const WIDTH: usize>(&mut self, rows: usize, hidden: usize, head: usize, qkv: &[f32]) {
        let part = |row: usize, part: usize| {
            let line: &[f32; WIDTH] =
                match qkv[(3 * row + part) * hidden + head * WIDTH..].first_chunk() {
                    Some(line) => line,
                    None => &[0.0; WIDTH],
                };
            line.as_chunks::<LANES>().0
        };
        let zeros = [[0.0; LANES]; 4];
        let or_zeros = |row: usize, of: usize| {
            if row < rows { part(row, of) } else { &zeros[..WIDTH / LANES] }
        };

        // Base-two logarithms make the cheaper exponential.
        let factor = _mm512_set1_ps(std::f32::consts::LOG2_E / (WIDTH as f32).sqrt());
        self.queries.resize(rows.next_multiple_of(ROWS) * WIDTH / 2, 0);
        for (row, to) in
            self.queries.as_chunks_mut::<LANES>().0.chunks_exact_mut(WIDTH / 32).enumerate()
        {
            for (to, two) in to.iter_mut().zip(or_zeros(row, 0).as_chunks::<2>().0) {
                let [low, high] = two.each_ref().map(|x| _mm512_mul_ps(load(x), factor));
                store(to, rounded(low, high));
            }
        }
        let blocks = rows.div_ceil(LANES);
        self.keys.resize(blocks * LANES * WIDTH / 2, 0);
        for (index, to) in self.keys.as_chunks_mut::<LANES>().0.chunks_exact_mut(LANES).enumerate()
        {
            let (block, half) = (index / (WIDTH / 32), index % (WIDTH / 32));
            let lines = std::array::from_fn(|i| {
                let row = or_zeros(block * LANES + i, 1);
                rounded(load(&row[2 * half]), load(&row[2 * half + 1]))
            });
            for (to, line) in to.iter_mut().zip(transposed(lines)) {
                store(to, line);
            }
        }
        // Word `j` of the first row, then word `j` of the second.
        let order: [u16; 32] = std::array::from_fn(|word| (word / 2 + word % 2 * 16) as u16);
        // SAFETY: 64 bytes.
        let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
        self.values.resize(rows.div_ceil(2) * WIDTH, 0);
        for (pair, to) in
            self.values.as_chunks_mut::<LANES>().0.chunks_exact_mut(WIDTH / LANES).enumerate()
        {
            let (low, high) = (part(2 * pair, 2), or_zeros(2 * pair + 1, 2));
            for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
                store(to, _mm512_permutexvar_epi16(order, rounded(load(low), load(high))));
            }
        }
    }
}

/// Scores of the rows for `BLOCKS` blocks of keys; rows of `scores` are `stride` apart.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn score<const WIDTH: usize, const BLOCKS: usize>(
    queries: &[u32],
    keys: &[u32],
    scores: &mut [f32],
    stride: usize,
) {
    let pairs = WIDTH / 2;
    assert!(queries.len() >= ROWS * pairs && keys.len() >= BLOCKS * LANES * pairs);
    assert!(scores.len() >= (ROWS - 1) * stride + BLOCKS * LANES);
    let mut sums = [[_mm512_setzero_ps(); BLOCKS]; ROWS];
    for pair in 0..pairs {
        // SAFETY: within the buffers (asserted).
        unsafe {
            let block =
                |v: usize| _mm512_loadu_si512(keys.as_ptr().add((v * pairs + pair) * LANES).cast());
            let keys: [__m512i; BLOCKS] = std::array::from_fn(block);
            for (i, sums) in sums.iter_mut().enumerate() {
                let query =
                    bf16x32(_mm512_set1_epi32(*queries.as_ptr().add(i * pairs + pair) as i32));
                for (sum, keys) in sums.iter_mut().zip(keys) {
                    *sum = _mm512_dpbf16_ps(*sum, query, bf16x32(keys));
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(scores.as_mut_ptr().add(i * stride + v * LANES), sum) };
        }
    }
}

/// `shares = 2^(scores - largest)`, zero from the key `keys` on; returns their sum.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn softmax(keys: usize, scores: &[f32], shares: &mut [u32]) -> f32 {
    let (vectors, lowest) = (scores.as_chunks::<LANES>().0, _mm512_set1_ps(f32::NEG_INFINITY));
    let some = |v: usize| match keys.saturating_sub(v * LANES) {
        left @ 0..LANES => (1 << left) - 1,
        _ => !0,
    };
    let mut largest = lowest;
    for (v, scores) in vectors.iter().enumerate() {
        largest = _mm512_mask_max_ps(largest, some(v), largest, load(scores));
    }
    let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut total = _mm512_setzero_ps();
    let shares = shares.as_chunks_mut::<LANES>().0;
    for ((pair, two), to) in vectors.as_chunks::<2>().0.iter().enumerate().zip(shares) {
        let [low, high] = [0, 1].map(|half| {
            let x = _mm512_sub_ps(load(&two[half]), largest);
            let whole =
                _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
            let x = _mm512_sub_ps(x, whole);
            let mut power = _mm512_set1_ps(EXP2[0]);
            for coefficient in &EXP2[1..] {
                power = _mm512_fmadd_ps(power, x, _mm512_set1_ps(*coefficient));
            }
            _mm512_maskz_scalef_ps(some(2 * pair + half), power, whole)
        });
        total = _mm512_add_ps(total, _mm512_add_ps(low, high));
        store(to, rounded(low, high));
    }
    _mm512_reduce_add_ps(total)
}

/// The rows' sums of 32 columns of the values, from `column` on, weighted by the shares; a row of
/// these is `stride` pairs.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn mix<const WIDTH: usize>(
    pairs: usize,
    shares: &[u32],
    stride: usize,
    values: &[u32],
    column: usize,
) -> [[__m512; 2]; ROWS] {
    assert!(shares.len() >= ROWS * stride && pairs <= stride && column + 32 <= WIDTH);
    assert!(values.len() >= pairs * WIDTH);
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for pair in 0..pairs {
        // SAFETY: within the buffers (asserted).
        unsafe {
            let values = values.as_ptr().add(pair * WIDTH + column);
            let values = [0, LANES].map(|at| bf16x32(_mm512_loadu_si512(values.add(at).cast())));
            for (i, sums) in sums.iter_mut().enumerate() {
                let share =
                    bf16x32(_mm512_set1_epi32(*shares.as_ptr().add(i * stride + pair) as i32));
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = _mm512_dpbf16_ps(*sum, share, values);
                }
            }
        }
    }
    sums
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(x: &[f32; LANES]) -> __m512 {
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_ps(x.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(to: &mut [u32; LANES], x: __m512i) {
    // SAFETY: 64 bytes.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) };
}

/// Both rounded to bf16, one after the other.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn rounded(low: __m512, high: __m512) -> __m512i {
    // The first argument becomes the upper half. SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// The transpose of a square of sixteen lines.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(lines: [__m512i; LANES]) -> [__m512i; LANES] {
    // Within 128-bit lanes: words of two lines, then of four.
    let mut fours = lines;
    for i in (0..LANES).step_by(4) {
        let [a, b, c, d] = [lines[i], lines[i + 1], lines[i + 2], lines[i + 3]];
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        (fours[i], fours[i + 1]) = (_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        (fours[i + 2], fours[i + 3]) =
            (_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    // Then the lanes themselves: lane `l` of `fours[4 i + j]` holds column `4 l + j` of lines `4 i`
    // to `4 i + 3`.
    let mut columns = lines;
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let (low_ab, low_cd) = (_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(c, d, 0x44));
        let (high_ab, high_cd) =
            (_mm512_shuffle_i32x4(a, b, 0xEE), _mm512_shuffle_i32x4(c, d, 0xEE));
        columns[j] = _mm512_shuffle_i32x4(low_ab, low_cd, 0x88);
        columns[4 + j] = _mm512_shuffle_i32x4(low_ab, low_cd, 0xDD);
        columns[8 + j] = _mm512_shuffle_i32x4(high_ab, high_cd, 0x88);
        columns[12 + j] = _mm512_shuffle_i32x4(high_ab, high_cd, 0xDD);
    }
    columns
}

#[cfg(test)]
mod tests;
