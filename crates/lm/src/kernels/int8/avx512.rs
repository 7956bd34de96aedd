//! The kernel of eight-bit products for processors with AVX-512 VNNI.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{GROUP, Product, QUAD, WIDTH};

/// # Safety
/// The processor must have AVX-512 F and VNNI; rows and panel must exist, and nobody else may touch their results meanwhile.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn panel(product: &Product<'_>, rows: Range<usize>, panel: usize) {
    let mut row = rows.start;
    while row < rows.end {
        let next = (row + 8).min(rows.end);
        // SAFETY: passed on to the caller.
        unsafe {
            match next - row {
                1 => tile::<1>(product, row, panel),
                2 => tile::<2>(product, row, panel),
                3 => tile::<3>(product, row, panel),
                4 => tile::<4>(product, row, panel),
                5 => tile::<5>(product, row, panel),
                6 => tile::<6>(product, row, panel),
                7 => tile::<7>(product, row, panel),
                _ => tile::<8>(product, row, panel),
            }
        }
        row = next;
    }
}

/// # Safety
/// As [`panel`], for `ROWS` rows from `row`.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const ROWS: usize>(product: &Product<'_>, row: usize, panel: usize) {
    let (quads, scales) = product.panel(panel);
    let rows: [_; ROWS] = std::array::from_fn(|i| product.row(row + i));
    let mut sums = [[_mm512_setzero_ps(); 3]; ROWS];
    for (group, of_columns) in scales.iter().enumerate() {
        let first = group * GROUP / QUAD;
        let quads = &quads[first..quads.len().min(first + GROUP / QUAD)];
        let mut whole = [[_mm512_setzero_si512(); 3]; ROWS];
        for (d, line) in quads.iter().enumerate() {
            // SAFETY: a line is three vectors; every row has as many quads as the panel.
            unsafe {
                let line: *const [i8; QUAD] = line.as_ptr();
                let b = [0, 16, 32].map(|column| _mm512_loadu_si512(line.add(column).cast()));
                for (whole, row) in whole.iter_mut().zip(&rows) {
                    let codes = i32::from_ne_bytes(*row.0.get_unchecked(first + d));
                    let a = _mm512_set1_epi32(codes);
                    for (whole, b) in whole.iter_mut().zip(b) {
                        *whole = _mm512_dpbusd_epi32(*whole, a, b);
                    }
                }
            }
        }
        for v in 0..3 {
            // SAFETY: a group's scales and sums are three vectors each.
            let (scale, sum) = unsafe {
                let at = 16 * v;
                (
                    _mm512_loadu_ps(of_columns.scale.as_ptr().add(at)),
                    _mm512_loadu_ps(of_columns.sum.as_ptr().add(at)),
                )
            };
            for ((sums, whole), row) in sums.iter_mut().zip(&whole).zip(&rows) {
                let [step, lowest] = row.1[group];
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(whole[v]), scale);
                let from_lowest = _mm512_fmadd_ps(_mm512_set1_ps(lowest), sum, sums[v]);
                sums[v] = _mm512_fmadd_ps(product, _mm512_set1_ps(step), from_lowest);
            }
        }
    }
    let n = product.panels.n;
    let columns = n - (panel * WIDTH).min(n);
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let first = panel * WIDTH + 16 * v;
            let left = columns.saturating_sub(16 * v);
            let some: __mmask16 = if left >= 16 { !0 } else { (1 << left) - 1 };
            if left == 0 {
                break;
            }
            // SAFETY: the mask leaves the columns that exist; the row exists, and this call alone writes there.
            unsafe {
                let slot = product.c.0.add((row + i) * n + first);
                let bias = _mm512_maskz_loadu_ps(some, product.bias.as_ptr().add(first));
                let mut sum = _mm512_add_ps(sum, bias);
                if product.accumulate {
                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(some, slot), sum);
                }
                _mm512_mask_storeu_ps(slot, some, sum);
            }
        }
    }
}
