//! What the tiles of a product read, and where their sums go.

use crate::kernels::{MatMut, Write};

/// A term as one panel sees it.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// Pairs of all rows, `stride` from one to the next.
    pub(super) left: &'a [u32],
    pub(super) stride: usize,
    /// `[depth, width]`; further panels follow.
    pub(super) right: &'a [u32],
    pub(super) depth: usize,
}

impl Run<'_> {
    /// From the panel `count` further on, where panels are `width` columns wide.
    pub(super) fn skip(self, count: usize, width: usize) -> Self {
        Self { right: &self.right[count * self.depth * width..], ..self }
    }
}

/// Start of a result that several threads write in disjoint pieces.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Destination(pub(in crate::kernels) *mut f32);
impl Destination {
    /// Element `index`; a method, so that closures capture the whole and not the bare pointer.
    ///
    /// # Safety
    /// The element must lie within the buffer.
    pub(in crate::kernels) unsafe fn at(self, index: usize) -> *mut f32 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(index) }
    }
}

// SAFETY: the pieces of a product cover disjoint ranges of rows and panels, so no element is
// written twice; the buffer outlives the product because it is borrowed exclusively until all
// pieces are done.
unsafe impl Send for Destination {}
// SAFETY: as above.
unsafe impl Sync for Destination {}

/// Where a tile's sums go.
#[derive(Clone, Copy)]
pub(super) struct Written {
    pub(super) start: Destination,
    pub(super) n: usize,
    /// Columns of a panel.
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) write: Write,
}

impl Written {
    /// Of all of `c`, in panels of `width` columns.
    pub(super) fn new(mut c: MatMut<'_>, width: usize, write: Write) -> Self {
        let (n, stride) = (c.columns(), c.row_stride());
        Self { start: Destination(c.start()), n, width, stride, write }
    }
}
