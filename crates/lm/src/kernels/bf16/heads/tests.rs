#![allow(clippy::unwrap_used)]

use super::*;
use crate::kernels::MatMut;
use crate::ops::testing::{assert_close, noise};

/// A head's results, log-sum-exps and gradients in f64, straight from the formulas.
struct Reference {
    out: Vec<f32>,
    lse: Vec<f32>,
    /// `[past + rows, 3 * width]`
    gradients: Vec<f32>,
}

fn reference(sight: Sight, width: usize, [q, k, v, d_out]: [&[f32]; 4]) -> Reference {
    let (rows, keys) = (q.len() / width, k.len() / width);
    let dot = |a: &[f32], i: usize, b: &[f32], j: usize| -> f64 {
        (0..width).map(|c| f64::from(a[i * width + c]) * f64::from(b[j * width + c])).sum()
    };
    let factor = f64::from(sight.factor);
    let (mut out, mut lse) = (vec![0.0; rows * width], vec![0.0; rows]);
    let mut gradients = vec![0f64; keys * 3 * width];
    for i in 0..rows {
        let seen = sight.seen(i);
        let total: f64 = seen.clone().map(|j| (dot(q, i, k, j) * factor).exp()).sum();
        lse[i] = total.ln() as f32;
        let p: Vec<f64> = seen.clone().map(|j| (dot(q, i, k, j) * factor).exp() / total).collect();
        let mean: f64 = p.iter().zip(seen.clone()).map(|(p, j)| p * dot(d_out, i, v, j)).sum();
        for (p, j) in p.into_iter().zip(seen) {
            let d = p * (dot(d_out, i, v, j) - mean) * factor;
            for c in 0..width {
                let number = |x: &[f32], row: usize| f64::from(x[row * width + c]);
                out[i * width + c] += (p * number(v, j)) as f32;
                gradients[(sight.past + i) * 3 * width + c] += d * number(k, j);
                gradients[(3 * j + 1) * width + c] += d * number(q, i);
                gradients[(3 * j + 2) * width + c] += p * number(d_out, i);
            }
        }
    }
    Reference { out, lse, gradients: gradients.into_iter().map(|x| x as f32).collect() }
}

#[test]
fn results_and_gradients_match_the_formulas_on_odd_shapes() {
    if !available() {
        return;
    }
    let (forward, backward) = (&mut ForwardBuffers::default(), &mut BackwardBuffers::default());
    for (width, rows, past, window) in [
        (64, 200, 0, None),
        (64, 1, 0, None),
        (64, 7, 70, None),
        (6, 67, 5, None),
        (20, 49, 0, None),
        (80, 97, 63, None),
        (128, 50, 1, None),
        (7, 31, 2, None),
        (64, 130, 3, Some(1)),
        (16, 199, 70, Some(66)),
        (64, 300, 0, Some(1000)),
    ] {
        let sight = Sight { past, window, factor: 0.3 };
        let keys = past + rows;
        let (q, d_out) = (noise(1, rows * width), noise(2, rows * width));
        let (k, v) = (noise(3, keys * width), noise(4, keys * width));
        let expected = reference(sight, width, [&q, &k, &v, &d_out]);
        let of_rows = |x| MatRef::new(x, rows, width);
        let of_keys = |x| MatRef::new(x, keys, width);

        let mut packed = PackedHead::default();
        packed.fill(of_keys(&k), of_keys(&v));
        let (mut out, mut lse) = (vec![f32::NAN; rows * width], vec![f32::NAN; rows]);
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            let out = MatMut::new(&mut out[first * width..], count, width);
            let head = QueryHead { sight, queries: of_rows(&q), packed: &packed };
            head_forward(head, first, out, |row, value| lse[first + row] = value, forward);
        }
        assert_close(&lse, &expected.lse, 0.02);
        assert_close(&out, &expected.out, 0.02);

        let head = HeadGradient {
            sight,
            queries: of_rows(&q),
            keys: of_keys(&k),
            values: of_keys(&v),
            out: of_rows(&out),
            d_out: of_rows(&d_out),
            lse: MatRef::new(&lse, rows, 1),
        };
        let mut gradients = vec![f32::NAN; keys * 3 * width];
        head_backward(&head, &mut gradients, backward);
        assert_close(&gradients, &expected.gradients, 0.04);
    }
}

#[test]
fn exponentials_are_those_of_the_standard_library() {
    if !available() {
        return;
    }
    let x: [f32; 16] = std::array::from_fn(|i| -6.3 * i as f32 + 0.7);
    let mut found = [0f32; 16];
    // SAFETY: the processor has the features; both arrays are 64 bytes.
    unsafe { _mm512_storeu_ps(found.as_mut_ptr(), exp(_mm512_loadu_ps(x.as_ptr()))) };
    for (found, x) in found.into_iter().zip(x) {
        assert!((found - x.exp()).abs() <= 3e-7 * x.exp(), "{x}: {found}");
    }
}
