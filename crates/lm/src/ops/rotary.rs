//! Rotary position embedding (Su et al. 2021) in the Hugging Face layout: pair `i` is `(x[i], x[i +
//! half])`.

use rayon::prelude::*;

use crate::kernels;

/// Rows a thread takes at a time.
const ROWS: usize = 16;

/// Cosines and sines for the positions of a batch's rows.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// Prepares the rotation of rows at `positions`; `frequencies` are radians per position, one
    /// per pair.
    pub(crate) fn prepare(&mut self, positions: impl Iterator<Item = usize>, frequencies: &[f32]) {
        self.half = frequencies.len();
        self.cosines.clear();
        self.sines.clear();
        for position in positions {
            for &frequency in frequencies {
                // The angle is rounded to f32 as the models were trained; its sine is exact.
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                self.cosines.push(cosine as f32);
                self.sines.push(sine as f32);
            }
        }
    }

    fn angles(&self, row: usize) -> (&[f32], &[f32]) {
        let at = row * self.half..(row + 1) * self.half;
        (&self.cosines[at.clone()], &self.sines[at])
    }

    /// Rotates the first `heads` heads of each row; rows are `stride` wide.
    pub(crate) fn forward(&self, x: &mut [f32], heads: usize, stride: usize) {
        x.par_chunks_mut(ROWS * stride).enumerate().for_each(|(chunk, x)| {
            for (i, row) in x.chunks_exact_mut(stride).enumerate() {
                self.rotate_row(chunk * ROWS + i, &mut row[..heads * 2 * self.half], 1.0);
            }
        });
    }

    /// Rotates the heads of row `row` forward (`direction` 1) or, as a gradient needs it, back
    /// (-1).
    pub(crate) fn rotate_row(&self, row: usize, x: &mut [f32], direction: f32) {
        let (cosines, sines) = self.angles(row);
        for head in x.chunks_exact_mut(2 * self.half) {
            kernels::rotate(head, cosines, sines, direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, noise};

    #[test]
    fn inner_products_depend_on_distance_alone_and_the_way_back_undoes_it() {
        let frequencies = [1.0, 0.3, 0.01, 0.0];
        let mut rotation = Rotation::default();
        rotation.prepare([3, 7, 103, 107].into_iter(), &frequencies);
        let (q, k) = (noise(1, 8), noise(2, 8));
        let turned = |row, x: &[f32]| {
            let mut x = x.to_vec();
            rotation.rotate_row(row, &mut x, 1.0);
            x
        };
        let near = kernels::dot(&turned(0, &q), &turned(1, &k));
        let far = kernels::dot(&turned(2, &q), &turned(3, &k));
        assert!((near - far).abs() < 1e-4);
        let mut back = turned(3, &q);
        rotation.rotate_row(3, &mut back, -1.0);
        assert_close(&back, &q, 1e-6);
    }

    #[test]
    fn only_the_named_heads_turn() {
        let mut rotation = Rotation::default();
        rotation.prepare(1..4, &[0.5]);
        let mut x = vec![1.0; 3 * 6];
        rotation.forward(&mut x, 2, 6);
        for (row, x) in x.chunks(6).enumerate() {
            let angle = 0.5 * (row + 1) as f32;
            let turned = [angle.cos() - angle.sin(), angle.cos() + angle.sin()];
            assert_close(x, &[turned[0], turned[1], turned[0], turned[1], 1.0, 1.0], 1e-6);
        }
    }
}
