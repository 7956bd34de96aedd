//! A product with frozen weights and a low-rank update (LoRA, Hu et al. 2021) in the same sums.
//!
//! `x Wᵀ + (x Aᵀ) Bᵀ` is one product whose inner dimension is longer by the rank: `[x, x Aᵀ]` times
//! `[W, B]ᵀ`. So the update costs its few multiplications and no pass over the outputs of its own.

use super::bf16::{Panels, Rounded, multiply};
use super::rhs::Rhs;
use super::{MatMut, MatRef, PackedWeights, Write};

/// A low-rank update of a frozen matrix whose outputs are those of several members, side by side.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    /// The members' `A`, one below the other: `[members * rank, inputs]`.
    pub(crate) a: MatRef<'a>,
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
pub(crate) struct FusedLoraBuffers {
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
pub(crate) struct FusedLora<'a> {
    rhs: Rhs<'a>,
    update: Update<'a>,
}

impl PackedWeights {
    /// This matrix together with an update; `None` where the two must be multiplied one after the
    /// other, because the weights are not in bf16, or because a pair of numbers would belong to two
    /// members.
    pub(crate) fn with<'a>(&'a self, update: Update<'a>) -> Option<FusedLora<'a>> {
        let even = |member: &Member<'_>| member.column.is_multiple_of(2);
        let together = update.rank.is_multiple_of(2) && update.members.iter().all(even);
        self.rhs().filter(|_| together).map(|rhs| FusedLora { rhs, update })
    }
}

