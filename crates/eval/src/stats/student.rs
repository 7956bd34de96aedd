//! Student's t distribution, for any positive real degrees of freedom.

use super::normal_quantile;

/// Beyond this many degrees Student's distribution is the normal one to ten digits.
const NORMAL_FROM: f64 = 1e8;

/// Chance that Student's t with `degrees` > 0 of freedom lies below `t`.
pub fn student_cdf(t: f64, degrees: f64) -> f64 {
    let degrees = degrees.min(NORMAL_FROM);
    let tail = 0.5 * incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The value below which Student's t with `degrees` > 0 of freedom lies with probability `p`, which
/// is taken within 1e-12 of 0 and 1. Newton's method on [`student_cdf`], kept between bounds that
/// close in, so that it cannot run away where the tails are heavy.
pub fn student_quantile(p: f64, degrees: f64) -> f64 {
    let degrees = degrees.min(NORMAL_FROM);
    let upper = p.clamp(1e-12, 1.0 - 1e-12).max(1.0 - p.clamp(1e-12, 1.0 - 1e-12));
    if upper <= 0.5 {
        return 0.0;
    }
    // The normal quantile is never too large.
    let (mut low, mut high) = (normal_quantile(upper), f64::INFINITY);
    let mut t = low;
    for _ in 0..200 {
        let excess = student_cdf(t, degrees) - upper;
        if excess > 0.0 {
            high = t
        } else {
            low = t
        }
        let step = t - excess / density(t, degrees);
        let next = match (step > low && step < high, high.is_finite()) {
            (true, _) => step,
            (false, true) => 0.5 * (low + high),
            (false, false) => 2.0 * t.max(0.5),
        };
        if (next - t).abs() <= 1e-13 * next.abs() {
            break;
        }
        t = next;
    }
    if p < 0.5 { -t } else { t }
}

fn density(t: f64, degrees: f64) -> f64 {
    let log = ln_gamma(0.5 * (degrees + 1.0))
        - ln_gamma(0.5 * degrees)
        - 0.5 * (degrees * std::f64::consts::PI).ln()
        - 0.5 * (degrees + 1.0) * (t * t / degrees).ln_1p();
    log.exp()
}

/// The regularised incomplete beta function `I_x(a, b)`, by its continued fraction in the form of
/// Lentz (Press et al., Numerical Recipes, section 6.4).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let log_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    // The fraction converges fast only on its own side of the distribution's bulk.
    if x < (a + 1.0) / (a + b + 2.0) {
        log_front.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - log_front.exp() * beta_fraction(b, a, 1.0 - x) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let bounded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / bounded(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / bounded(1.0 + term * d);
            c = bounded(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// Natural logarithm of the gamma function for `x` > 0: Stirling's series after shifting the
/// argument to 10 and above.
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0
        - inverse
            * (1.0 / 360.0
                - inverse * (1.0 / 1260.0 - inverse * (1.0 / 1680.0 - inverse / 1188.0))))
        / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_as_scipy_gives_them() {
        // scipy.stats.t.ppf(p, degrees)
        for (p, degrees, t) in QUANTILES {
            let found = student_quantile(p, degrees);
            assert!((found / t - 1.0).abs() < 1e-8, "{p} {degrees}: {found} against {t}");
            assert!((student_quantile(1.0 - p, degrees) + t).abs() < 1e-8 * t.abs());
            assert!((student_cdf(t, degrees) - p).abs() < 1e-10);
        }
    }

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(student_cdf(0.0, 3.0), 0.5);
        assert!(student_quantile(0.5, 3.0).abs() < 1e-9);
        assert!(student_quantile(1.0, 1.0).is_finite());
        assert!((student_quantile(0.975, 1e12) - 1.959_963_984_540_054).abs() < 1e-7);
    }

    const QUANTILES: [(f64, f64, f64); 45] = [
        (0.6, 1.0, 0.324919696232906),
        (0.6, 1.5, 0.300745392569795),
        (0.6, 2.0, 0.288675134594813),
        (0.6, 3.7, 0.27216446429207),
        (0.6, 4.0, 0.270722294707598),
        (0.6, 9.0, 0.260955336473911),
        (0.6, 29.5, 0.255643833244156),
        (0.6, 199.0, 0.253686075381772),
        (0.6, 5000.0, 0.253360583969232),
        (0.9, 1.0, 3.07768353717525),
        (0.9, 1.5, 2.19639841756554),
        (0.9, 2.0, 1.88561808316413),
        (0.9, 3.7, 1.55756583886151),
        (0.9, 4.0, 1.53320627405894),
        (0.9, 9.0, 1.38302873839663),
        (0.9, 29.5, 1.31091550663397),
        (0.9, 199.0, 1.28582020925941),
        (0.9, 5000.0, 1.28172090533572),
        (0.975, 1.0, 12.7062047361747),
        (0.975, 1.5, 6.01666310442793),
        (0.975, 2.0, 4.30265272974946),
        (0.975, 3.7, 2.86752070719119),
        (0.975, 4.0, 2.77644510519779),
        (0.975, 9.0, 2.2621571627982),
        (0.975, 29.5, 2.04372496677212),
        (0.975, 199.0, 1.97195654425175),
        (0.975, 5000.0, 1.96043855170651),
        (0.995, 1.0, 63.6567411628715),
        (0.995, 1.5, 17.8203105144628),
        (0.995, 2.0, 9.92484320091829),
        (0.995, 3.7, 4.86925225322783),
        (0.995, 4.0, 4.60409487134999),
        (0.995, 9.0, 3.24983554159213),
        (0.995, 29.5, 2.75313327025632),
        (0.995, 199.0, 2.60076021605852),
        (0.995, 5000.0, 2.57681296655628),
        (0.9995, 1.0, 636.61924876879),
        (0.9995, 1.5, 82.8474467036637),
        (0.9995, 2.0, 31.5990545764454),
        (0.9995, 3.7, 9.47424013712466),
        (0.9995, 4.0, 8.61030158137952),
        (0.9995, 9.0, 4.78091258593122),
        (0.9995, 29.5, 3.65255726755873),
        (0.9995, 199.0, 3.34008655616146),
        (0.9995, 5000.0, 3.29247372337088),
    ];
}
