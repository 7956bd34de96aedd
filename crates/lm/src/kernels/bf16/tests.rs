use super::*;
use crate::kernels::{MatMut, MatRef, Threads, gemm};
use crate::ops::testing::{assert_close, noise};

/// Sums in f64 of inputs rounded to bf16: what any kernel should come near. `a` is `[m, k]`, `w` is `[n, k]`.
fn reference(m: usize, k: usize, n: usize, a: &[f32], w: &[f32]) -> Vec<f32> {
    let round = |x: f32| bf16::from_f32(x).to_f64();
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|p| round(a[i * k + p]) * round(w[j * k + p])).sum::<f64>() as f32;
        }
    }
    c
}

fn transpose(rows: usize, columns: usize, x: &[f32]) -> Vec<f32> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

#[test]
fn odd_shapes_match_the_scalar_reference_in_both_orientations() {
    let rows = [1, 2, 3, 4, 5, 7, 8, 9, 13, 17, 64, 65, 131];
    for (k, n) in [(1, 1), (2, 48), (3, 47), (33, 49), (64, 200), (66, 96), (576, 145), (31, 16), (50, 20)] {
        let w = noise(1, n * k);
        let panels = Panels::transposed(&w, n, k);
        let mut filled = Panels::default();
        filled.fill(&[3.0; 1500], 5, 300, 1.0);
        filled.fill(&transpose(n, k, &w), k, n, 1.0);
        assert_eq!(panels.pairs, filled.pairs);
        for m in rows {
            let (x, dy, rounded) = (noise(2, m * k), noise(3, m * n), &mut Rounded::default());
            let mut y = noise(4, m * n);
            let expected: Vec<f32> = y.iter().zip(reference(m, k, n, &x, &w)).map(|(a, b)| a + b).collect();
            rounded.fill(m, k, &x);
            multiply(m, &[rounded.term(&panels)], Target { data: &mut y, stride: n, accumulate: true });
            assert_close(&y, &expected, 1e-4);
            let mut dx = vec![7.0; m * k];
            rounded.fill(m, n, &dy);
            let target = Target { data: &mut dx, stride: k, accumulate: false };
            multiply_transposed(m, rounded, &panels, None, target);
            assert_close(&dx, &reference(m, n, k, &dy, &transpose(n, k, &w)), 1e-4);
        }
    }
}

#[test]
fn a_long_transpose_is_taken_in_pieces_and_ends_with_the_extra_term() {
    // The inner dimension is longer than one piece of the transpose, and odd.
    let (m, k, n, extra) = (70, 50, 4501, 6);
    let (w, dy) = (noise(1, n * k), noise(2, m * n));
    let (low, a) = (noise(3, m * extra), noise(4, extra * k));
    let panels = Panels::transposed(&w, n, k);
    let (mut rounded, mut rounded_low, mut packed) =
        (Rounded::default(), Rounded::default(), Panels::default());
    rounded.fill(m, n, &dy);
    rounded_low.fill(m, extra, &low);
    packed.fill(&a, extra, k, 1.0);
    let mut dx = noise(5, m * k);
    let mut expected = dx.clone();
    let target = Target { data: &mut dx, stride: k, accumulate: true };
    multiply_transposed(m, &rounded, &panels, Some(rounded_low.term(&packed)), target);
    let parts = [
        reference(m, n, k, &dy, &transpose(n, k, &w)),
        reference(m, extra, k, &low, &transpose(extra, k, &a)),
    ];
    for part in parts {
        expected.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    assert_close(&dx, &expected, 2e-3);
}

#[test]
fn the_portable_kernel_agrees_with_the_native_one() {
    for (m, k, n) in [(9, 37, 100), (3, 37, 192), (33, 10, 16)] {
        let (a, w) = (noise(1, m * k), noise(2, n * k));
        let panels = Panels::transposed(&w, n, k);
        let depth = k.div_ceil(2);
        let (mut portable, mut chosen) = (vec![0u32; depth], vec![0u32; depth]);
        for row in a.chunks(k) {
            portable_convert_row(row, &mut portable);
            convert_row(native(), row, &mut chosen);
            assert_eq!(portable, chosen);
        }
        let mut rounded = Rounded::default();
        rounded.fill(m, k, &a);
        let (mut c, mut d) = (vec![1.0; m * n], vec![1.0; m * n]);
        let term = rounded.term(&panels);
        multiply(m, &[term], Target { data: &mut d, stride: n, accumulate: true });
        term.portable(m, Target { data: &mut c, stride: n, accumulate: true });
        assert_close(&c, &d, 1e-5);
    }
}

#[test]
fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
    let (m, k, n) = (75, 130, 250);
    let (a, w) = (noise(1, m * k), noise(2, n * k));
    let panels = Panels::transposed(&w, n, k);
    let mut rounded = Rounded::default();
    let mut run = |rows: usize, a: &[f32]| {
        let mut c = vec![0.0; rows * n];
        rounded.fill(rows, k, a);
        multiply(rows, &[rounded.term(&panels)], Target { data: &mut c, stride: n, accumulate: false });
        c
    };
    let together = run(m, &a);
    for size in 1..20 {
        assert_eq!(run(size, &a[3 * k..][..size * k]), together[3 * n..][..size * n]);
    }
}

