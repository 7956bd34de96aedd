//! Few rows by low-bit weights, in f32 and in plain loops.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::{Bits, GROUP, Inputs, LowBit, Output};
use crate::kernels::Isa;

/// Sums kept side by side.
const LANES: usize = 16;

/// Computes the outputs of `range` for one to four rows. Concurrent calls must get disjoint ranges.
pub(super) fn outputs(isa: Isa, w: &LowBit, inputs: Inputs<'_>, range: Range<usize>, to: Output) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx2 {
        // SAFETY: a level is only chosen on a processor that has its instructions; inputs and
        // result have as many rows, and the ranges are disjoint.
        return unsafe {
            match inputs.rows {
                1 => avx2::outputs::<1>(w, inputs, range, to),
                2 => avx2::outputs::<2>(w, inputs, range, to),
                3 => avx2::outputs::<3>(w, inputs, range, to),
                _ => avx2::outputs::<4>(w, inputs, range, to),
            }
        };
    }
    let _ = isa;
    match inputs.rows {
        1 => some_rows::<1>(w, inputs, range, to),
        2 => some_rows::<2>(w, inputs, range, to),
        3 => some_rows::<3>(w, inputs, range, to),
        _ => some_rows::<4>(w, inputs, range, to),
    }
}

fn some_rows<const ROWS: usize>(w: &LowBit, inputs: Inputs<'_>, range: Range<usize>, to: Output) {
    let (blocks, groups) = (w.inputs / w.bits.inputs(), w.inputs / GROUP);
    let rows: [&[[f32; GROUP]]; ROWS] =
        std::array::from_fn(|row| inputs.x[row * w.inputs..][..w.inputs].as_chunks().0);
    let group_sums: [&[f32]; ROWS] =
        std::array::from_fn(|row| &inputs.sums[row * groups..][..groups]);
    for output in range {
        let codes = &w.codes[output * blocks..][..blocks];
        let scales = &w.scales[output * groups..][..groups];
        let offsets = &w.offsets[output * groups..][..groups];
        let mut sums = [[0f32; LANES]; ROWS];
        let mut from_offsets = [0f32; ROWS];
        let mut group = |at: usize, codes: [f32; GROUP], scale: f32, offset: f32| {
            for (row, sums) in sums.iter_mut().enumerate() {
                let product = product(&codes, &rows[row][at]);
                for (sum, product) in sums.iter_mut().zip(product) {
                    *sum += product * scale;
                }
                from_offsets[row] += offset * group_sums[row][at];
            }
        };
        for (block, codes) in codes.iter().enumerate() {
            match w.bits {
                Bits::Four => {
                    let at = 2 * block;
                    group(at, codes.map(|code| f32::from(code & 0xF)), scales[at], offsets[at]);
                    group(
                        at + 1,
                        codes.map(|code| f32::from(code >> 4)),
                        scales[at + 1],
                        offsets[at + 1],
                    );
                }
                Bits::Eight => group(block, codes.map(f32::from), scales[block], offsets[block]),
            }
        }
        for (row, (sums, from_offsets)) in sums.iter().zip(from_offsets).enumerate() {
            let sum = sums.iter().sum::<f32>() + from_offsets;
            // SAFETY: the result holds as many rows of `w.outputs`, `output` is one of them, and
            // this call alone writes there.
            unsafe { to.put(row, output, w, sum) };
        }
    }
}

/// Products of a group, added up in lanes.
#[inline(always)]
fn product(codes: &[f32; GROUP], x: &[f32; GROUP]) -> [f32; LANES] {
    std::array::from_fn(|lane| codes[lane] * x[lane] + codes[lane + LANES] * x[lane + LANES])
}
