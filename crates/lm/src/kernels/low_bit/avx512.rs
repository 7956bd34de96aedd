//! Few rows by low-bit weights, in products of bf16.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Bits, GROUP, LowBit, Output};
use crate::kernels::bf16::bf16x32;

/// The bf16 number 128, in both halves of each lane.
const BASE: i16 = 0x4300;

/// Rows to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) rows: usize,
    /// `[rows, inputs / 2]`: pairs, the even input in the low half.
    pub(super) rounded: &'a [u32],
    /// `[rows, groups]`: sums of each group.
    pub(super) sums: &'a [f32],
}

impl Inputs<'_> {
    /// Some of the rows.
    #[inline]
    pub(super) fn some(self, rows: Range<usize>, w: &LowBit) -> Self {
        let first = rows.start * w.inputs;
        let sums = &self.sums[first / GROUP..];
        Self { rows: rows.len(), rounded: &self.rounded[first / 2..], sums }
    }
}

/// Computes the outputs of `range` for one to eight rows.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16; `inputs` must hold its rows of `w.inputs`
/// numbers and of their groups' sums; the outputs of `range` must exist; `to` must be writable for
/// as many rows of `w.outputs`, and nobody else may touch the columns of `range` meanwhile.
pub(super) unsafe fn outputs(w: &LowBit, inputs: Inputs<'_>, range: Range<usize>, to: Output) {
    // SAFETY: passed on to the caller.
    unsafe {
        match inputs.rows {
            1 => some_rows::<1>(w, inputs, range, to),
            2 => some_rows::<2>(w, inputs, range, to),
            3 => some_rows::<3>(w, inputs, range, to),
            4 => some_rows::<4>(w, inputs, range, to),
            5 => some_rows::<5>(w, inputs, range, to),
            6 => some_rows::<6>(w, inputs, range, to),
            7 => some_rows::<7>(w, inputs, range, to),
            _ => some_rows::<8>(w, inputs, range, to),
        }
    }
}

/// # Safety
/// As [`outputs`], for `COUNT` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn some_rows<const COUNT: usize>(
    w: &LowBit,
    inputs: Inputs<'_>,
    range: Range<usize>,
    to: Output,
) {
    let (blocks, groups) = (w.inputs / w.bits.inputs(), w.inputs / GROUP);
    // From a block's low halves to its high ones, and from a block to the next.
    let (high, step) = match w.bits {
        Bits::Four => (GROUP, 2 * GROUP),
        Bits::Eight => (0, GROUP),
    };
    let excess = _mm512_set1_ps(w.bits.excess());
    let (base, mask) = (_mm512_set1_epi16(BASE), _mm512_set1_epi16(0xF));
    for output in range {
        let codes = &w.codes[output * blocks..][..blocks];
        let scales = &w.scales[output * groups..][..groups];
        let offsets = &w.offsets[output * groups..][..groups];
        let mut sums = [[_mm512_setzero_ps(); 2]; COUNT];
        for (block, codes) in codes.iter().enumerate() {
            let [low_scale, top_scale] = match w.bits {
                Bits::Four => [scales[2 * block], scales[2 * block + 1]],
                Bits::Eight => [scales[block], 16.0 * scales[block]],
            };
            // SAFETY: a block is 32 bytes; each row of `inputs` holds `blocks * step` numbers, and
            // `high + GROUP <= step`.
            unsafe {
                let words = _mm512_cvtepu8_epi16(_mm256_loadu_si256(codes.as_ptr().cast()));
                // (words & mask) | base
                let low = bf16x32(_mm512_ternarylogic_epi64(words, mask, base, 0xEA));
                let top = bf16x32(_mm512_or_si512(_mm512_srli_epi16(words, 4), base));
                let (low_scale, top_scale) = (_mm512_set1_ps(low_scale), _mm512_set1_ps(top_scale));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x =
                        inputs.rounded.as_ptr().cast::<u16>().add(row * w.inputs + block * step);
                    let zero = _mm512_setzero_ps();
                    let product =
                        _mm512_dpbf16_ps(zero, low, bf16x32(_mm512_loadu_si512(x.cast())));
                    sums[0] = _mm512_fmadd_ps(product, low_scale, sums[0]);
                    let product = _mm512_dpbf16_ps(
                        zero,
                        top,
                        bf16x32(_mm512_loadu_si512(x.add(high).cast())),
                    );
                    sums[1] = _mm512_fmadd_ps(product, top_scale, sums[1]);
                }
            }
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let of_row = &inputs.sums[row * groups..][..groups];
            for start in (0..groups).step_by(16) {
                let count = (groups - start).min(16);
                let some = ((1u32 << count) - 1) as __mmask16;
                // SAFETY: the mask leaves `count` numbers from `start`, which the slices hold.
                unsafe {
                    let offset = _mm512_maskz_loadu_ps(some, offsets.as_ptr().add(start));
                    let scale = _mm512_maskz_loadu_ps(some, scales.as_ptr().add(start));
                    let offset = _mm512_fnmadd_ps(excess, scale, offset);
                    let sum = _mm512_maskz_loadu_ps(some, of_row.as_ptr().add(start));
                    sums[0] = _mm512_fmadd_ps(offset, sum, sums[0]);
                }
            }
            let sum = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
            // SAFETY: row and output exist, and this call alone writes there.
            unsafe { to.put(row, output, w, sum) };
        }
    }
}
