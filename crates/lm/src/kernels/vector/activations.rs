//! Activations of feed-forward blocks, and their gradients.

use super::{exp, multiply_add, sigmoid, vectorised};

vectorised! {
    /// `y = silu(gate) * up`.
    fn swiglu(gate: &[f32], up: &[f32], y: &mut [f32]) {
        let n = y.len();
        let (gate, up) = (&gate[..n], &up[..n]);
        for i in 0..n {
            y[i] = gate[i] * sigmoid::<FMA>(gate[i]) * up[i];
        }
    }
}

vectorised! {
    /// Gradients of [`swiglu`] with respect to gate and up for the result's gradient `dy`.
    fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let n = dy.len();
        let (gate, up, dgate, dup) = (&gate[..n], &up[..n], &mut dgate[..n], &mut dup[..n]);
        for i in 0..n {
            let s = sigmoid::<FMA>(gate[i]);
            dgate[i] = dy[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
            dup[i] = dy[i] * gate[i] * s;
        }
    }
}

/// `1 / √(2π)`, the density of a normal distribution at 0.
const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;

/// Half of `1 + erf(x / √2)`, the share of a normal distribution below `x`, by formula 7.1.26 of
/// Abramowitz and Stegun; absolute error below 1e-6.
#[inline(always)]
fn normal_share<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add::<FMA>(z, 0.327_591_1, 1.0);
    let mut p = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = multiply_add::<FMA>(p, t, coefficient);
    }
    let tail = 0.5 * p * t * exp::<FMA>(-z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

vectorised! {
    /// `x = gelu(x)`, the exact form with the error function.
    fn gelu(x: &mut [f32]) {
        for x in x {
            *x *= normal_share::<FMA>(*x);
        }
    }
}

vectorised! {
    /// Turns the gradient `d` of [`gelu`]'s result into that of its input `x`.
    fn gelu_backward(x: &[f32], d: &mut [f32]) {
        let n = d.len();
        let x = &x[..n];
        for i in 0..n {
            let density = FRAC_1_SQRT_TAU * exp::<FMA>(-0.5 * x[i] * x[i]);
            d[i] *= multiply_add::<FMA>(x[i], density, normal_share::<FMA>(x[i]));
        }
    }
}

/// What the sigmoid is taken of in GELU's tanh approximation, `x * sigmoid(√(8/π) (x + 0.044715
/// x³))`, over `x`.
const GELU_LINEAR: f32 = 1.595_769;
const GELU_CUBIC: f32 = 0.044_715;

vectorised! {
    /// `y = gelu(gate) * up`, the activation approximated by the hyperbolic tangent (Hendrycks and
    /// Gimpel 2016).
    fn geglu(gate: &[f32], up: &[f32], y: &mut [f32]) {
        let n = y.len();
        let (gate, up) = (&gate[..n], &up[..n]);
        for i in 0..n {
            let x = gate[i];
            let share = sigmoid::<FMA>(GELU_LINEAR * x * (1.0 + GELU_CUBIC * x * x));
            y[i] = x * share * up[i];
        }
    }
}

vectorised! {
    /// Gradients of [`geglu`] with respect to gate and up for the result's gradient `dy`.
    fn geglu_backward(gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
        let n = dy.len();
        let (gate, up, dgate, dup) = (&gate[..n], &up[..n], &mut dgate[..n], &mut dup[..n]);
        for i in 0..n {
            let x = gate[i];
            let square = GELU_CUBIC * x * x;
            let share = sigmoid::<FMA>(GELU_LINEAR * x * (1.0 + square));
            let slope = GELU_LINEAR * (1.0 + 3.0 * square);
            dgate[i] = dy[i] * up[i] * share * (1.0 + x * (1.0 - share) * slope);
            dup[i] = dy[i] * x * share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::isa::on_every_isa;
    use crate::ops::testing::{assert_close, assert_gradient, noise};

    #[test]
    fn gelu_is_accurate_over_its_whole_range() {
        on_every_isa(|_| {
            // Reference values of x Φ(x) from SciPy's `norm.cdf` in f64.
            let exact = [
                (-6.0, -5.919_526e-9),
                (-3.0, -0.004_049_694),
                (-1.0, -0.158_655_25),
                (-0.1, -0.046_017_22),
                (0.0, 0.0),
                (0.5, 0.345_731_23),
                (2.0, 1.954_499_7),
                (10.0, 10.0),
            ];
            let mut values = exact.map(|(x, _)| x);
            gelu(&mut values);
            for (value, (x, expected)) in values.iter().zip(exact) {
                assert!((value - expected).abs() < 1e-6, "gelu({x}) = {value}, not {expected}");
            }
        });
    }

    #[test]
    fn gradients_of_gelu_match_differences() {
        on_every_isa(|_| {
            for n in [1, 15, 16, 17, 40] {
                let (x, dy) =
                    (noise(1, n).iter().map(|x| 3.0 * x).collect::<Vec<_>>(), noise(2, n));
                let mut d = dy.clone();
                gelu_backward(&x, &mut d);
                assert_gradient(&x, &dy, &d, 2e-3, |x, y| {
                    y.copy_from_slice(x);
                    gelu(y);
                });
            }
        });
    }

    #[test]
    fn the_gelu_gate_matches_its_formula_over_its_whole_range() {
        for n in [0, 1, 15, 16, 17, 576] {
            let gate: Vec<f32> = noise(1, n).iter().map(|x| 12.0 * x).collect();
            let up = noise(2, n);
            let expected = |(x, up): (&f32, &f32)| {
                let (x, up) = (f64::from(*x), f64::from(*up));
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                (0.5 * x * (1.0 + inner.tanh()) * up) as f32
            };
            let mut y = vec![0.0; n];
            geglu(&gate, &up, &mut y);
            assert_close(&y, &gate.iter().zip(&up).map(expected).collect::<Vec<_>>(), 2e-6);
        }
    }
}
