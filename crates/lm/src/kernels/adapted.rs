//! A frozen product with a low-rank update in the same sums: `x Wᵀ + (x Aᵀ) Bᵀ` is one product
//! whose inner dimension is longer by the rank, so the update costs its few multiplications and no
//! passes over memory of its own.

use super::Frozen;
use super::bf16::{Panels, Rounded, Target, multiply};
use super::right::Right;

/// A low-rank update of a frozen matrix whose outputs are those of several members, side by side.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    /// The members' `A`, one below the other: `[members * rank, inputs]`.
    pub(crate) a: &'a [f32],
    /// Rank of each member, even.
    pub(crate) rank: usize,
    /// What `B` is multiplied by.
    pub(crate) scaling: f32,
    /// In the order of their columns, which are even.
    pub(crate) members: Vec<Member<'a>>,
}

/// One updated projection of those that are stacked in a frozen matrix.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// `[outputs, rank]`
    pub(crate) b: &'a [f32],
    /// First of its outputs among those of the frozen matrix.
    pub(crate) column: usize,
    pub(crate) outputs: usize,
}

/// Rounded and packed copies of what goes into a product, made anew each time.
#[derive(Debug, Default)]
pub(crate) struct AdaptedBuffers {
    /// Also for products without an update.
    pub(crate) rounded: Rounded,
    rounded_low: Rounded,
    a: Panels,
    b: Panels,
    starts: Vec<usize>,
}

impl Update<'_> {
    /// Ranks of all members.
    fn ranks(&self) -> usize {
        self.members.len() * self.rank
    }

    /// Packs `scaling * Bᵀ` of all members beside each other for `outputs` columns. Where every
    /// member's outputs fill whole panels, a panel is multiplied by its own member's part of the
    /// row alone.
    fn pack_up(&self, outputs: usize, panels: &mut Panels, starts: &mut Vec<usize>) {
        let width = Panels::width(outputs);
        let whole = |end: usize| end.is_multiple_of(width) || end == outputs;
        let apart = self
            .members
            .iter()
            .all(|member| whole(member.column) && whole(member.column + member.outputs));
        let of_column = |column: usize| {
            self.members.iter().position(|m| (m.column..m.column + m.outputs).contains(&column))
        };
        let k = if apart { self.rank } else { self.ranks() };
        panels.fill_columns(k, outputs, |column, out| {
            out.fill(0.0);
            let Some(index) = of_column(column) else { return };
            let Member { b, column: first, .. } = self.members[index];
            let out = &mut out[if apart { 0 } else { index * self.rank }..];
            for (out, b) in out.iter_mut().zip(&b[(column - first) * self.rank..][..self.rank]) {
                *out = self.scaling * b;
            }
        });
        starts.clear();
        starts.extend((0..outputs.div_ceil(width)).map(|panel| match of_column(panel * width) {
            Some(index) if apart => index * self.rank / 2,
            _ => 0,
        }));
    }
}

/// A frozen matrix in bf16 and the update to be taken with it.
#[derive(Debug)]
pub(crate) struct Adapted<'a> {
    right: Right<'a>,
    update: Update<'a>,
}

impl Frozen {
    /// This matrix together with an update; `None` where the two must be multiplied one after the
    /// other, because the weights are not in bf16, or because a pair of numbers would belong to two
    /// members.
    pub(crate) fn with<'a>(&'a self, update: Update<'a>) -> Option<Adapted<'a>> {
        let even = |member: &Member<'_>| member.column.is_multiple_of(2);
        let together = update.rank.is_multiple_of(2) && update.members.iter().all(even);
        self.right().filter(|_| together).map(|right| Adapted { right, update })
    }
}

