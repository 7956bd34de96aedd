//! Bounds-checked views on row-major buffers, and their product through the `gemm` crate.

mod tiles;

use ::gemm::Parallelism;

use super::Isa;

/// A matrix seen in a buffer: element `(i, j)` is `data[i * row_stride + j * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatRef<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix to be written, rows contiguous.
#[derive(Debug)]
pub(crate) struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// Whether a product may use the other threads or is itself one of many parallel pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// This thread alone.
    One,
    /// All threads of the pool.
    All,
}

/// What a product does to its destination: BLAS's beta, 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// `c = …`: what was there is never read.
    Set,
    /// `c += …`
    Add,
}

impl Write {
    /// `sum`, or `old + sum`.
    #[inline(always)]
    pub(super) fn over(self, old: f32, sum: f32) -> f32 {
        match self {
            Self::Set => sum,
            Self::Add => old + sum,
        }
    }

    /// Whether the destination is read.
    #[inline(always)]
    pub(super) fn adds(self) -> bool {
        self == Self::Add
    }
}

/// `factor * a b`, as an operand of [`gemm`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    a: MatRef<'a>,
    b: MatRef<'a>,
    factor: f32,
}

impl Product<'_> {
    /// `factor` times this product.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { factor: self.factor * factor, ..self }
    }
}

/// Elements a `rows` by `columns` view with these strides reaches over.
fn reach(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * row_stride + (columns - 1) * column_stride + 1
    }
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // some of it serves instructions of x86-64 alone
impl<'a> MatRef<'a> {
    /// The first `rows * columns` elements as a row-major matrix.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// A row-major matrix whose rows start `row_stride` elements apart: some columns of a wider
    /// matrix.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(reach(rows, columns, row_stride, 1) <= data.len(), "view reaches past its buffer");
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The product `self b`.
    pub(crate) fn times(self, b: MatRef<'a>) -> Product<'a> {
        Product { a: self, b, factor: 1.0 }
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the elements of a row lie side by side.
    pub(super) fn is_row_major(&self) -> bool {
        self.column_stride == 1
    }

    /// Element `(row, column)`.
    #[cfg(test)]
    pub(super) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// Row `row`; the elements of a row must lie side by side.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        debug_assert!(self.is_row_major(), "rows of a transposed view");
        &self.data[row * self.row_stride..][..self.columns]
    }

    /// All elements, row by row; nothing may lie between the rows.
    pub(crate) fn as_slice(&self) -> &'a [f32] {
        let whole = self.column_stride == 1 && (self.row_stride == self.columns || self.rows <= 1);
        assert!(whole, "rows that lie apart");
        &self.data[..self.rows * self.columns]
    }

    /// The elements from the first on, and the distance between the beginnings of rows.
    #[inline]
    pub(super) fn strided_rows(&self) -> (&'a [f32], usize) {
        debug_assert!(self.is_row_major(), "rows of a transposed view");
        (self.data, self.row_stride)
    }

    /// `count` rows from `first` on.
    pub(crate) fn rows_from(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows {first}+{count} of {}", self.rows);
        let data = self.data.get(first * self.row_stride..).unwrap_or_default();
        Self { data, rows: count, ..self }
    }

    /// `count` columns from `first` on.
    pub(crate) fn columns_from(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.columns, "columns {first}+{count} of {}", self.columns);
        let data = self.data.get(first * self.column_stride..).unwrap_or_default();
        Self { data, columns: count, ..self }
    }

    /// The transposed view.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // some of it serves instructions of x86-64 alone
impl<'a> MatMut<'a> {
    /// The first `rows * columns` elements as a row-major matrix.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// A row-major matrix whose rows start `row_stride` elements apart.
    pub(crate) fn strided(
        data: &'a mut [f32],
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> Self {
        assert!(reach(rows, columns, row_stride, 1) <= data.len(), "view reaches past its buffer");
        assert!(columns <= row_stride || rows <= 1, "rows to be written overlap");
        Self { data, rows, columns, row_stride }
    }

    /// The same view, borrowed for a while.
    pub(crate) fn reborrow(&mut self) -> MatMut<'_> {
        MatMut { data: self.data, ..*self }
    }

