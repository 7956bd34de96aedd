//! Frozen right-hand sides of bf16 products: panels, or weights of few bits of which panels are
//! made on the fly.

use super::bf16::{
    OnTheFly, Panels, Rounded, TRANSPOSED_ROWS, Target, Term, multiply, multiply_on_the_fly,
    multiply_transposed,
};
use super::nibbles::Nibbles;

/// The transpose of frozen weights `W` `[outputs, inputs]`. Both forms give the same bits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    Panels(&'a Panels),
    Coded(&'a Nibbles),
}

impl Right<'_> {
    /// `(inputs, outputs)`.
    pub(super) fn shape(self) -> (usize, usize) {
        match self {
            Self::Panels(panels) => panels.shape(),
            Self::Coded(weights) => weights.shape(),
        }
    }

    /// `c = x Wᵀ + extra`, or `c += …`.
    pub(super) fn multiply(self, rows: usize, x: &Rounded, extra: Option<Term<'_>>, c: Target<'_>) {
        match (self, extra) {
            (Self::Panels(panels), None) => multiply(rows, &[x.term(panels)], c),
            (Self::Panels(panels), Some(extra)) => multiply(rows, &[x.term(panels), extra], c),
            (Self::Coded(weights), extra) => {
                let (k, n) = weights.shape();
                // Whole columns at a time: a sum cut in two would be rounded in between.
                let pack =
                    |isa, _, first, width, out: &mut [u32]| weights.panel(isa, first, width, out);
                let right = OnTheFly { k, n, stretch: k.next_multiple_of(2), pack };
                multiply_on_the_fly(rows, x, &right, extra, c);
            }
        }
    }

    /// `c = dy W + extra`, or `c += …`.
    pub(super) fn multiply_transposed(
        self,
        rows: usize,
        dy: &Rounded,
        extra: Option<Term<'_>>,
        c: Target<'_>,
    ) {
        match self {
            Self::Panels(panels) => multiply_transposed(rows, dy, panels, extra, c),
            Self::Coded(weights) => {
                let (n, k) = weights.shape();
                let pack = |isa, rows, first, width, out: &mut [u32]| {
                    weights.transposed_panel(isa, rows, first, width, out);
                };
                let right = OnTheFly { k, n, stretch: TRANSPOSED_ROWS, pack };
                multiply_on_the_fly(rows, dy, &right, extra, c);
            }
        }
    }
}
