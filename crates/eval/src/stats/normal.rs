//! The normal distribution.

/// Standard normal distribution function: the series of Marsaglia (2004), full double precision for
/// |x| < 6.
pub fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    loop {
        odd += 2.0;
        term *= x * x / odd;
        let next = sum + term;
        if next == sum {
            return (0.5 + sum * density(x)).clamp(0.0, 1.0);
        }
        sum = next;
    }
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// Standard normal quantile. `p` is taken within 1e-12 of 0 and 1.
///
/// Newton from 0: on the upper half the distribution function is concave, so the steps rise to the
/// root from below and need no safeguard.
pub fn normal_quantile(p: f64) -> f64 {
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    let upper = p.max(1.0 - p);
    let mut x = 0.0;
    for _ in 0..100 {
        let step = (upper - normal_cdf(x)) / density(x);
        x += step;
        if step.abs() < 1e-14 {
            break;
        }
    }
    if p < 0.5 { -x } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        for (p, z) in [(0.5, 0.0), (0.8, 0.841_621_233_572_914), (0.975, 1.959_963_984_540_054)] {
            assert!((normal_quantile(p) - z).abs() < 1e-12);
            assert!((normal_quantile(1.0 - p) + z).abs() < 1e-12);
            assert!((normal_cdf(z) - p).abs() < 1e-14);
        }
        assert!((normal_cdf(-3.0) - 0.001_349_898_031_630_095).abs() < 1e-15);
        assert!(normal_quantile(0.0).is_finite() && normal_quantile(1.0).is_finite());
        assert_eq!((normal_cdf(-40.0), normal_cdf(40.0)), (0.0, 1.0));
    }
}
