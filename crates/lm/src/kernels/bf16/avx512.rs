//! The kernels of bf16 products for processors with AVX-512 BF16.

use std::arch::x86_64::*;
use std::ops::Range;

use super::WIDTH;
use super::tile::{Run, Written};
use crate::kernels::Write;

/// # Safety
/// The processor must have AVX-512 F, BW and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn convert_row(row: &[f32], pairs: &mut [u32]) {
    let whole = row.len() / 32 * 32;
    assert!(pairs.len() >= row.len().div_ceil(2));
    for start in (0..whole).step_by(32) {
        // SAFETY: 32 floats from `start` lie in `row`, and their 16 pairs in `pairs` (asserted).
        unsafe {
            let low = _mm512_loadu_ps(row.as_ptr().add(start));
            let high = _mm512_loadu_ps(row.as_ptr().add(start + 16));
            // The first argument becomes the upper half.
            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(pairs.as_mut_ptr().add(start / 2).cast(), both);
        }
    }
    let rest = row.len() - whole;
    if rest > 0 {
        let some = |first: usize| !0 >> (16 - rest.saturating_sub(first).min(16));
        // SAFETY: the masks leave what `row` holds, and as many pairs as `pairs` holds (asserted).
        unsafe {
            let at = row.as_ptr().add(whole);
            let low = _mm512_maskz_loadu_ps(some(0), at);
            // No number beyond the last: an empty mask does not use the address.
            let high = if rest > 16 {
                _mm512_maskz_loadu_ps(some(16), at.add(16))
            } else {
                _mm512_setzero_ps()
            };
            let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            let words = !0 >> (16 - rest.div_ceil(2));
            _mm512_mask_storeu_epi32(pairs.as_mut_ptr().add(whole / 2).cast(), words, both);
        }
    }
}

/// # Safety
/// The processor must have AVX-512 F, BW and BF16; there are one or two runs, each of which must
/// have the rows and, from the first of `panels` on, the panels; the piece must lie within the
/// result, and nobody else may touch it meanwhile.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn sums(
    runs: &[Run<'_>],
    result: Written,
    rows: Range<usize>,
    panels: Range<usize>,
) {
    let first = panels.start * result.width;
    // SAFETY: passed on to the caller; whole panels alone are written several at once.
    unsafe {
        if panels.len() > 1 && result.width == WIDTH && panels.end * WIDTH <= result.n {
            let c = result.start.0.add(rows.start * result.stride + first);
            match (rows.len(), panels.len()) {
                (1, 4) => {
                    return tile::<1, 4, 3>(runs, rows.start, c, result.stride, result.write);
                }
                (2, 4) => {
                    return tile::<2, 4, 3>(runs, rows.start, c, result.stride, result.write);
                }
                (3, 2) => {
                    return tile::<3, 2, 3>(runs, rows.start, c, result.stride, result.write);
                }
                (4, 2) => {
                    return tile::<4, 2, 3>(runs, rows.start, c, result.stride, result.write);
                }
                _ => {}
            }
        }
        for (index, panel) in panels.enumerate() {
            let both = [runs[0], runs[runs.len() - 1]].map(|run| run.skip(index, result.width));
            let runs = &both[..runs.len()];
            match result.width {
                16 => column::<1>(runs, result, rows.clone(), panel),
                32 => column::<2>(runs, result, rows.clone(), panel),
                _ => column::<3>(runs, result, rows.clone(), panel),
            }
        }
    }
}

