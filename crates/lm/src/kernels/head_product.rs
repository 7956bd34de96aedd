//! Products of two matrices that change, in bf16: what one head of attention is made of, and a
//! layer whose weights are trained.

use super::bf16::{Panels, Rounded, Target, multiply};

/// Buffers of such products.
#[derive(Debug, Default)]
pub(crate) struct HeadProduct {
    left: Rounded,
    right: Panels,
}

impl HeadProduct {
    /// `c = a bᵀ`; `a` is `[rows, k]`, `b` `[n, k]`, `c` `[rows, n]`.
    pub(crate) fn transposed(
        &mut self,
        rows: usize,
        k: usize,
        n: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        self.right.fill_transposed(b, n, k);
        self.finish(rows, k, a, Target { data: c, stride: n, accumulate: false });
    }

    /// `c += a bᵀ`, in the shapes of [`transposed`](Self::transposed).
    pub(crate) fn add_transposed(
        &mut self,
        rows: usize,
        k: usize,
        n: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        self.right.fill_transposed(b, n, k);
        self.finish(rows, k, a, Target { data: c, stride: n, accumulate: true });
    }

    /// `c = a b`; `a` is `[rows, k]`, `b` `[k, n]`, `c` `[rows, n]`.
    pub(crate) fn plain(
        &mut self,
        rows: usize,
        k: usize,
        n: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        self.right.fill(b, k, n, 1.0);
        self.finish(rows, k, a, Target { data: c, stride: n, accumulate: false });
    }

    /// `c += a b`, in the shapes of [`plain`](Self::plain).
    pub(crate) fn add_plain(
        &mut self,
        rows: usize,
        k: usize,
        n: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        self.right.fill(b, k, n, 1.0);
        self.finish(rows, k, a, Target { data: c, stride: n, accumulate: true });
    }

    fn finish(&mut self, rows: usize, k: usize, a: &[f32], c: Target<'_>) {
        self.left.fill(rows, k, a);
        multiply(rows, &[self.left.term(&self.right)], c);
    }
}
