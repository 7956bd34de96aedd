//! Panels of bf16 from low-bit weights, for processors with AVX-512 BF16.
//!
//! A group of four bits has sixteen different weights. They are computed and rounded once, as a
//! table; the codes then pick from the tables of two groups at a time.

use std::arch::x86_64::*;
use std::ops::Range;

use super::{Bits, GROUP, LowBit};

/// Columns and pairs of a square that is transposed at a time.
const SIDE: usize = 16;

/// [`LowBit::panel`].
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16; `out` must hold `inputs / 2` lines of `width`, a
/// multiple of 16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn panel(w: &LowBit, first: usize, width: usize, out: &mut [u32]) {
    let step = w.bits.inputs();
    for column in (0..width).step_by(SIDE) {
        let count = w.outputs.saturating_sub(first + column).min(SIDE);
        for block in 0..w.inputs / step {
            let mut squares = [[_mm512_setzero_si512(); SIDE]; 2];
            let [one, other] = &mut squares;
            for (i, (one, other)) in one.iter_mut().zip(other).enumerate().take(count) {
                let output = first + column + i;
                match w.bits {
                    Bits::Four => [*one, *other] = four(w, output, block),
                    Bits::Eight => *one = eight(w, output, block),
                }
            }
            for (square, lines) in squares.into_iter().take(step / GROUP).enumerate() {
                for (d, line) in transposed(lines).into_iter().enumerate() {
                    let at = ((block * step + square * GROUP) / 2 + d) * width + column;
                    // SAFETY: line and column lie in `out`, as the caller promises.
                    unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(at).cast(), line) };
                }
            }
        }
    }
}

/// [`LowBit::transposed_panel`].
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16; `rows` must be outputs, `first` and `width`
/// multiples of 16, and `out` must hold a line of `width` for each pair of `rows`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn transposed_panel(
    w: &LowBit,
    rows: Range<usize>,
    first: usize,
    width: usize,
    out: &mut [u32],
) {
    for (line, even) in rows.clone().step_by(2).enumerate() {
        let odd = (even + 1 < rows.end).then_some(even + 1);
        for column in (0..width).step_by(SIDE) {
            let pairs = if first + column < w.inputs {
                sixteen(w, even, odd, first + column)
            } else {
                _mm512_setzero_si512()
            };
            // SAFETY: line and column lie in `out`, as the caller promises.
            unsafe {
                _mm512_storeu_si512(out.as_mut_ptr().add(line * width + column).cast(), pairs)
            };
        }
    }
}

/// The sixteen weights of a group of four bits.
#[target_feature(enable = "avx512f")]
fn table(w: &LowBit, output: usize, group: usize) -> __m512 {
    let at = output * (w.inputs / GROUP) + group;
    let codes =
        _mm512_setr_ps(0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.);
    _mm512_fmadd_ps(codes, _mm512_set1_ps(w.scales[at]), _mm512_set1_ps(w.offsets[at]))
}

/// Two tables as 32 bf16, the first one's in the lower half.
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(low: __m512, high: __m512) -> __m512i {
    let both = _mm512_cvtne2ps_pbh(high, low);
    // SAFETY: both are 64 bytes without invalid values.
    unsafe { std::mem::transmute(both) }
}

/// Both groups of a block of four-bit codes, each as sixteen pairs of inputs.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn four(w: &LowBit, output: usize, block: usize) -> [__m512i; 2] {
    let tables = rounded(table(w, output, 2 * block), table(w, output, 2 * block + 1));
    let codes = &w.codes[output * (w.inputs / (2 * GROUP)) + block];
    // SAFETY: a block is 32 bytes.
    let codes = unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(codes.as_ptr().cast())) };
    let low = _mm512_and_si512(codes, _mm512_set1_epi16(0xF));
    let high = _mm512_or_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi16(0x10));
    [_mm512_permutexvar_epi16(low, tables), _mm512_permutexvar_epi16(high, tables)]
}

/// Half a group of eight-bit codes.
#[target_feature(enable = "avx512f")]
fn weights(w: &LowBit, output: usize, group: usize, half: usize) -> __m512 {
    let at = output * (w.inputs / GROUP) + group;
    let codes = &w.codes[at][half * SIDE..][..SIDE];
    // SAFETY: half a block is 16 bytes.
    let codes = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) });
    let (scale, offset) = (_mm512_set1_ps(w.scales[at]), _mm512_set1_ps(w.offsets[at]));
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(codes), scale, offset)
}

/// A group of eight-bit codes as sixteen pairs of inputs.
#[target_feature(enable = "avx512f,avx512bf16")]
fn eight(w: &LowBit, output: usize, group: usize) -> __m512i {
    rounded(weights(w, output, group, 0), weights(w, output, group, 1))
}

/// Sixteen inputs from `input` on of two outputs, as pairs of outputs; of one, if `odd` is none.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn sixteen(w: &LowBit, even: usize, odd: Option<usize>, input: usize) -> __m512i {
    let (group, half) = (input / GROUP, input % GROUP / SIDE);
    let zero = _mm512_setzero_ps();
    match w.bits {
        Bits::Four => {
            let tables =
                rounded(table(w, even, group), odd.map_or(zero, |odd| table(w, odd, group)));
            let codes = |output: usize| {
                let block = &w.codes[output * (w.inputs / (2 * GROUP)) + group / 2];
                // SAFETY: half a block is 16 bytes.
                unsafe { _mm_loadu_si128(block[half * SIDE..][..SIDE].as_ptr().cast()) }
            };
            let (even, odd) = (codes(even), codes(odd.unwrap_or(even)));
            let both = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
            let codes = _mm512_cvtepu8_epi16(both);
            let codes = if group % 2 == 0 { codes } else { _mm512_srli_epi16(codes, 4) };
            // The odd output's weights are in the upper half of the tables.
            let (mask, upper) = (_mm512_set1_epi16(0xF), _mm512_set1_epi32(0x10 << 16));
            let codes = _mm512_or_si512(_mm512_and_si512(codes, mask), upper);
            _mm512_permutexvar_epi16(codes, tables)
        }
        Bits::Eight => {
            let odd = odd.map_or(zero, |odd| weights(w, odd, group, half));
            let both = rounded(weights(w, even, group, half), odd);
            // Number `i` of the lower half, then number `i` of the upper one.
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let order = _mm512_or_si512(
                lanes,
                _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16),
            );
            _mm512_permutexvar_epi16(order, both)
        }
    }
}

/// The transpose of sixteen lines of sixteen numbers.
#[target_feature(enable = "avx512f")]
fn transposed(lines: [__m512i; SIDE]) -> [__m512i; SIDE] {
    let mut a = lines;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
    }
    // `b[4 i + c]`: column `4 l + c` of lines `4 i` to `4 i + 3` in lane `l` of four.
    let mut b = a;
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    let mut out = a;
    for c in 0..4 {
        let low = [
            _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44),
            _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44),
        ];
        let high = [
            _mm512_shuffle_i32x4(b[c], b[4 + c], 0xEE),
            _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xEE),
        ];
        out[c] = _mm512_shuffle_i32x4(low[0], low[1], 0x88);
        out[4 + c] = _mm512_shuffle_i32x4(low[0], low[1], 0xDD);
        out[8 + c] = _mm512_shuffle_i32x4(high[0], high[1], 0x88);
        out[12 + c] = _mm512_shuffle_i32x4(high[0], high[1], 0xDD);
    }
    out
}
