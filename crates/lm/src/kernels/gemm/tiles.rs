//! f32 products for levels below the processor's best, which the `gemm` crate cannot be told to
//! use, and for interpreters of safe code. One body, compiled for the target's baseline and for
//! AVX2 with FMA.

use rayon::prelude::*;

use super::{MatMut, MatRef, Threads};
use crate::kernels::Isa;
use crate::kernels::vector::multiply_add;

/// Rows that one thread takes at a time.
const BLOCK: usize = 64;

/// Rows of a tile.
const ROWS: usize = 4;

/// Columns of a tile: with four rows, its sums fill half the registers of AVX2.
const COLUMNS: usize = 16;

/// What is multiplied.
#[derive(Clone, Copy)]
struct Operands<'a> {
    a: MatRef<'a>,
    b: MatRef<'a>,
    factor: f32,
    accumulate: bool,
}

/// [`super::gemm`] on a given level; the shapes agree, and `dst` has rows and columns.
pub(super) fn gemm(
    isa: Isa,
    dst: MatMut<'_>,
    accumulate: bool,
    factor: f32,
    a: MatRef<'_>,
    b: MatRef<'_>,
    threads: Threads,
) {
    let operands = Operands { a, b, factor, accumulate };
    let MatMut { data, rows, columns, row_stride } = dst;
    // A single row may be wider than its stride.
    let block = if rows > BLOCK { BLOCK * row_stride } else { data.len().max(columns) };
    let piece = |(index, c): (usize, &mut [f32])| {
        let first = index * BLOCK;
        let here = first..(first + BLOCK).min(rows);
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx2 {
            // SAFETY: a level is only chosen on a processor that has its instructions.
            return unsafe { block_avx2(operands, here, c, row_stride) };
        }
        let _ = isa;
        compute::<false>(operands, here, c, row_stride);
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
fn block_avx2(operands: Operands<'_>, rows: std::ops::Range<usize>, c: &mut [f32], stride: usize) {
    compute::<true>(operands, rows, c, stride);
}

/// Some rows of the result; `c` starts at the first of them.
#[inline(always)]
fn compute<const FMA: bool>(
    operands: Operands<'_>,
    rows: std::ops::Range<usize>,
    c: &mut [f32],
    stride: usize,
) {
    let Operands { a, b, factor, accumulate } = operands;
    let depth = a.columns;
    // Rows four at a time, the four numbers of one depth side by side; likewise sixteen columns.
    let mut strips = vec![[0f32; ROWS]; rows.len().div_ceil(ROWS) * depth];
    for (i, row) in rows.clone().enumerate() {
        for (p, slot) in strips[i / ROWS * depth..][..depth].iter_mut().enumerate() {
            slot[i % ROWS] = a.data[row * a.row_stride + p * a.column_stride];
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
        for i in (0..rows.len()).step_by(ROWS) {
            let sums = tile::<FMA>(&strips[i / ROWS * depth..][..depth], &panel);
            for (i, sums) in (i..rows.len()).zip(sums) {
                for (slot, sum) in c[i * stride + first..][..width].iter_mut().zip(sums) {
                    *slot = if accumulate { *slot + factor * sum } else { factor * sum };
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
