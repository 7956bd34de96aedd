//! Products of two matrices that change, in bf16: what one head of attention is made of, and a
//! layer whose weights are trained.

use super::bf16::{Panels, Rounded, multiply};
use super::{MatMut, MatRef, Write};

/// Buffers of such products.
#[derive(Debug, Default)]
pub(crate) struct HeadProduct {
    lhs: Rounded,
    rhs: Panels,
}

impl HeadProduct {
    /// `c = a b`, or `c += a b`; between the rows of `a`, and of `b` or the matrix that it is the
    /// transpose of, nothing may lie.
    pub(crate) fn multiply(&mut self, a: MatRef<'_>, b: MatRef<'_>, c: MatMut<'_>, write: Write) {
        assert!(a.columns() == b.rows(), "{} columns by {} rows", a.columns(), b.rows());
        match b.is_row_major() {
            true => self.rhs.fill(b, 1.0),
            false => self.rhs.fill_transposed(b.t()),
        }
        self.lhs.fill(a);
        multiply(&[self.lhs.term(&self.rhs)], c, write);
    }
}
