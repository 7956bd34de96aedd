//! The kernel of eight-bit products in plain loops, for levels without VNNI.

use std::ops::Range;

use super::{GROUP, Product, QUAD, WIDTH};
use crate::kernels::vector::{fold, vectorised};

/// Rows through one panel.
pub(super) fn panel(product: &Product<'_>, rows: Range<usize>, panel: usize) {
    let (quads, scales) = product.panel(panel);
    for row in rows {
        let (codes, of_row) = product.row(row);
        let mut sums = [0f32; WIDTH];
        let groups = codes.chunks(GROUP / QUAD).zip(quads.chunks(GROUP / QUAD));
        for ((codes, quads), (of_columns, [step, lowest])) in groups.zip(scales.iter().zip(of_row))
        {
            let mut whole = [0i32; WIDTH];
            for (codes, quads) in codes.iter().zip(quads) {
                let codes = codes.map(i32::from);
                for (whole, weights) in whole.iter_mut().zip(&quads.0) {
                    for (code, weight) in codes.iter().zip(weights) {
                        *whole += code * i32::from(*weight);
                    }
                }
            }
            for (column, (sum, whole)) in sums.iter_mut().zip(whole).enumerate() {
                let product = whole as f32 * of_columns.scale[column];
                *sum += lowest * of_columns.sum[column] + product * step;
            }
        }
        product.write(row, panel, &sums);
    }
}

vectorised! {
    /// `super::round_group` in plain loops.
    fn round(x: &[f32], codes: &mut [u8]) -> [f32; 2] {
        let (mut low, mut high, mut doubt) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16], [0f32; 16]);
        let (blocks, rest) = x.as_chunks::<16>();
        for block in blocks {
            for lane in 0..16 {
                low[lane] = if block[lane] < low[lane] { block[lane] } else { low[lane] };
                high[lane] = if block[lane] > high[lane] { block[lane] } else { high[lane] };
                // Zero, or NaN for what is not finite.
                doubt[lane] += block[lane] * 0.0;
            }
        }
        for (lane, &x) in rest.iter().enumerate() {
            low[lane] = if x < low[lane] { x } else { low[lane] };
            high[lane] = if x > high[lane] { x } else { high[lane] };
            doubt[lane] += x * 0.0;
        }
        let lowest = fold(low, |a, b| if a < b { a } else { b });
        let highest = fold(high, |a, b| if a > b { a } else { b });
        let doubt = fold(doubt, |a, b| a + b);
        let step = (highest - lowest) / 255.0;
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let rounded = |x: f32| ((x - lowest) * inverse + 0.5) as i32 as u8;
        let (code_blocks, code_rest) = codes.as_chunks_mut::<16>();
        for (codes, block) in code_blocks.iter_mut().zip(blocks) {
            *codes = block.map(rounded);
        }
        for (code, &x) in code_rest.iter_mut().zip(rest) {
            *code = rounded(x);
        }
        [step, lowest + doubt]
    }
}