    /// The matrix to be read.
    pub(crate) fn as_ref(&self) -> MatRef<'_> {
        let Self { rows, columns, row_stride, .. } = *self;
        MatRef { data: self.data, rows, columns, row_stride, column_stride: 1 }
    }

    /// Row `row`.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.row_stride..][..self.columns]
    }

    /// All elements, row by row; nothing may lie between the rows.
    pub(crate) fn into_slice(self) -> &'a mut [f32] {
        assert!(self.row_stride == self.columns || self.rows <= 1, "rows that lie apart");
        &mut self.data[..self.rows * self.columns]
    }

    /// `count` rows from `first` on.
    pub(crate) fn rows_from(&mut self, first: usize, count: usize) -> MatMut<'_> {
        assert!(first + count <= self.rows, "rows {first}+{count} of {}", self.rows);
        let data = self.data.get_mut(first * self.row_stride..).unwrap_or_default();
        MatMut { data, rows: count, ..*self }
    }

    /// `count` columns from `first` on.
    pub(crate) fn columns_from(&mut self, first: usize, count: usize) -> MatMut<'_> {
        assert!(first + count <= self.columns, "columns {first}+{count} of {}", self.columns);
        let data = self.data.get_mut(first..).unwrap_or_default();
        MatMut { data, columns: count, ..*self }
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Rows and columns.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Distance between the beginnings of rows.
    pub(super) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The first element; every one of the view lies behind it within the borrowed buffer.
    pub(super) fn start(&mut self) -> *mut f32 {
        self.data.as_mut_ptr()
    }
}

/// `dst = product` or `dst += product`.
pub(crate) fn gemm(dst: MatMut<'_>, write: Write, product: Product<'_>, threads: Threads) {
    let Product { a, b, factor } = product;
    assert!(
        dst.rows == a.rows && dst.columns == b.columns && a.columns == b.rows,
        "product of {}x{} and {}x{} into {}x{}",
        a.rows,
        a.columns,
        b.rows,
        b.columns,
        dst.rows,
        dst.columns
    );
    if dst.rows == 0 || dst.columns == 0 {
        return;
    }
    // The crate uses the best that the processor has.
    let isa = Isa::current();
    if cfg!(miri) || isa != Isa::detect() {
        return tiles::gemm(isa, dst, write, product, threads);
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        // Zero means all threads of the current pool.
        Threads::All => Parallelism::Rayon(0),
    };
    // SAFETY: the constructors have checked that every element of the three views lies in its
    // buffer, `dst` is borrowed exclusively and its rows do not overlap, and the shapes agree
    // (asserted above).
    unsafe {
        ::gemm::gemm(
            dst.rows,
            dst.columns,
            a.columns,
            dst.data.as_mut_ptr(),
            1,
            dst.row_stride as isize,
            write.adds(),
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    #[test]
    fn products_of_strided_and_transposed_views_match_the_scalar_reference() {
        let shapes = [
            (1, 1, 1),
            (3, 5, 7),
            (8, 48, 16),
            (17, 33, 65),
            (1, 70, 9),
            (64, 3, 100),
            (131, 20, 3),
            (2, 3, 0),
            (0, 4, 4),
            (4, 0, 4),
        ];
        for (m, n, k) in shapes {
            let (a, b) = (noise(1, m * (k + 3)), noise(2, n * k));
            for write in [Write::Set, Write::Add] {
                let old = noise(3, m * (n + 2));
                let mut expected = old.clone();
                for i in 0..m {
                    for j in 0..n {
                        let sum: f32 = (0..k).map(|p| a[i * (k + 3) + p] * b[j * k + p]).sum();
                        let slot = &mut expected[i * (n + 2) + j];
                        *slot = write.over(*slot, 0.5 * sum);
                    }
                }
                on_every_isa(|_| {
                    for threads in [Threads::One, Threads::All] {
                        let mut c = old.clone();
                        let a = MatRef::strided(&a, m, k, k + 3);
                        let b = MatRef::new(&b, n, k).t();
                        let dst = MatMut::strided(&mut c, m, n, n + 2);
                        gemm(dst, write, a.times(b).scaled(0.5), threads);
                        assert_close(&c, &expected, 1e-5);
                    }
                });
            }
        }
    }

    #[test]
    #[should_panic(expected = "past its buffer")]
    fn a_view_past_its_buffer_is_refused() {
        let _ = MatRef::strided(&[0.0; 10], 3, 4, 4);
    }
}