impl Adapted<'_> {
    /// Ranks of all members together.
    pub(crate) fn ranks(&self) -> usize {
        self.update.ranks()
    }

    /// `y = x Wᵀ + low Bᵀ`, or `y += …` when `accumulate`, where `low = x Aᵀ` is kept. `x` is
    /// `[rows, inputs]`, `y` `[rows, outputs]`, `low` `[rows, members * rank]`.
    pub(crate) fn forward(
        &self,
        rows: usize,
        x: &[f32],
        low: &mut [f32],
        y: &mut [f32],
        accumulate: bool,
        buffers: &mut AdaptedBuffers,
    ) {
        let Self { right, update } = self;
        let AdaptedBuffers { rounded, rounded_low, a, b, starts } = buffers;
        let (inputs, outputs) = right.shape();
        let ranks = update.ranks();
        rounded.fill(rows, inputs, x);
        a.fill_transposed(update.a, ranks, inputs);
        multiply(rows, &[rounded.term(a)], Target { data: low, stride: ranks, accumulate: false });
        rounded_low.fill(rows, ranks, low);
        update.pack_up(outputs, b, starts);
        let low = rounded_low.term(b).starting(starts);
        right.multiply(rows, rounded, Some(low), Target { data: y, stride: outputs, accumulate });
    }

    /// `d_low = dy B` and, where it is wanted, `dx = dy W + d_low A`. `dy` is `[rows, outputs]`,
    /// `dx` `[rows, inputs]`, `d_low` `[rows, members * rank]`.
    pub(crate) fn backward(
        &self,
        rows: usize,
        dy: &[f32],
        d_low: &mut [f32],
        dx: Option<&mut [f32]>,
        buffers: &mut AdaptedBuffers,
    ) {
        let Self { right, update } = self;
        let AdaptedBuffers { rounded, rounded_low, a, b, .. } = buffers;
        let (inputs, outputs) = right.shape();
        let (ranks, rank) = (update.ranks(), update.rank);
        rounded.fill(rows, outputs, dy);
        for (index, member) in update.members.iter().enumerate() {
            b.fill(member.b, member.outputs, rank, update.scaling);
            let target =
                Target { data: &mut d_low[index * rank..], stride: ranks, accumulate: false };
            multiply(rows, &[rounded.term_from(member.column, b)], target);
        }
        if let Some(dx) = dx {
            rounded_low.fill(rows, ranks, d_low);
            a.fill(update.a, ranks, inputs, 1.0);
            let target = Target { data: dx, stride: inputs, accumulate: false };
            right.multiply_transposed(rows, rounded, Some(rounded_low.term(a)), target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::kernels::{MatMut, MatRef, Threads, gemm};
    use crate::ops::testing::{assert_close, noise};

    /// `a b`, `[m, n]`.
    fn product(m: usize, n: usize, a: MatRef<'_>, b: MatRef<'_>) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        gemm(MatMut::new(&mut c, m, n), false, 1.0, a, b, Threads::One);
        c
    }

    #[test]
    fn the_joined_product_is_the_frozen_one_and_the_update() {
        // Members that fill whole panels, that do not, one that is left out, one alone and narrow.
        for (inputs, outputs, rank, columns) in [
            (40, 192, 4, vec![(0, 96), (96, 48), (144, 48)]),
            (64, 80, 2, vec![(0, 48), (48, 32)]),
            (33, 100, 6, vec![(0, 50), (50, 50)]),
            (24, 120, 4, vec![(48, 24)]),
            (70, 24, 8, vec![(0, 24)]),
        ] {
            let (count, rows) = (columns.len(), 37);
            let ranks = count * rank;
            let (w, a) = (noise(1, outputs * inputs), noise(2, ranks * inputs));
            let b: Vec<_> = columns.iter().map(|(_, wide)| noise(3, wide * rank)).collect();
            let frozen = Frozen::new(w.clone(), outputs, inputs, Precision::Bf16);
            let members =
                columns.iter().zip(&b).map(|(&(column, outputs), b)| Member { b, column, outputs });
            let update = Update { a: &a, rank, scaling: 0.5, members: members.collect() };
            let adapted = frozen.with(update).unwrap();
            let (x, dy, buffers) =
                (noise(4, rows * inputs), noise(5, rows * outputs), &mut AdaptedBuffers::default());

            let (mut y, mut low) = (noise(6, rows * outputs), vec![9.0; rows * ranks]);
            let mut expected = y.clone();
            adapted.forward(rows, &x, &mut low, &mut y, true, buffers);
            let x_view = MatRef::new(&x, rows, inputs);
            let expected_low = product(rows, ranks, x_view, MatRef::new(&a, ranks, inputs).t());
            assert_close(&low, &expected_low, 0.06);
            let w_view = MatRef::new(&w, outputs, inputs);
            gemm(
                MatMut::new(&mut expected, rows, outputs),
                true,
                1.0,
                x_view,
                w_view.t(),
                Threads::One,
            );
            for (i, (&(column, wide), b)) in columns.iter().zip(&b).enumerate() {
                let y = MatMut::strided(&mut expected[column..], rows, wide, outputs);
                let low = MatRef::strided(&low[i * rank..], rows, rank, ranks);
                gemm(y, true, 0.5, low, MatRef::new(b, wide, rank).t(), Threads::One);
            }
            assert_close(&y, &expected, 0.06);

            let (mut d_low, mut dx) = (vec![9.0; rows * ranks], vec![9.0; rows * inputs]);
            adapted.backward(rows, &dy, &mut d_low, Some(&mut dx), buffers);
            let mut expected_low = vec![0.0; rows * ranks];
            for (i, (&(column, wide), b)) in columns.iter().zip(&b).enumerate() {
                let d_low = MatMut::strided(&mut expected_low[i * rank..], rows, rank, ranks);
                let dy = MatRef::strided(&dy[column..], rows, wide, outputs);
                gemm(d_low, false, 0.5, dy, MatRef::new(b, wide, rank), Threads::One);
            }
            assert_close(&d_low, &expected_low, 0.06);
            let mut expected = product(rows, inputs, MatRef::new(&dy, rows, outputs), w_view);
            let (d_low, a) = (MatRef::new(&d_low, rows, ranks), MatRef::new(&a, ranks, inputs));
            gemm(MatMut::new(&mut expected, rows, inputs), true, 1.0, d_low, a, Threads::One);
            assert_close(&dx, &expected, 0.08);
        }
    }

    #[test]
    fn what_cannot_be_joined_is_said() {
        let (w, a, b) = (noise(1, 40 * 8), noise(2, 3 * 8), noise(3, 40 * 3));
        let update = |rank| Update {
            a: &a[..rank * 8],
            rank,
            scaling: 1.0,
            members: vec![Member { b: &b[..40 * rank], column: 0, outputs: 40 }],
        };
        let with =
            |precision, rank| Frozen::new(w.clone(), 40, 8, precision).with(update(rank)).is_some();
        assert!(with(Precision::Bf16, 2));
        assert!(!with(Precision::Bf16, 3));
        assert!(!with(Precision::F32, 2));
    }
}
