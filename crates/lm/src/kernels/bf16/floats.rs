//! The kernels of bf16 products in f32 arithmetic, for processors without products of bf16: a bf16
//! becomes the f32 of the same value when sixteen zeros follow it. One body, compiled for the
//! target's baseline and for AVX2 with FMA.

use std::ops::Range;

use super::WIDTH;
use super::tile::{Run, Written};
use crate::kernels::Isa;
use crate::kernels::vector::multiply_add;

/// Columns of a tile of several rows: with four rows, its sums fill half the registers of AVX2.
const COLUMNS: usize = 16;

/// `super::product::sums` on a level without products of bf16.
pub(super) fn sums(
    isa: Isa,
    runs: &[Run<'_>],
    result: Written,
    rows: Range<usize>,
    panels: Range<usize>,
) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx2 {
        // SAFETY: a level is only chosen on a processor that has its instructions.
        return unsafe { sums_avx2(runs, result, rows, panels) };
    }
    let _ = isa;
    strips::<false>(runs, result, rows, panels);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sums_avx2(runs: &[Run<'_>], result: Written, rows: Range<usize>, panels: Range<usize>) {
    strips::<true>(runs, result, rows, panels);
}

#[inline(always)]
fn strips<const FMA: bool>(
    runs: &[Run<'_>],
    result: Written,
    rows: Range<usize>,
    panels: Range<usize>,
) {
    for (index, panel) in panels.enumerate() {
        let both = [runs[0], runs[runs.len() - 1]].map(|run| run.skip(index, result.width));
        let runs = &both[..runs.len()];
        let mut row = rows.start;
        while row < rows.end {
            let next = (row + 4).min(rows.end);
            match next - row {
                1 if result.width == WIDTH => tiles::<FMA, 1, WIDTH>(runs, result, row, panel),
                1 => tiles::<FMA, 1, COLUMNS>(runs, result, row, panel),
                2 => tiles::<FMA, 2, COLUMNS>(runs, result, row, panel),
                3 => tiles::<FMA, 3, COLUMNS>(runs, result, row, panel),
                _ => tiles::<FMA, 4, COLUMNS>(runs, result, row, panel),
            }
            row = next;
        }
    }
}

/// `ROWS` rows from `row` through one panel, `TILE` columns at a time.
#[inline(always)]
fn tiles<const FMA: bool, const ROWS: usize, const TILE: usize>(
    runs: &[Run<'_>],
    result: Written,
    row: usize,
    panel: usize,
) {
    for start in (0..result.width.min(result.n - panel * result.width)).step_by(TILE) {
        let mut sums = [[0f32; TILE]; ROWS];
        for run in runs {
            let left: [&[u32]; ROWS] =
                std::array::from_fn(|i| &run.left[(row + i) * run.stride..][..run.depth]);
            add::<FMA, ROWS, TILE>(&mut sums, &left, run.right, result.width, start);
        }
        let first = panel * result.width + start;
        for (i, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate().take(result.n - first) {
                // SAFETY: row and column lie within the result, and this piece alone writes there.
                unsafe {
                    let slot = result.start.at((row + i) * result.stride + first + column);
                    *slot = result.write.over(*slot, *sum);
                }
            }
        }
    }
}

/// Adds what rows `left` give with the `TILE` columns from `start` of a panel's lines, which are
/// `width` columns wide.
#[inline(always)]
fn add<const FMA: bool, const ROWS: usize, const TILE: usize>(
    sums: &mut [[f32; TILE]; ROWS],
    left: &[&[u32]; ROWS],
    right: &[u32],
    width: usize,
    start: usize,
) {
    for (d, line) in right.chunks_exact(width).enumerate().take(left[0].len()) {
        let line = &line[start..start + TILE];
        for (sums, left) in sums.iter_mut().zip(left) {
            let (even, odd) = (low_half(left[d]), high_half(left[d]));
            for (sum, &b) in sums.iter_mut().zip(line) {
                *sum = multiply_add::<FMA>(even, low_half(b), *sum);
                *sum = multiply_add::<FMA>(odd, high_half(b), *sum);
            }
        }
    }
}

#[inline(always)]
fn low_half(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

#[inline(always)]
fn high_half(pair: u32) -> f32 {
    f32::from_bits(pair & 0xFFFF_0000)
}
