//! The kernel of eight-bit products in plain loops, for levels without VNNI.

use std::ops::Range;

use super::{GROUP, Product, QUAD, WIDTH};

/// Rows through one panel.
pub(super) fn panel(product: &Product<'_>, rows: Range<usize>, panel: usize) {
    let (quads, scales) = product.panel(panel);
    for row in rows {
        let (codes, of_row) = product.row(row);
        let mut sums = [0f32; WIDTH];
        let groups = codes.chunks(GROUP / QUAD).zip(quads.chunks(GROUP / QUAD));
        for ((codes, quads), (of_columns, [step, lowest])) in groups.zip(scales.iter().zip(of_row)) {
            let mut whole = [0i32; WIDTH];
            for (codes, quads) in codes.iter().zip(quads) {
                let codes = codes.map(i32::from);
                for (whole, weights) in whole.iter_mut().zip(quads) {
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
