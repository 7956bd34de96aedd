//! Frozen right-hand sides of bf16 products: panels, or low-bit weights of which panels are made on
//! the fly.

use super::bf16::{
    OnTheFly, Panels, Rounded, TRANSPOSED_ROWS, Term, multiply, multiply_on_the_fly,
    multiply_transposed,
};
use super::low_bit::LowBit;
use super::{MatMut, Write};

/// The transpose of frozen weights `W` `[outputs, inputs]`. Both forms give the same bits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rhs<'a> {
    Panels(&'a Panels),
    LowBit(&'a LowBit),
}

impl Rhs<'_> {
    /// `c = x Wᵀ + extra`, or `c += …`.
    pub(super) fn multiply(
        self,
        x: &Rounded,
        extra: Option<Term<'_>>,
        c: MatMut<'_>,
        write: Write,
    ) {
        match (self, extra) {
            (Self::Panels(panels), None) => multiply(&[x.term(panels)], c, write),
            (Self::Panels(panels), Some(extra)) => multiply(&[x.term(panels), extra], c, write),
            (Self::LowBit(weights), extra) => {
                let (k, n) = weights.shape();
                // Whole columns at a time: a sum cut in two would be rounded in between.
                let pack =
                    |isa, _, first, width, out: &mut [u32]| weights.panel(isa, first, width, out);
                let rhs = OnTheFly { k, n, stretch: k.next_multiple_of(2), pack };
                multiply_on_the_fly(x, &rhs, extra, c, write);
            }
        }
    }

    /// `c = dy W + extra`, or `c += …`.
    pub(super) fn multiply_transposed(
        self,
        dy: &Rounded,
        extra: Option<Term<'_>>,
        c: MatMut<'_>,
        write: Write,
    ) {
        match self {
            Self::Panels(panels) => multiply_transposed(dy, panels, extra, c, write),
            Self::LowBit(weights) => {
                let (n, k) = weights.shape();
                let pack = |isa, rows, first, width, out: &mut [u32]| {
                    weights.transposed_panel(isa, rows, first, width, out);
                };
                let rhs = OnTheFly { k, n, stretch: TRANSPOSED_ROWS, pack };
                multiply_on_the_fly(dy, &rhs, extra, c, write);
            }
        }
    }
}