/// One panel of `VECTORS` vectors for a range of rows.
///
/// # Safety
/// As [`sums`].
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn column<const VECTORS: usize>(
    runs: &[Run<'_>],
    result: Written,
    rows: Range<usize>,
    panel: usize,
) {
    /// Rows of the highest tile.
    const MOST: usize = 16;
    let first = panel * result.width;
    let whole = first + result.width <= result.n;
    // Only the last panel can be wider than the columns that are left; its tiles go to `spare`, and
    // only the existing columns are copied.
    let mut spare = [0f32; MOST * WIDTH];
    let mut row = rows.start;
    while row < rows.end {
        let left = rows.end - row;
        // A tile's sums should fill the registers; one vector a row needs more rows for that.
        let count = if VECTORS == 1 && left >= MOST { MOST } else { left.min(8) };
        // SAFETY: rows and panel exist as the caller promises; `spare` holds sixteen rows of the
        // widest panel.
        unsafe {
            let c = result.start.0.add(row * result.stride + first);
            let (to, stride) = if whole { (c, result.stride) } else { (spare.as_mut_ptr(), WIDTH) };
            let write = if whole { result.write } else { Write::Set };
            match count {
                1 => tile::<1, 1, VECTORS>(runs, row, to, stride, write),
                2 => tile::<2, 1, VECTORS>(runs, row, to, stride, write),
                3 => tile::<3, 1, VECTORS>(runs, row, to, stride, write),
                4 => tile::<4, 1, VECTORS>(runs, row, to, stride, write),
                5 => tile::<5, 1, VECTORS>(runs, row, to, stride, write),
                6 => tile::<6, 1, VECTORS>(runs, row, to, stride, write),
                7 => tile::<7, 1, VECTORS>(runs, row, to, stride, write),
                8 => tile::<8, 1, VECTORS>(runs, row, to, stride, write),
                _ => tile::<MOST, 1, 1>(runs, row, to, stride, write),
            }
            if !whole {
                for (row, sums) in spare.chunks_exact(WIDTH).enumerate().take(count) {
                    for (column, &sum) in sums.iter().enumerate().take(result.n - first) {
                        let slot = c.add(row * result.stride + column);
                        *slot = result.write.over(*slot, sum);
                    }
                }
            }
        }
        row += count;
    }
}

/// Sums for `ROWS` rows from `row` and `PANELS` whole panels of `VECTORS` vectors, written at `c`.
///
/// # Safety
/// The processor must have the features; every run must have the rows and panels; `c` must be
/// writable over `ROWS` rows of `PANELS * VECTORS * 16` elements, `stride` apart.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn tile<const ROWS: usize, const PANELS: usize, const VECTORS: usize>(
    runs: &[Run<'_>],
    row: usize,
    c: *mut f32,
    stride: usize,
    write: Write,
) {
    let mut sums = [[[_mm512_setzero_ps(); VECTORS]; PANELS]; ROWS];
    // SAFETY: from `row` on, `left` holds `ROWS` rows of `depth` pairs; `right` holds `PANELS`
    // panels of `depth` lines; and `c` is writable, all as the caller promises.
    unsafe {
        for run in runs {
            let (a, b) = (run.left.as_ptr().add(row * run.stride), run.right.as_ptr());
            for d in 0..run.depth {
                for p in 0..PANELS {
                    let line = b.add((p * run.depth + d) * VECTORS * 16);
                    let mut pairs = [_mm512_setzero_si512(); VECTORS];
                    for (v, pairs) in pairs.iter_mut().enumerate() {
                        *pairs = _mm512_loadu_si512(line.add(v * 16).cast());
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let both = bf16x32(_mm512_set1_epi32(*a.add(i * run.stride + d) as i32));
                        for v in 0..VECTORS {
                            sums[p][v] = _mm512_dpbf16_ps(sums[p][v], both, bf16x32(pairs[v]));
                        }
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.as_flattened().iter().enumerate() {
                let slot = c.add(i * stride + j * 16);
                let sum =
                    if write.adds() { _mm512_add_ps(sum, _mm512_loadu_ps(slot)) } else { sum };
                _mm512_storeu_ps(slot, sum);
            }
        }
    }
}

/// `super::panels::transpose_pairs` for eight lines and eight pairs of columns.
///
/// # Safety
/// The processor must have AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn transpose_pairs(
    source: &[u32],
    width: usize,
    out: &mut [u32],
    out_width: usize,
) {
    assert!(
        source.len() >= 7 * width + 16 && out.len() >= 7 * out_width + 16,
        "a block past its buffers"
    );
    // Numbers 0, 2, 1, 3 of each four: the pairs of both columns from those of both lines.
    let order = _mm512_set1_epi64(0x0706_0302_0504_0100);
    let order = _mm512_add_epi64(
        order,
        _mm512_set4_epi64(0x0808_0808_0808_0808, 0, 0x0808_0808_0808_0808, 0),
    );
    let line = |c: usize| {
        // SAFETY: sixteen numbers from `c * width` lie in `source` (asserted).
        let line = unsafe { _mm512_loadu_si512(source.as_ptr().add(c * width).cast()) };
        _mm512_shuffle_epi8(line, order)
    };
    // Neighbouring lines side by side: lane `l` of `even[i]` is columns `2 l` of lines `2 i` and `2
    // i + 1`.
    let both: [(__m512i, __m512i); 4] = std::array::from_fn(|i| (line(2 * i), line(2 * i + 1)));
    let even = both.map(|(a, b)| _mm512_unpacklo_epi64(a, b));
    let odd = both.map(|(a, b)| _mm512_unpackhi_epi64(a, b));
    for (first, [a, b, c, d]) in [(0, even), (1, odd)] {
        let low = (_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(c, d, 0x44));
        let high = (_mm512_shuffle_i64x2(a, b, 0xEE), _mm512_shuffle_i64x2(c, d, 0xEE));
        let lanes = [
            _mm512_shuffle_i64x2(low.0, low.1, 0x88),
            _mm512_shuffle_i64x2(low.0, low.1, 0xDD),
            _mm512_shuffle_i64x2(high.0, high.1, 0x88),
            _mm512_shuffle_i64x2(high.0, high.1, 0xDD),
        ];
        for (l, lane) in lanes.into_iter().enumerate() {
            // SAFETY: sixteen numbers from there lie in `out` (asserted).
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().add((first + 2 * l) * out_width).cast(), lane)
            };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(in crate::kernels) fn bf16x32(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute(bits) }
}

/// Pairs of the numbers of two rows, side by side for each column, the first in the low half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn paired(low: __m512, high: __m512) -> __m512i {
    // Word `j` of the first row, then word `j` of the second.
    const ORDER: [i16; 32] = {
        let mut order = [0; 32];
        let mut word = 0;
        while word < 32 {
            order[word] = (word / 2 + word % 2 * 16) as i16;
            word += 1;
        }
        order
    };
    // SAFETY: both types are 64 bytes without invalid values; the order is 64 bytes.
    unsafe {
        // The first argument becomes the upper half.
        let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
        _mm512_permutexvar_epi16(_mm512_loadu_si512(ORDER.as_ptr().cast()), both)
    }
}
