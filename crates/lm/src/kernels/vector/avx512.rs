//! One row against many, for AVX-512: the sums stay in registers, and sixteen of them are folded at
//! once. Every result has the same bits as from the loops in the parent module.

use std::arch::x86_64::*;

use crate::kernels::{MatRef, Write};

/// Rows whose products are folded together.
const ROWS: usize = 16;

/// The lanes of a last vector of which `count` numbers exist.
fn lanes(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

/// [`super::dots`].
///
/// # Safety
/// The processor must have AVX-512 F. `matrix` must be row-major, with a row as long as `x` for
/// every element of `y`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn dots(matrix: MatRef<'_>, x: &[f32], factor: f32, y: &mut [f32], write: Write) {
    let (matrix, stride) = matrix.strided_rows();
    for (block, y) in y.chunks_mut(ROWS).enumerate() {
        let mut sums = [_mm512_setzero_ps(); ROWS];
        for start in (0..x.len()).step_by(16) {
            let some = lanes(x.len() - start);
            // SAFETY: the mask leaves those of the 16 numbers that `x` and each row hold; the
            // caller promises the rows of `y`, and the last of them stands in for rows that do not
            // exist.
            unsafe {
                let x = _mm512_maskz_loadu_ps(some, x.as_ptr().add(start));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let row = block * ROWS + row.min(y.len() - 1);
                    let numbers =
                        _mm512_maskz_loadu_ps(some, matrix.as_ptr().add(row * stride + start));
                    *sum = _mm512_fmadd_ps(numbers, x, *sum);
                }
            }
        }
        let mut products = _mm512_mul_ps(_mm512_set1_ps(factor), fold(&sums));
        let some = lanes(y.len());
        // SAFETY: the mask leaves what `y` holds.
        unsafe {
            if write.adds() {
                products = _mm512_add_ps(_mm512_maskz_loadu_ps(some, y.as_ptr()), products);
            }
            _mm512_mask_storeu_ps(y.as_mut_ptr(), some, products);
        }
    }
}

/// Sums of the lanes of sixteen vectors, in order. Within each, halves are added to halves: lane
/// `i` to lane `i + 8`, what comes of it to `i + 4`, then to `i + 2` and `i + 1`.
#[target_feature(enable = "avx512f")]
fn fold(v: &[__m512; ROWS]) -> __m512 {
    let quarter = |first: usize| {
        // Vectors `first`, `first + 4`, … each end up in a quarter of their own.
        let eights = |a: __m512, b: __m512| {
            _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE))
        };
        let (ab, cd) = (eights(v[first], v[first + 4]), eights(v[first + 8], v[first + 12]));
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD))
    };
    let twos =
        |a: __m512, b: __m512| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let (low, high) = (twos(quarter(0), quarter(1)), twos(quarter(2), quarter(3)));
    let (low, high) = (_mm512_castps_pd(low), _mm512_castps_pd(high));
    _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)),
    )
}

/// [`super::weighted_sum`].
///
/// # Safety
/// The processor must have AVX-512 F. `matrix` must be row-major, with a row as long as `y` for
/// every element of `weights`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn weighted_sum(matrix: MatRef<'_>, weights: &[f32], y: &mut [f32]) {
    let (matrix, stride) = matrix.strided_rows();
    for (block, y) in y.chunks_mut(64).enumerate() {
        let some: [__mmask16; 4] = std::array::from_fn(|i| lanes(y.len().saturating_sub(16 * i)));
        let vectors = y.len().div_ceil(16);
        let mut sums = [_mm512_setzero_ps(); 4];
        // SAFETY: the masks leave what `y` and each row hold from column `64 * block` on; the
        // caller promises the rows.
        unsafe {
            for (i, sum) in sums.iter_mut().enumerate().take(vectors) {
                *sum = _mm512_maskz_loadu_ps(some[i], y.as_ptr().add(16 * i));
            }
            for (row, &weight) in weights.iter().enumerate() {
                let row = matrix.as_ptr().add(row * stride + 64 * block);
                let weight = _mm512_set1_ps(weight);
                for (i, sum) in sums.iter_mut().enumerate() {
                    // No vector beyond the last: its mask is empty, and its address not used.
                    let numbers = _mm512_maskz_loadu_ps(some[i], row.wrapping_add(16 * i));
                    *sum = _mm512_fmadd_ps(weight, numbers, *sum);
                }
            }
            for (i, sum) in sums.iter().enumerate().take(vectors) {
                _mm512_mask_storeu_ps(y.as_mut_ptr().add(16 * i), some[i], *sum);
            }
        }
    }
}
