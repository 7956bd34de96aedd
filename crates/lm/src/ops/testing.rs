//! What the tests of the operators share.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `n` seeded numbers, uniform in -1..1.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.next_u32() as f32 / (1u64 << 31) as f32 - 1.0).collect()
}

/// Asserts that `a` and `b` differ by at most `tolerance`, relative to numbers above 1.
#[track_caller]
pub(crate) fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len(), "lengths differ");
    for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
        let bound = tolerance * x.abs().max(y.abs()).max(1.0);
        assert!((x - y).abs() <= bound, "at {i}: {x} and {y} differ by more than {bound}");
    }
}

/// Derivative of `f` with respect to `x[at]`, by central differences of step `h`.
pub(crate) fn slope(x: &mut [f32], at: usize, h: f32, mut f: impl FnMut(&[f32]) -> f64) -> f64 {
    let old = x[at];
    x[at] = old + h;
    let (high, up) = (f64::from(x[at]), f(x));
    x[at] = old - h;
    let (low, down) = (f64::from(x[at]), f(x));
    x[at] = old;
    (up - down) / (high - low)
}

/// Asserts that `dx` is the gradient of `sum(f(x) * dy)`, by central differences at some thirty
/// elements.
#[track_caller]
pub(crate) fn assert_gradient(
    x: &[f32],
    dy: &[f32],
    dx: &[f32],
    tolerance: f64,
    mut f: impl FnMut(&[f32], &mut [f32]),
) {
    let (mut x, mut y) = (x.to_vec(), vec![0.0; dy.len()]);
    assert_eq!(x.len(), dx.len());
    for at in (0..x.len()).step_by(x.len().div_ceil(30)) {
        let expected = slope(&mut x, at, 1e-2, |x| {
            f(x, &mut y);
            y.iter().zip(dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
        });
        let found = f64::from(dx[at]);
        let bound = tolerance * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= bound,
            "at {at}: gradient {found}, differences {expected}"
        );
    }
}
