use super::*;
use crate::kernels::isa::on_every_isa;
use crate::kernels::{MatMut, MatRef, Threads, Write, gemm};
use crate::ops::testing::{assert_close, noise};

/// Sums in f64 of inputs rounded to bf16: what any kernel should come near. `a` is `[m, k]`, `w` is
/// `[n, k]`.
fn reference(m: usize, k: usize, n: usize, a: &[f32], w: &[f32]) -> Vec<f32> {
    let round = |x: f32| bf16::from_f32(x).to_f64();
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] =
                (0..k).map(|p| round(a[i * k + p]) * round(w[j * k + p])).sum::<f64>() as f32;
        }
    }
    c
}

fn transpose(rows: usize, columns: usize, x: &[f32]) -> Vec<f32> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}

#[test]
fn odd_shapes_match_the_scalar_reference_in_both_orientations() {
    let rows = [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 17, 64, 65, 131];
    for (k, n) in
        [(1, 1), (2, 48), (3, 47), (33, 49), (64, 200), (66, 96), (576, 145), (31, 16), (50, 20)]
    {
        let w = noise(1, n * k);
        let panels = Panels::transposed(MatRef::new(&w, n, k));
        let mut filled = Panels::default();
        filled.fill(MatRef::new(&[3.0; 1500], 5, 300), 1.0);
        filled.fill(MatRef::new(&transpose(n, k, &w), k, n), 1.0);
        assert_eq!(panels.pairs, filled.pairs);
        for m in rows {
            let (x, dy, old) = (noise(2, m * k), noise(3, m * n), noise(4, m * n));
            let expected: Vec<f32> =
                old.iter().zip(reference(m, k, n, &x, &w)).map(|(a, b)| a + b).collect();
            let expected_dx = reference(m, n, k, &dy, &transpose(n, k, &w));
            on_every_isa(|_| {
                let (mut y, mut dx, rounded) =
                    (old.clone(), vec![7.0; m * k], &mut Rounded::default());
                rounded.fill(MatRef::new(&x, m, k));
                multiply(&[rounded.term(&panels)], MatMut::new(&mut y, m, n), Write::Add);
                assert_close(&y, &expected, 1e-4);
                rounded.fill(MatRef::new(&dy, m, n));
                let target = MatMut::new(&mut dx, m, k);
                multiply_transposed(rounded, &panels, None, target, Write::Set);
                assert_close(&dx, &expected_dx, 1e-4);
            });
        }
    }
}

