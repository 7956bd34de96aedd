//! Few rows by low-bit weights, in f32, for processors with AVX2 and FMA.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Bits, GROUP, Inputs, LowBit, Output};

/// Computes the outputs of `range` for `COUNT` rows.
///
/// # Safety
/// The processor must have AVX2 and FMA; `inputs` must hold `COUNT` rows of `w.inputs` numbers and
/// of their groups' sums; the outputs of `range` must exist; the result must be writable for
/// `COUNT` rows of `w.outputs`, and nobody else may touch the columns of `range` meanwhile.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn outputs<const COUNT: usize>(
    w: &LowBit,
    inputs: Inputs<'_>,
    range: Range<usize>,
    to: Output,
) {
    let (blocks, groups) = (w.inputs / w.bits.inputs(), w.inputs / GROUP);
    let mask = _mm256_set1_epi8(0xF);
    for output in range {
        let codes = &w.codes[output * blocks..][..blocks];
        let scales = &w.scales[output * groups..][..groups];
        let offsets = &w.offsets[output * groups..][..groups];
        let mut sums = [[_mm256_setzero_ps(); 2]; COUNT];
        for (block, codes) in codes.iter().enumerate() {
            // SAFETY: a block is 32 bytes; each row of `inputs` holds the groups that the block
            // covers.
            unsafe {
                let bytes = _mm256_loadu_si256(codes.as_ptr().cast());
                let mut group = |at: usize, bytes: __m256i, scale: f32, which: usize| {
                    let codes = floats(bytes);
                    let scale = _mm256_set1_ps(scale);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let x = inputs.x.as_ptr().add(row * w.inputs + at * GROUP);
                        let mut product = _mm256_mul_ps(codes[0], _mm256_loadu_ps(x));
                        for (i, codes) in codes.iter().enumerate().skip(1) {
                            product =
                                _mm256_fmadd_ps(*codes, _mm256_loadu_ps(x.add(8 * i)), product);
                        }
                        sums[which] = _mm256_fmadd_ps(product, scale, sums[which]);
                    }
                };
                match w.bits {
                    Bits::Four => {
                        group(2 * block, _mm256_and_si256(bytes, mask), scales[2 * block], 0);
                        let high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
                        group(2 * block + 1, high, scales[2 * block + 1], 1);
                    }
                    Bits::Eight => group(block, bytes, scales[block], block % 2),
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let mut lanes = [0f32; 8];
            // SAFETY: `lanes` holds eight numbers.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(sums[0], sums[1])) };
            let mut sum = lanes.iter().sum::<f32>();
            let of_row = &inputs.sums[row * groups..][..groups];
            for (offset, of_group) in offsets.iter().zip(of_row) {
                sum = offset.mul_add(*of_group, sum);
            }
            // SAFETY: row and output exist, and this call alone writes there.
            unsafe { to.put(row, output, w, sum) };
        }
    }
}

/// 32 bytes as numbers.
#[target_feature(enable = "avx2")]
fn floats(bytes: __m256i) -> [__m256; 4] {
    let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)];
    let eight = |bytes: __m128i| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
    let [low, high] = halves;
    [eight(low), eight(_mm_srli_si128(low, 8)), eight(high), eight(_mm_srli_si128(high, 8))]
}
