//! Sums of products of rounded rows and packed matrices.
//!
//! A result is cut into pieces of rows and panels that threads take in any order. Within a piece
//! each element is the sum of one run down the inner dimension per term, in the order of the terms:
//! the pieces decide who computes an element and never how.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::tile::{Run, Written};
use super::{Panels, Rounded, floats};
use crate::kernels::{Isa, MatMut, Write};

/// Rows whose rounded values stay in the second-level cache while the panels run past.
const ROW_BLOCK: usize = 64;

/// Below this many multiplications a product stays on one thread.
const SPLIT_WORK: usize = 1 << 16;

/// Rows of a transposed panel that are packed at a time: with them a panel fills a fifth of a
/// second-level cache.
pub(in crate::kernels) const TRANSPOSED_ROWS: usize = 2 * 1008;

/// One product of a sum: rounded rows times a packed matrix.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Term<'a> {
    left: &'a [u32],
    /// From a row of `left` to the next.
    stride: usize,
    right: &'a Panels,
    /// Where in a row the pairs for each panel begin; at the row's beginning where there is none.
    starts: Option<&'a [usize]>,
}

impl<'a> Term<'a> {
    pub(super) fn new(left: &'a [u32], stride: usize, right: &'a Panels) -> Self {
        assert!(right.depth() <= stride, "rows of {stride} pairs on {} rows", right.k);
        Self { left, stride, right, starts: None }
    }

    /// Gives each panel another part of the row: the pairs from `starts[panel]` on.
    pub(in crate::kernels) fn starting(mut self, starts: &'a [usize]) -> Self {
        let last = starts.iter().max().copied().unwrap_or(0);
        assert!(starts.len() == self.right.count() && last + self.right.depth() <= self.stride);
        self.starts = Some(starts);
        self
    }

    /// Whether the rows exist and the matrix fits beside others of `n` columns in panels of
    /// `width`.
    fn check(&self, rows: usize, n: usize, width: usize) {
        assert!(self.right.n == n && self.right.width == width, "terms of different widths");
        let starts = self.starts.map_or(0, |starts| starts.iter().max().copied().unwrap_or(0));
        let last = rows.saturating_sub(1) * self.stride + starts + self.right.depth();
        assert!(rows == 0 || last <= self.left.len(), "{rows} rows of {} pairs", self.stride);
    }

    /// What the tiles of one panel run down.
    fn run(&self, panel: usize) -> Run<'a> {
        let panel_pairs = self.right.depth() * self.right.width;
        Run {
            left: &self.left[self.starts.map_or(0, |starts| starts[panel])..],
            stride: self.stride,
            right: &self.right.pairs[panel * panel_pairs..],
            depth: self.right.depth(),
        }
    }
}

/// Most terms of a product.
const TERMS: usize = 2;

