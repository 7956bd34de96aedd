//! Loops over single rows, compiled once for each vector width and chosen at run time.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
use super::Isa;
use super::{MatRef, Write};

pub(crate) use activations::{geglu, geglu_backward, gelu, gelu_backward, swiglu, swiglu_backward};

/// Compiles one body for AVX-512, for AVX2 with FMA, and for the target's baseline, and picks at
/// run time. Inside the body `FMA` tells whether [`multiply_add`] may fuse (a function call where
/// the processor cannot).
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }

                match $crate::Isa::current() {
                    $crate::Isa::Portable => {}
                    // SAFETY: a level is only chosen on a processor that has its instructions.
                    $crate::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    _ => return unsafe { avx512($($arg),*) },
                }
            }
            body::<false>($($arg),*)
        }
    };
}

pub(super) use vectorised;

/// `a * b + c`.
#[inline(always)]
pub(super) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` by range reduction and a polynomial (the coefficients of Cephes' `expf`); relative error
/// below 3e-7, clamped to finite results. Branch-free, so that loops over it become vector code.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    let rounder = 12_582_912.0;
    let rounded = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, rounder);
    let n = rounded - rounder;
    // ln 2 in two parts, so that the reduced argument keeps its low bits.
    let r = multiply_add::<FMA>(n, 2.121_944_4e-4, multiply_add::<FMA>(n, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = multiply_add::<FMA>(p, r, coefficient);
    }
    let fraction = multiply_add::<FMA>(p, r * r, r) + 1.0;
    // The low bits of `rounded` are those of the integer `n`; the shift makes them the exponent of
    // 2ⁿ.
    fraction * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Sum of `term(i)` over `0..n` in sixteen interleaved partial sums: one order, whatever the vector
/// width.
#[inline(always)]
fn sum(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut partial = [0f32; 16];
    let whole = n - n % 16;
    for i in (0..whole).step_by(16) {
        for (lane, p) in partial.iter_mut().enumerate() {
            *p += term(i + lane);
        }
    }
    for (lane, i) in (whole..n).enumerate() {
        partial[lane] += term(i);
    }
    partial.iter().sum()
}

/// What `join` makes of sixteen lanes, halves joined with halves.
#[inline(always)]
pub(super) fn fold(lanes: [f32; 16], join: impl Fn(f32, f32) -> f32) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| join(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| join(eight[i], eight[i + 4]));
    join(join(four[0], four[2]), join(four[1], four[3]))
}

/// Inner product in sixteen interleaved partial sums: one order, whatever the vector width.
#[inline(always)]
fn inner<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut partial = [0f32; 16];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..16 {
            partial[lane] = multiply_add::<FMA>(a[lane], b[lane], partial[lane]);
        }
    }
    for (p, (a, b)) in partial.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *p = multiply_add::<FMA>(*a, *b, *p);
    }
    fold(partial, |a, b| a + b)
}

vectorised! {
    /// `y += x`.
    fn add(y: &mut [f32], x: &[f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

vectorised! {
    /// `x *= factor`.
    fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

vectorised! {
    /// Inner product of two rows of equal length.
    fn dot(a: &[f32], b: &[f32]) -> f32 {
        inner::<FMA>(a, b)
    }
}

/// `y[j] = factor * (row j of the matrix · x)`, or `y[j] += …`. For one row of activations this
/// beats a general product, which would first rearrange the matrix.
pub(crate) fn dots(matrix: MatRef<'_>, x: &[f32], factor: f32, y: &mut [f32], write: Write) {
    let whole = (matrix.rows(), matrix.columns()) == (y.len(), x.len()) && matrix.is_row_major();
    assert!(whole, "{} numbers to {}", x.len(), y.len());
    #[cfg(target_arch = "x86_64")]
    if Isa::current() >= Isa::Avx512 {
        // SAFETY: the processor has the features of its level; the shapes agree (asserted).
        return unsafe { avx512::dots(matrix, x, factor, y, write) };
    }
    dots_in_turn(matrix, x, factor, y, write);
}

vectorised! {
    /// [`dots`], row by row.
    fn dots_in_turn(matrix: MatRef<'_>, x: &[f32], factor: f32, y: &mut [f32], write: Write) {
        for (j, y) in y.iter_mut().enumerate() {
            *y = write.over(*y, factor * inner::<FMA>(matrix.row(j), x));
        }
    }
}

/// `y += sum over j of weights[j] * row j of the matrix`.
pub(crate) fn weighted_sum(matrix: MatRef<'_>, weights: &[f32], y: &mut [f32]) {
    let shape = (matrix.rows(), matrix.columns());
    assert!(shape == (weights.len(), y.len()) && matrix.is_row_major(), "{shape:?} rows");
    #[cfg(target_arch = "x86_64")]
    if Isa::current() >= Isa::Avx512 {
        // SAFETY: the processor has the features of its level; the shapes agree (asserted).
        return unsafe { avx512::weighted_sum(matrix, weights, y) };
    }
    weighted_sum_in_turn(matrix, weights, y);
}

vectorised! {
    /// [`weighted_sum`], with the sums in memory.
    fn weighted_sum_in_turn(matrix: MatRef<'_>, weights: &[f32], y: &mut [f32]) {
        for (j, &weight) in weights.iter().enumerate() {
            for (y, &x) in y.iter_mut().zip(matrix.row(j)) {
                *y = multiply_add::<FMA>(weight, x, *y);
            }
        }
    }
}

vectorised! {
    /// Largest element; negative infinity for none.
    fn max(x: &[f32]) -> f32 {
        let mut largest = [f32::NEG_INFINITY; 16];
        let (blocks, rest) = x.as_chunks::<16>();
        for block in blocks {
            for (l, &v) in largest.iter_mut().zip(block) {
                *l = if v > *l { v } else { *l };
            }
        }
        rest.iter().chain(&largest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
    }
}

vectorised! {
    /// `x = exp(x - shift)`; returns the sum of the results.
    fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
        let mut partial = [0f32; 16];
        let (blocks, rest) = x.as_chunks_mut::<16>();
        for block in blocks {
            for (p, v) in partial.iter_mut().zip(block) {
                *v = exp::<FMA>(*v - shift);
                *p += *v;
            }
        }
        for (p, v) in partial.iter_mut().zip(rest) {
            *v = exp::<FMA>(*v - shift);
            *p += *v;
        }
        partial.iter().sum()
    }
}

vectorised! {
    /// Turns scores into probabilities `p = exp(s - lse)`, and the gradient `dp` of the
    /// probabilities into that of the scores, `p * (dp - mean) * factor`, where `mean` is the sum
    /// of `p * dp` over the row.
    fn softmax_backward_row(scores: &mut [f32], dp: &mut [f32], lse: f32, mean: f32, factor: f32) {
        for (s, d) in scores.iter_mut().zip(dp) {
            let p = exp::<FMA>(*s - lse);
            *s = p;
            *d = p * (*d - mean) * factor;
        }
    }
}

vectorised! {
    /// `y = x * weight / rms(x)`; returns `1 / rms(x)`.
    fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) -> f32 {
        let n = x.len();
        let (weight, y) = (&weight[..n], &mut y[..n]);
        let inverse = 1.0 / (inner::<FMA>(x, x) / n as f32 + eps).sqrt();
        for i in 0..n {
            y[i] = x[i] * inverse * weight[i];
        }
        inverse
    }
}

vectorised! {
    /// Adds to `dx` the gradient of [`rms_norm_row`] for the result's gradient `dy`.
    fn rms_norm_backward_row(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
        let n = x.len();
        let (weight, dy, dx) = (&weight[..n], &dy[..n], &mut dx[..n]);
        let inverse = 1.0 / (inner::<FMA>(x, x) / n as f32 + eps).sqrt();
        let along = sum(n, |i| weight[i] * dy[i] * x[i]) * inverse * inverse * inverse / n as f32;
        for i in 0..n {
            dx[i] += inverse * weight[i] * dy[i] - along * x[i];
        }
    }
}

/// Gradients of the weight and the bias of a layer norm, which are added to.
pub(crate) struct NormGradients<'a> {
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

vectorised! {
    /// Turns the gradient `d` of [`layer_norm_row`]'s result into that of the row `x` before it.
    fn layer_norm_backward_row(
        x: &[f32],
        weight: &[f32],
        eps: f32,
        d: &mut [f32],
        gradients: NormGradients<'_>,
    ) {
        let n = x.len();
        let (weight, d) = (&weight[..n], &mut d[..n]);
        let (d_weight, d_bias) = (&mut gradients.weight[..n], &mut gradients.bias[..n]);
        let mean = sum(n, |i| x[i]) / n as f32;
        let variance = sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32;
        let inverse = 1.0 / (variance + eps).sqrt();
        let level = sum(n, |i| d[i] * weight[i]) / n as f32;
        let along = sum(n, |i| d[i] * weight[i] * (x[i] - mean)) * inverse / n as f32;
        for i in 0..n {
            let normal = (x[i] - mean) * inverse;
            let dy = d[i];
            d[i] = inverse * (dy * weight[i] - level - along * normal);
            d_weight[i] += dy * normal;
            d_bias[i] += dy;
        }
    }
}

vectorised! {
    /// `x = (x - mean) / deviation * weight + bias` over the row, in place.
    fn layer_norm_row(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let n = x.len();
        let (weight, bias) = (&weight[..n], &bias[..n]);
        let mean = sum(n, |i| x[i]) / n as f32;
        let variance = sum(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32;
        let inverse = 1.0 / (variance + eps).sqrt();
        for i in 0..n {
            x[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
        }
    }
}

vectorised! {
    /// Rotates the pairs `(head[i], head[i + half])` of one head by the angles given as cosines and
    /// sines, or by their opposites when `direction` is -1 instead of 1.
    fn rotate(head: &mut [f32], cosines: &[f32], sines: &[f32], direction: f32) {
        let half = head.len() / 2;
        let (cosines, sines) = (&cosines[..half], &sines[..half]);
        let (first, second) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (first[i], second[i]);
            let sine = direction * sines[i];
            first[i] = a * cosines[i] - b * sine;
            second[i] = b * cosines[i] + a * sine;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::on_every_isa;
    use super::*;
    use crate::ops::testing::{assert_close, assert_gradient, noise};

    #[test]
    fn folded_products_have_the_bits_of_those_taken_in_turn() {
        on_every_isa(|_| {
            for width in [1, 15, 16, 17, 64, 80, 130] {
                for rows in [0, 1, 5, 16, 17, 40] {
                    let (stride, x) = (width + 3, noise(2, width));
                    let (matrix, weights) = (noise(1, rows * stride + width), noise(3, rows));
                    let matrix = MatRef::strided(&matrix, rows, width, stride);
                    for write in [Write::Set, Write::Add] {
                        let (mut folded, mut in_turn) = (noise(4, rows), noise(4, rows));
                        dots(matrix, &x, 0.3, &mut folded, write);
                        dots_in_turn(matrix, &x, 0.3, &mut in_turn, write);
                        assert_eq!(folded, in_turn, "{rows}x{width}");
                    }
                    let (mut registers, mut memory) = (x.clone(), x.clone());
                    weighted_sum(matrix, &weights, &mut registers);
                    weighted_sum_in_turn(matrix, &weights, &mut memory);
                    assert_eq!(registers, memory, "{rows}x{width}");
                }
            }
        });
    }

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0 + 0.003;
            let exact = f64::from(x).exp();
            for value in [exp::<true>(x), exp::<false>(x)] {
                assert!(
                    (f64::from(value) / exact - 1.0).abs() < 3e-7,
                    "exp({x}) = {value}, not {exact}"
                );
            }
        }
        assert!(exp::<true>(-1000.0) < 1e-37 && exp::<true>(1000.0).is_finite());
    }

    #[test]
    fn gradients_of_layer_norm_match_differences() {
        on_every_isa(|_| {
            for n in [1, 15, 16, 17, 40] {
                let (x, dy) =
                    (noise(1, n).iter().map(|x| 3.0 * x).collect::<Vec<_>>(), noise(2, n));
                let (weight, bias) = (noise(3, n), noise(4, n));
                let (mut dx, mut d_weight, mut d_bias) = (dy.clone(), vec![0.0; n], vec![0.0; n]);
                let gradients = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
                layer_norm_backward_row(&x, &weight, 0.1, &mut dx, gradients);
                let norm = |x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]| {
                    y.copy_from_slice(x);
                    layer_norm_row(y, weight, bias, 0.1);
                };
                assert_gradient(&x, &dy, &dx, 2e-3, |x, y| norm(x, &weight, &bias, y));
                assert_gradient(&weight, &dy, &d_weight, 2e-3, |weight, y| {
                    norm(&x, weight, &bias, y)
                });
                assert_gradient(&bias, &dy, &d_bias, 2e-3, |bias, y| norm(&x, &weight, bias, y));
            }
        });
    }

    #[test]
    fn layer_norm_matches_the_scalar_reference() {
        on_every_isa(|_| {
            for n in [1, 15, 16, 17, 384] {
                let (x, weight, bias) = (noise(1, n), noise(2, n), noise(3, n));
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
                let variance =
                    x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n as f64;
                let expected = |i: usize| {
                    ((f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(weight[i])
                        + f64::from(bias[i])) as f32
                };
                let expected: Vec<f32> = (0..n).map(expected).collect();
                let mut found = x.clone();
                layer_norm_row(&mut found, &weight, &bias, 1e-5);
                assert_close(&found, &expected, 1e-5);
            }
        });
    }

    #[test]
    fn rows_of_every_length_match_the_scalar_reference() {
        on_every_isa(|_| {
            for n in [0, 1, 2, 15, 16, 17, 40, 576] {
                let (a, b) = (noise(1, n), noise(2, n));
                let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4);
                // Three rows of `a` and a gap after each.
                let matrix = [&a[..], &[9.0; 5], &b, &[9.0; 5], &a].concat();
                let (matrix, mut y) = (MatRef::strided(&matrix, 3, n, n + 5), [1.0; 3]);
                dots(matrix, &b, 0.5, &mut y, Write::Add);
                assert_close(&y, &[1.0 + 0.5 * dot(&a, &b), 1.0 + 0.5 * dot(&b, &b), y[0]], 1e-6);
                let mut y = b.clone();
                weighted_sum(matrix, &[1.0, 1.0, 3.0], &mut y);
                assert_close(
                    &y,
                    &a.iter().zip(&b).map(|(a, b)| 4.0 * a + 2.0 * b).collect::<Vec<_>>(),
                    1e-5,
                );
                assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                let mut e = a.clone();
                let total = exp_shifted(&mut e, 0.25);
                let expected: Vec<f32> = a.iter().map(|x| (x - 0.25).exp()).collect();
                assert_close(&e, &expected, 1e-6);
                assert!((total - expected.iter().sum::<f32>()).abs() <= 1e-5 * n as f32);
                let mut y = a.clone();
                add(&mut y, &b);
                scale(&mut y, 2.0);
                assert_close(
                    &y,
                    &a.iter().zip(&b).map(|(a, b)| 2.0 * (a + b)).collect::<Vec<_>>(),
                    1e-6,
                );
                let mut y = vec![0.0; n];
                swiglu(&a, &b, &mut y);
                assert_close(
                    &y,
                    &a.iter().zip(&b).map(|(a, b)| a / (1.0 + (-a).exp()) * b).collect::<Vec<_>>(),
                    1e-6,
                );
            }
        });
    }

    /// Every row operation on one set of numbers, tails included: the classes of the results, not
    /// their bits.
    fn classes(x: &[f32], factor: f32) -> Vec<[bool; 3]> {
        let n = x.len();
        let other = noise(7, n);
        let mut results = vec![dot(x, &other), max(x)];
        let mut y = vec![0.0; 4];
        let four = [x, &other, x, &other].concat();
        dots(MatRef::new(&four, 4, n), &other, factor, &mut y, Write::Set);
        results.append(&mut y);
        let mut y = other.clone();
        weighted_sum(MatRef::new(&four, 2, n), &[0.5, factor], &mut y);
        results.append(&mut y);
        let mut y = x.to_vec();
        results.push(exp_shifted(&mut y, 1.0));
        results.append(&mut y);
        for operation in [swiglu, |a: &[f32], b: &[f32], y: &mut [f32]| {
            rms_norm_row(a, b, 1e-5, y);
        }] {
            let mut y = vec![0.0; n];
            operation(x, &other, &mut y);
            results.append(&mut y);
        }
        let mut y = x.to_vec();
        gelu(&mut y);
        results.append(&mut y);
        let mut y = x.to_vec();
        layer_norm_row(&mut y, &other, &other, 1e-5);
        results.append(&mut y);
        results.iter().map(|y| [y.is_nan(), *y == f32::INFINITY, *y == f32::NEG_INFINITY]).collect()
    }

    #[test]
    fn infinities_and_nans_come_out_alike_on_every_level() {
        for n in [1, 9, 16, 37, 80] {
            for (special, factor) in
                [(f32::NAN, 0.3), (f32::INFINITY, 0.3), (f32::NEG_INFINITY, 1.0), (1e38, f32::NAN)]
            {
                for at in [0, n / 2, n - 1] {
                    let mut x = noise(1, n);
                    x[at] = special;
                    let first = std::cell::OnceCell::new();
                    on_every_isa(|isa| {
                        let found = classes(&x, factor);
                        assert_eq!(
                            &found,
                            first.get_or_init(|| found.clone()),
                            "{isa}: {special} of {n}"
                        );
                    });
                }
            }
        }
    }
}