impl FusedLora<'_> {
    /// Ranks of all members together.
    pub(crate) fn ranks(&self) -> usize {
        self.update.ranks()
    }

    /// `y = x Wᵀ + low Bᵀ` or `y += …`, where `low = x Aᵀ` is kept. `x` is `[rows, inputs]`, `y`
    /// `[rows, outputs]`, `low` `[rows, members * rank]`.
    pub(crate) fn forward(
        &self,
        x: MatRef<'_>,
        low: &mut [f32],
        y: MatMut<'_>,
        write: Write,
        buffers: &mut FusedLoraBuffers,
    ) {
        let Self { rhs, update } = self;
        let FusedLoraBuffers { rounded, rounded_low, a, b, starts } = buffers;
        let mut low = MatMut::new(low, x.rows(), update.ranks());
        rounded.fill(x);
        a.fill_transposed(update.a);
        multiply(&[rounded.term(a)], low.reborrow(), Write::Set);
        rounded_low.fill(low.as_ref());
        update.pack_up(y.columns(), b, starts);
        let low = rounded_low.term(b).starting(starts);
        rhs.multiply(rounded, Some(low), y, write);
    }

    /// `d_low = dy B` and, where it is wanted, `dx = dy W + d_low A`. `dy` is `[rows, outputs]`,
    /// `dx` `[rows, inputs]`, `d_low` `[rows, members * rank]`.
    pub(crate) fn backward(
        &self,
        dy: MatRef<'_>,
        d_low: &mut [f32],
        dx: Option<MatMut<'_>>,
        buffers: &mut FusedLoraBuffers,
    ) {
        let Self { rhs, update } = self;
        let FusedLoraBuffers { rounded, rounded_low, a, b, .. } = buffers;
        let mut d_low = MatMut::new(d_low, dy.rows(), update.ranks());
        rounded.fill(dy);
        for (index, member) in update.members.iter().enumerate() {
            b.fill(MatRef::new(member.b, member.outputs, update.rank), update.scaling);
            let target = d_low.columns_from(index * update.rank, update.rank);
            multiply(&[rounded.term_from(member.column, b)], target, Write::Set);
        }
        if let Some(dx) = dx {
            rounded_low.fill(d_low.as_ref());
            a.fill(update.a, 1.0);
            rhs.multiply_transposed(rounded, Some(rounded_low.term(a)), dx, Write::Set);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::kernels::{Threads, gemm};
    use crate::ops::testing::{assert_close, noise};

    /// `a b`, `[m, n]`.
    fn product(m: usize, n: usize, a: MatRef<'_>, b: MatRef<'_>) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        gemm(MatMut::new(&mut c, m, n), Write::Set, a.times(b), Threads::One);
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
            let weights = PackedWeights::new(w.clone(), outputs, inputs, Precision::Bf16);
            let members =
                columns.iter().zip(&b).map(|(&(column, outputs), b)| Member { b, column, outputs });
            let a = MatRef::new(&a, ranks, inputs);
            let update = Update { a, rank, scaling: 0.5, members: members.collect() };
            let fused = weights.with(update).unwrap();
            let (x, dy, buffers) = (
                noise(4, rows * inputs),
                noise(5, rows * outputs),
                &mut FusedLoraBuffers::default(),
            );

            let (mut y, mut low) = (noise(6, rows * outputs), vec![9.0; rows * ranks]);
            let mut expected = y.clone();
            let x_view = MatRef::new(&x, rows, inputs);
            let to = MatMut::new(&mut y, rows, outputs);
            fused.forward(x_view, &mut low, to, Write::Add, buffers);
            let expected_low = product(rows, ranks, x_view, a.t());
            assert_close(&low, &expected_low, 0.06);
            let w_view = MatRef::new(&w, outputs, inputs);
            let to = MatMut::new(&mut expected, rows, outputs);
            gemm(to, Write::Add, x_view.times(w_view.t()), Threads::One);
            for (i, (&(column, wide), b)) in columns.iter().zip(&b).enumerate() {
                let y = MatMut::strided(&mut expected[column..], rows, wide, outputs);
                let low = MatRef::strided(&low[i * rank..], rows, rank, ranks);
                let product = low.times(MatRef::new(b, wide, rank).t()).scaled(0.5);
                gemm(y, Write::Add, product, Threads::One);
            }
            assert_close(&y, &expected, 0.06);

            let (mut d_low, mut dx) = (vec![9.0; rows * ranks], vec![9.0; rows * inputs]);
            let (dy_view, to) =
                (MatRef::new(&dy, rows, outputs), MatMut::new(&mut dx, rows, inputs));
            fused.backward(dy_view, &mut d_low, Some(to), buffers);
            let mut expected_low = vec![0.0; rows * ranks];
            for (i, (&(column, wide), b)) in columns.iter().zip(&b).enumerate() {
                let d_low = MatMut::strided(&mut expected_low[i * rank..], rows, rank, ranks);
                let dy = MatRef::strided(&dy[column..], rows, wide, outputs);
                let product = dy.times(MatRef::new(b, wide, rank)).scaled(0.5);
                gemm(d_low, Write::Set, product, Threads::One);
            }
            assert_close(&d_low, &expected_low, 0.06);
            let mut expected = product(rows, inputs, dy_view, w_view);
            let (d_low, to) =
                (MatRef::new(&d_low, rows, ranks), MatMut::new(&mut expected, rows, inputs));
            gemm(to, Write::Add, d_low.times(a), Threads::One);
            assert_close(&dx, &expected, 0.08);
        }
    }

    #[test]
    fn what_cannot_be_joined_is_said() {
        let (w, a, b) = (noise(1, 40 * 8), noise(2, 3 * 8), noise(3, 40 * 3));
        let update = |rank| Update {
            a: MatRef::new(&a, rank, 8),
            rank,
            scaling: 1.0,
            members: vec![Member { b: &b[..40 * rank], column: 0, outputs: 40 }],
        };
        let with = |precision, rank| {
            PackedWeights::new(w.clone(), 40, 8, precision).with(update(rank)).is_some()
        };
        assert!(with(Precision::Bf16, 2));
        assert!(!with(Precision::Bf16, 3));
        assert!(!with(Precision::F32, 2));
    }
}