#[test]
fn a_long_transpose_is_taken_in_pieces_and_ends_with_the_extra_term() {
    // The inner dimension is longer than one piece of the transpose, and odd.
    let (m, k, n, extra) = (70, 50, 4501, 6);
    let (w, dy) = (noise(1, n * k), noise(2, m * n));
    let (low, a) = (noise(3, m * extra), noise(4, extra * k));
    let panels = Panels::transposed(MatRef::new(&w, n, k));
    let (mut rounded, mut rounded_low, mut packed) =
        (Rounded::default(), Rounded::default(), Panels::default());
    rounded.fill(MatRef::new(&dy, m, n));
    rounded_low.fill(MatRef::new(&low, m, extra));
    packed.fill(MatRef::new(&a, extra, k), 1.0);
    let mut dx = noise(5, m * k);
    let mut expected = dx.clone();
    let (target, term) = (MatMut::new(&mut dx, m, k), rounded_low.term(&packed));
    multiply_transposed(&rounded, &panels, Some(term), target, Write::Add);
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
fn nothing_to_sum_gives_zeros_and_no_columns_nothing() {
    on_every_isa(|_| {
        let (mut y, mut rounded) = (vec![7.0; 6], Rounded::default());
        let (mut high, mut wide) = (Panels::default(), Panels::default());
        rounded.fill(MatRef::new(&[], 2, 0));
        wide.fill(MatRef::new(&[], 0, 3), 1.0);
        multiply(&[rounded.term(&wide)], MatMut::new(&mut y, 2, 3), Write::Set);
        assert_eq!(y, [0.0; 6]);
        rounded.fill(MatRef::new(&y, 2, 3));
        high.fill(MatRef::new(&[], 3, 0), 1.0);
        multiply(&[rounded.term(&high)], MatMut::new(&mut [], 2, 0), Write::Set);
    });
}

#[test]
fn every_level_rounds_alike_and_lets_no_infinity_or_nan_vanish() {
    let mut row = noise(1, 71);
    (row[0], row[40], row[70]) = (f32::INFINITY, -0.0, 3.4e38);
    let mut expected = vec![0; 36];
    portable_convert_row(&row, &mut expected);
    on_every_isa(|isa| {
        let mut found = vec![0; 36];
        convert_row(isa, &row, &mut found);
        assert_eq!(found, expected);
    });
    let (m, k, n) = (5, 71, 50);
    let mut a = noise(2, m * k);
    (a[3], a[k + 70], a[3 * k + 35]) = (f32::INFINITY, f32::NAN, f32::NEG_INFINITY);
    let matrix: Vec<f32> = (0..k * n).map(|i| 1.0 + (i / n + i % n) as f32).collect();
    let mut panels = Panels::default();
    panels.fill(MatRef::new(&matrix, k, n), 1.0);
    on_every_isa(|_| {
        let (mut c, mut rounded) = (vec![0.0; m * n], Rounded::default());
        rounded.fill(MatRef::new(&a, m, k));
        multiply(&[rounded.term(&panels)], MatMut::new(&mut c, m, n), Write::Set);
        assert!(c[..n].iter().all(|&x| x == f32::INFINITY));
        assert!(c[n..2 * n].iter().all(|x| x.is_nan()));
        assert!(c[3 * n..4 * n].iter().all(|&x| x == f32::NEG_INFINITY));
        assert!(c[2 * n..3 * n].iter().chain(&c[4 * n..]).all(|x| x.is_finite()));
    });
}

#[test]
fn a_row_gets_the_same_bits_alone_and_in_a_batch() {
    let (m, k, n) = (75, 130, 250);
    let (a, w) = (noise(1, m * k), noise(2, n * k));
    let panels = Panels::transposed(MatRef::new(&w, n, k));
    let run = |rows: usize, a: &[f32]| {
        let (mut c, mut rounded) = (vec![0.0; rows * n], Rounded::default());
        rounded.fill(MatRef::new(a, rows, k));
        multiply(&[rounded.term(&panels)], MatMut::new(&mut c, rows, n), Write::Set);
        c
    };
    on_every_isa(|_| {
        let together = run(m, &a);
        for size in 1..20 {
            assert_eq!(run(size, &a[3 * k..][..size * k]), together[3 * n..][..size * n]);
        }
    });
}

#[test]
fn columns_can_be_read_back() {
    for (k, n) in [(5, 50), (5, 10)] {
        let mut panels = Panels::default();
        let matrix: Vec<f32> = (0..k * n).map(|i| i as f32).collect();
        panels.fill(MatRef::new(&matrix, k, n), 1.0);
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
        rounded.fill(MatRef::new(&values, rows, k));
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
            (0..rows * count)
                .map(|i| bf16::from_f32(view.at(i / count, i % count)).to_f32())
                .collect()
        };
        let (l, r) = (round(left_view, rank), round(right_view, n));
        let (l, r) = (MatRef::new(&l, rows, rank), MatRef::new(&r, rows, n));
        let (old, old_transposed) = (noise(3, rank * n), noise(3, n * rank));
        let (mut expected, mut expected_transposed) = (old.clone(), old_transposed.clone());
        let product = l.t().times(r).scaled(0.5);
        gemm(MatMut::new(&mut expected, rank, n), Write::Add, product, Threads::One);
        let (product, target) =
            (r.t().times(l).scaled(0.5), MatMut::new(&mut expected_transposed, n, rank));
        gemm(target, Write::Add, product, Threads::One);
        on_every_isa(|isa| {
            // Only where bf16 is multiplied are the factors rounded.
            let tolerance = if isa >= Isa::Avx512Bf16 { 1e-4 } else { 0.05 };
            let (mut straight, mut transposed) = (old.clone(), old_transposed.clone());
            outer(
                MatMut::new(&mut straight, rank, n),
                Orientation::Straight,
                0.5,
                left_view,
                right_view,
            );
            assert_close(&straight, &expected, tolerance);
            outer(
                MatMut::new(&mut transposed, n, rank),
                Orientation::Transposed,
                0.5,
                left_view,
                right_view,
            );
            assert_close(&transposed, &expected_transposed, tolerance);
        });
    }
}
