//! f32 products for levels below the processor's best, which the `gemm` crate cannot be told to
//! use, and for interpreters of safe code. One body, compiled for the target's baseline and for
//! AVX2 with FMA.

use rayon::prelude::*;

use super::{MatMut, Product, Threads, Write};
use crate::kernels::Isa;
use crate::kernels::vector::multiply_add;

/// Rows that one thread takes at a time.
const BLOCK: usize = 64;

/// Rows of a tile.
const ROWS: usize = 4;

/// Columns of a tile: with four rows, its sums fill half the registers of AVX2.
const COLUMNS: usize = 16;

/// [`super::gemm`] on a given level; the shapes agree, and `dst` has rows and columns.
pub(super) fn gemm(
    isa: Isa,
    dst: MatMut<'_>,
    write: Write,
    product: Product<'_>,
    threads: Threads,
) {
    let MatMut { data, rows, columns, row_stride } = dst;
    // A single row may be wider than its stride.
    let block = if rows > BLOCK { BLOCK * row_stride } else { data.len().max(columns) };
    let piece = |(index, c): (usize, &mut [f32])| {
        let first = index * BLOCK;
        let count = BLOCK.min(rows - first);
        let product = Product { a: product.a.rows_from(first, count), ..product };
        let c = MatMut { data: c, rows: count, columns, row_stride };
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx2 {
            // SAFETY: a level is only chosen on a processor that has its instructions.
            return unsafe { block_avx2(product, c, write) };
        }
        let _ = isa;
        compute::<false>(product, c, write);
    };
    match threads {
        Threads::One => {
            data.chunks_mut(block).take(rows.div_ceil(BLOCK)).enumerate().for_each(piece)
        }
        Threads::All => {
            data.par_chunks_mut(block).take(rows.div_ceil(BLOCK)).enumerate().for_each(piece)
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn block_avx2(product: Product<'_>, c: MatMut<'_>, write: Write) {
    compute::<true>(product, c, write);
}

/// At most [`BLOCK`] rows of the result.
#[inline(always)]
fn compute<const FMA: bool>(product: Product<'_>, c: MatMut<'_>, write: Write) {
    let Product { a, b, factor } = product;
    let MatMut { data: c, rows, row_stride: stride, .. } = c;
    let depth = a.columns;
    // Rows four at a time, the four numbers of one depth side by side; likewise sixteen columns.
    let mut strips = vec![[0f32; ROWS]; rows.div_ceil(ROWS) * depth];
    for i in 0..rows {
        for (p, slot) in strips[i / ROWS * depth..][..depth].iter_mut().enumerate() {
            slot[i % ROWS] = a.data[i * a.row_stride + p * a.column_stride];
        }
    }
    let mut panel = vec![[0f32; COLUMNS]; depth];
    for first in (0..b.columns).step_by(COLUMNS) {
        let width = COLUMNS.min(b.columns - first);
        for (p, line) in panel.iter_mut().enumerate() {
            for (column, slot) in line[..width].iter_mut().enumerate() {
                *slot = b.data[p * b.row_stride + (first + column) * b.column_stride];
            }
        }
        for i in (0..rows).step_by(ROWS) {
            let sums = tile::<FMA>(&strips[i / ROWS * depth..][..depth], &panel);
            for (i, sums) in (i..rows).zip(sums) {
                for (slot, sum) in c[i * stride + first..][..width].iter_mut().zip(sums) {
                    *slot = write.over(*slot, factor * sum);
                }
            }
        }
    }
}

#[inline(always)]
fn tile<const FMA: bool>(
    strip: &[[f32; ROWS]],
    panel: &[[f32; COLUMNS]],
) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for (a, b) in strip.iter().zip(panel) {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = multiply_add::<FMA>(*a, *b, *sum);
            }
        }
    }
    sums
}
