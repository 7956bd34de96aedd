//! Few rows by weights of few bits, in f32. One body, compiled for the target's baseline, for AVX2 with FMA, and for AVX-512.

use std::ops::Range;

use super::super::Isa;
use super::super::bf16::Destination;
use super::super::vector::multiply_add;
use super::{Bits, EXCESS, GROUP, Nibbles};

/// Sums kept side by side.
const LANES: usize = 16;

/// Rows to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// `[rows, inputs]`
    pub(super) x: &'a [f32],
    /// `[rows, groups]`: sums of each group.
    pub(super) sums: &'a [f32],
}

/// Where sums go.
#[derive(Clone, Copy)]
struct Target {
    result: Destination,
    accumulate: bool,
}

/// Computes the outputs of `range` for one to four rows. Concurrent calls must get disjoint ranges.
pub(super) fn outputs(
    isa: Isa,
    w: &Nibbles,
    rows: usize,
    inputs: Inputs<'_>,
    range: Range<usize>,
    result: Destination,
    accumulate: bool,
) {
    let to = Target { result, accumulate };
    match isa {
        Isa::Portable => each::<false>(w, rows, inputs, range, to),
        // SAFETY: a level is only chosen on a processor that has its instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { each_avx2(w, rows, inputs, range, to) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { each_avx512(w, rows, inputs, range, to) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => each::<false>(w, rows, inputs, range, to),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn each_avx2(w: &Nibbles, rows: usize, inputs: Inputs<'_>, range: Range<usize>, to: Target) {
    each::<true>(w, rows, inputs, range, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn each_avx512(w: &Nibbles, rows: usize, inputs: Inputs<'_>, range: Range<usize>, to: Target) {
    each::<true>(w, rows, inputs, range, to);
}

#[inline(always)]
fn each<const FMA: bool>(w: &Nibbles, rows: usize, inputs: Inputs<'_>, range: Range<usize>, to: Target) {
    match rows {
        1 => some_rows::<FMA, 1>(w, inputs, range, to),
        2 => some_rows::<FMA, 2>(w, inputs, range, to),
        3 => some_rows::<FMA, 3>(w, inputs, range, to),
        _ => some_rows::<FMA, 4>(w, inputs, range, to),
    }
}

#[inline(always)]
fn some_rows<const FMA: bool, const ROWS: usize>(
    w: &Nibbles,
    inputs: Inputs<'_>,
    range: Range<usize>,
    to: Target,
) {
    let (blocks, groups) = (w.inputs / w.bits.inputs(), w.inputs / GROUP);
    let rows: [&[[f32; GROUP]]; ROWS] =
        std::array::from_fn(|row| inputs.x[row * w.inputs..][..w.inputs].as_chunks().0);
    let group_sums: [&[f32]; ROWS] = std::array::from_fn(|row| &inputs.sums[row * groups..][..groups]);
    for output in range {
        let codes = &w.codes[output * blocks..][..blocks];
        let scales = &w.scales[output * blocks..][..blocks];
        let offsets = &w.offsets[output * groups..][..groups];
        let mut sums = [[0f32; LANES]; ROWS];
        let mut from_offsets = [0f32; ROWS];
        let mut group = |at: usize, codes: [f32; GROUP], scale: f32, offset: f32| {
            for (row, sums) in sums.iter_mut().enumerate() {
                let product = product::<FMA>(&codes, &rows[row][at]);
                for (sum, product) in sums.iter_mut().zip(product) {
                    *sum = multiply_add::<FMA>(product, scale, *sum);
                }
                from_offsets[row] = multiply_add::<FMA>(offset, group_sums[row][at], from_offsets[row]);
            }
        };
        for (block, (codes, scales)) in codes.iter().zip(scales).enumerate() {
            match w.bits {
                // The stored offset counts on codes that are read as too much.
                Bits::Four => {
                    let [low, high] = *scales;
                    let at = 2 * block;
                    let offset = multiply_add::<FMA>(EXCESS, low, offsets[at]);
                    group(at, codes.map(|code| f32::from(code & 0xF)), low, offset);
                    let offset = multiply_add::<FMA>(EXCESS, high, offsets[at + 1]);
                    group(at + 1, codes.map(|code| f32::from(code >> 4)), high, offset);
                }
                Bits::Eight => {
                    let offset = multiply_add::<FMA>(17.0 * EXCESS, scales[0], offsets[block]);
                    group(block, codes.map(f32::from), scales[0], offset);
                }
            }
        }
        for (row, (sums, from_offsets)) in sums.iter().zip(from_offsets).enumerate() {
            let sum = sums.iter().sum::<f32>() + from_offsets;
            // SAFETY: the result holds as many rows of `w.outputs`, `output` is one of them, and this call alone writes there.
            unsafe {
                let slot = to.result.0.add(row * w.outputs + output);
                *slot = if to.accumulate { *slot + sum } else { sum };
            }
        }
    }
}

/// Products of a group, added up in lanes.
#[inline(always)]
fn product<const FMA: bool>(codes: &[f32; GROUP], x: &[f32; GROUP]) -> [f32; LANES] {
    std::array::from_fn(|lane| {
        multiply_add::<FMA>(codes[lane], x[lane], codes[lane + LANES] * x[lane + LANES])
    })
}