#[test]
fn columns_can_be_read_back() {
    for (k, n) in [(5, 50), (5, 10)] {
        let mut panels = Panels::default();
        let matrix: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
        panels.fill(&matrix, k, n, 1.0);
        let mut out = [0.0; 5];
        panels.column(n - 1, &mut out);
        assert_eq!(out.map(|x| x as usize), std::array::from_fn(|row| row * n + n - 1));
    }
}

#[test]
fn rounded_rows_can_be_read_back() {
    for (rows, k) in [(3, 7), (200, 64), (1, 1)] {
        let values = noise(1, rows * k);
        let (mut rounded, mut back) = (Rounded::default(), vec![0.0; rows * k]);
        rounded.fill(rows, k, &values);
        rounded.expand(rows, k, &mut back);
        let expected: Vec<f32> = values.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
        assert_eq!(back, expected);
    }
}

#[test]
fn sums_over_rows_match_the_scalar_reference() {
    for (rows, rank, n) in [(1, 1, 1), (2, 16, 64), (131, 3, 70), (200, 48, 33), (64, 17, 130)] {
        let (left, right) = (noise(1, rows * (rank + 2)), noise(2, rows * (n + 5)));
        let left_view = MatRef::strided(&left, rows, rank, rank + 2);
        let right_view = MatRef::strided(&right, rows, n, n + 5);
        let round = |view: MatRef<'_>, count: usize| -> Vec<f32> {
            (0..rows * count).map(|i| bf16::from_f32(view.at(i / count, i % count)).to_f32()).collect()
        };
        let (l, r) = (round(left_view, rank), round(right_view, n));
        let (l, r) = (MatRef::new(&l, rows, rank), MatRef::new(&r, rows, n));
        let mut straight = noise(3, rank * n);
        let mut expected = straight.clone();
        gemm(MatMut::new(&mut expected, rank, n), true, 0.5, l.t(), r, Threads::One);
        outer(MatMut::new(&mut straight, rank, n), Orientation::Straight, 0.5, left_view, right_view);
        assert_close(&straight, &expected, if native() { 1e-4 } else { 0.05 });
        let mut transposed = noise(3, n * rank);
        let mut expected = transposed.clone();
        gemm(MatMut::new(&mut expected, n, rank), true, 0.5, r.t(), l, Threads::One);
        outer(MatMut::new(&mut transposed, n, rank), Orientation::Transposed, 0.5, left_view, right_view);
        assert_close(&transposed, &expected, if native() { 1e-4 } else { 0.05 });
    }
}