/// `c = Σ left right`, or `c += …`: the sum of one or two terms.
pub(in crate::kernels) fn multiply(terms: &[Term<'_>], c: MatMut<'_>, write: Write) {
    assert!((1..=TERMS).contains(&terms.len()), "{} terms", terms.len());
    let right = terms[0].right;
    let ((rows, n), width, panels) = (c.shape(), right.width, right.count());
    terms.iter().for_each(|term| term.check(rows, n, width));
    let result = Written::new(c, width, write);
    if rows == 0 || n == 0 {
        return;
    }
    let blocks = rows.div_ceil(ROW_BLOCK);
    // Whole tiles, evenly spread over the blocks.
    let block = rows.div_ceil(blocks).next_multiple_of(8);
    let pieces =
        if rows * right.depth() * n < SPLIT_WORK { 1 } else { 4 * rayon::current_num_threads() };
    let stride = panels.div_ceil(pieces.div_ceil(blocks).min(panels));
    // Few rows keep few sums: several panels at once hide the latency of the additions.
    let together = match rows {
        _ if terms.iter().any(|term| term.starts.is_some()) => 1,
        1 | 2 => 4,
        3 | 4 => 2,
        _ => 1,
    };
    let isa = Isa::current();
    let run = |piece: usize| {
        let (row_block, panel_block) = (piece % blocks, piece / blocks);
        let rows = row_block * block..((row_block + 1) * block).min(rows);
        let panels = panel_block * stride..((panel_block + 1) * stride).min(panels);
        for first in panels.clone().step_by(together) {
            let mut runs = [terms[0].run(first); TERMS];
            runs.iter_mut().zip(terms).for_each(|(run, term)| *run = term.run(first));
            let together = first..panels.end.min(first + together);
            sums(isa, &runs[..terms.len()], result, rows.clone(), together);
        }
    };
    let pieces = blocks * panels.div_ceil(stride);
    if pieces == 1 { run(0) } else { (0..pieces).into_par_iter().with_max_len(1).for_each(run) }
}

/// A right-hand matrix of `k` rows and `n` columns whose panels are packed when they are needed, so
/// that they never exist together.
pub(in crate::kernels) struct OnTheFly<F> {
    pub(in crate::kernels) k: usize,
    pub(in crate::kernels) n: usize,
    /// Rows that are packed at a time, an even number.
    pub(in crate::kernels) stretch: usize,
    /// Packs these rows of the columns from one on as a panel of so many columns: `[pair of rows,
    /// width]`.
    pub(in crate::kernels) pack: F,
}

/// `c = left right + extra`, or `c += …`. Where the panel is packed in several stretches of rows,
/// later ones add to what the first has written.
pub(in crate::kernels) fn multiply_on_the_fly<F>(
    left: &Rounded,
    right: &OnTheFly<F>,
    extra: Option<Term<'_>>,
    c: MatMut<'_>,
    write: Write,
) where
    F: Fn(Isa, Range<usize>, usize, usize, &mut [u32]) + Sync,
{
    thread_local! {
        /// One panel; taken while in use.
        static PANEL: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    }
    let OnTheFly { k, n, stretch, ref pack } = *right;
    let rows = c.rows();
    assert!(c.columns() == n, "{n} columns into {}", c.columns());
    assert!(
        left.depth == k.div_ceil(2) && rows * left.depth <= left.pairs.len(),
        "{rows} rows on {k}"
    );
    assert!(stretch.is_multiple_of(2) && stretch > 0, "{stretch} rows at a time");
    let width = Panels::width(n);
    if let Some(extra) = &extra {
        extra.check(rows, n, width);
    }
    let result = Written::new(c, width, write);
    if rows == 0 || n == 0 {
        return;
    }
    let (panels, isa) = (n.div_ceil(width), Isa::current());
    // Rows are divided too where there are few panels; each part packs the panel for itself.
    let parts = (2 * rayon::current_num_threads()).div_ceil(panels).min(rows.div_ceil(ROW_BLOCK));
    let part = rows.div_ceil(parts).next_multiple_of(8);
    (0..panels * parts).into_par_iter().with_max_len(1).for_each(|piece| {
        let (panel, part) =
            (piece / parts, piece % parts * part..rows.min((piece % parts + 1) * part));
        let mut packed = PANEL.take();
        for first in (0..k).step_by(stretch) {
            let some = first..k.min(first + stretch);
            let depth = some.len().div_ceil(2);
            let last = some.end == k;
            packed.resize(depth * width, 0);
            pack(isa, some, panel * width, width, &mut packed);
            let run =
                Run { left: &left.pairs[first / 2..], stride: left.depth, right: &packed, depth };
            let extra = extra.filter(|_| last).map(|extra| extra.run(panel));
            let runs = [run, extra.unwrap_or(run)];
            let write = if first > 0 { Write::Add } else { result.write };
            let result = Written { write, ..result };
            sums(
                isa,
                &runs[..1 + usize::from(extra.is_some())],
                result,
                part.clone(),
                panel..panel + 1,
            );
        }
        PANEL.set(packed);
    });
}

/// `c = left Wᵀ + extra`, or `c += …`, where `w` holds `W`: `left` has as many columns as `W`, `c`
/// as many as `W` has rows.
pub(in crate::kernels) fn multiply_transposed(
    left: &Rounded,
    w: &Panels,
    extra: Option<Term<'_>>,
    c: MatMut<'_>,
    write: Write,
) {
    let pack =
        |isa, rows, first, width, out: &mut [u32]| w.transposed_panel(isa, rows, first, width, out);
    let right = OnTheFly { k: w.n, n: w.k, stretch: TRANSPOSED_ROWS, pack };
    multiply_on_the_fly(left, &right, extra, c, write);
}

/// Sums of all runs for a range of rows and one panel, or more where there are at most four rows.
/// Distinct calls must get disjoint pieces.
fn sums(isa: Isa, runs: &[Run<'_>], result: Written, rows: Range<usize>, panels: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512Bf16 {
        // SAFETY: a level is only chosen on a processor that has its instructions; the callers have
        // checked that runs and result have these rows and panels, and nobody else writes them.
        unsafe { avx512::sums(runs, result, rows, panels) };
        return;
    }
    floats::sums(isa, runs, result, rows, panels);
}
