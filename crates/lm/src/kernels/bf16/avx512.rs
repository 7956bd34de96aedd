//! The kernels of bf16 products for processors with AVX-512 BF16.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Product, WIDTH, portable_convert_row};

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
    portable_convert_row(&row[whole..], &mut pairs[whole / 2..]);
}

/// # Safety
/// The processor must have AVX-512 F, BW and BF16; the piece must lie within the result, and nobody else may
/// touch it meanwhile.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn piece(product: &Product<'_>, rows: Range<usize>, panels: Range<usize>) {
    // SAFETY: passed on to the caller.
    unsafe {
        match rows.len() {
            // Few rows keep few sums: several panels at once hide the latency of the additions.
            1 => strip::<1, 4>(product, rows, panels),
            2 => strip::<2, 4>(product, rows, panels),
            3 => strip::<3, 2>(product, rows, panels),
            4 => strip::<4, 2>(product, rows, panels),
            _ => {
                for panel in panels {
                    let one = panel..panel + 1;
                    let mut row = rows.start;
                    while row < rows.end {
                        let next = (row + 8).min(rows.end);
                        match next - row {
                            1 => strip::<1, 1>(product, row..next, one.clone()),
                            2 => strip::<2, 1>(product, row..next, one.clone()),
                            3 => strip::<3, 1>(product, row..next, one.clone()),
                            4 => strip::<4, 1>(product, row..next, one.clone()),
                            5 => strip::<5, 1>(product, row..next, one.clone()),
                            6 => strip::<6, 1>(product, row..next, one.clone()),
                            7 => strip::<7, 1>(product, row..next, one.clone()),
                            _ => strip::<8, 1>(product, row..next, one.clone()),
                        }
                        row = next;
                    }
                }
            }
        }
    }
}

/// `ROWS` rows through a range of panels, `PANELS` at a time.
///
/// # Safety
/// As [`piece`], and `rows` holds `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn strip<const ROWS: usize, const PANELS: usize>(
    product: &Product<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
) {
    let n = product.panels.n;
    let mut panel = panels.start;
    // SAFETY: the tiles' rows and panels lie within the result as the caller promises. Only the last panel
    // can be wider than the columns that are left; its tile goes to `spare`, which holds eight rows of one
    // panel, and only the existing columns are copied.
    unsafe {
        let at = |column: usize| product.c.0.add(rows.start * n + column);
        while panel < panels.end {
            let first = panel * WIDTH;
            if panel + PANELS <= panels.end && first + PANELS * WIDTH <= n {
                tile::<ROWS, PANELS>(product, rows.start, panel, at(first), n, product.accumulate);
                panel += PANELS;
                continue;
            }
            if first + WIDTH <= n {
                tile::<ROWS, 1>(product, rows.start, panel, at(first), n, product.accumulate);
            } else {
                let mut spare = [0f32; 8 * WIDTH];
                tile::<ROWS, 1>(product, rows.start, panel, spare.as_mut_ptr(), WIDTH, false);
                for (row, sums) in spare.chunks_exact(WIDTH).enumerate().take(ROWS) {
                    for (column, &sum) in sums.iter().enumerate().take(n - first) {
                        let slot = at(first + column).add(row * n);
                        *slot = if product.accumulate { *slot + sum } else { sum };
                    }
                }
            }
            panel += 1;
        }
    }
}

/// Sums for `ROWS` rows from `row` and `PANELS` whole panels from `panel`, written at `c`.
///
/// # Safety
/// The processor must have the features; the rows and panels must exist; `c` must be writable over `ROWS`
/// rows of `PANELS * WIDTH` elements, `stride` apart.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn tile<const ROWS: usize, const PANELS: usize>(
    product: &Product<'_>,
    row: usize,
    panel: usize,
    c: *mut f32,
    stride: usize,
    accumulate: bool,
) {
    let depth = product.panels.k.div_ceil(2);
    let mut sums = [[[_mm512_setzero_ps(); 3]; PANELS]; ROWS];
    // SAFETY: rows `row..row + ROWS` of `a` hold `depth` pairs each, panels `panel..panel + PANELS` hold
    // `depth * WIDTH` each, and `c` is writable as the caller promises.
    unsafe {
        let a = product.a.as_ptr().add(row * depth);
        let b = product.panels.pairs.as_ptr().add(panel * depth * WIDTH);
        for d in 0..depth {
            for p in 0..PANELS {
                let line = b.add((p * depth + d) * WIDTH);
                let b: [__m512bh; 3] = [
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(line.cast())),
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(line.add(16).cast())),
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(line.add(32).cast())),
                ];
                for (i, sums) in sums.iter_mut().enumerate() {
                    let both = _mm512_set1_epi32(*a.add(i * depth + d) as i32);
                    let both: __m512bh = std::mem::transmute::<__m512i, __m512bh>(both);
                    for v in 0..3 {
                        sums[p][v] = _mm512_dpbf16_ps(sums[p][v], both, b[v]);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.as_flattened().iter().enumerate() {
                let slot = c.add(i * stride + j * 16);
                let sum = if accumulate { _mm512_add_ps(sum, _mm512_loadu_ps(slot)) } else { sum };
                _mm512_storeu_ps(slot, sum);
            }
        }
    }
}
