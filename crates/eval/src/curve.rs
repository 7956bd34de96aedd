//! Learning curves: does more training data still help, and how much would it help?

use serde::{Deserialize, Serialize};

use crate::Interval;
use crate::stats::Random;

/// One point of a learning curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Training pairs used.
    pub examples: usize,
    /// Score reached, 0..1.
    pub score: f64,
    /// Standard error of that score.
    pub standard_error: f64,
}

/// A fitted learning curve `score(n) = ceiling - a n^-b` and what it foresees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// The measured points, by number of examples.
    pub points: Vec<CurvePoint>,
    /// Score with unlimited data.
    pub ceiling: f64,
    /// Scale `a >= 0`.
    pub scale: f64,
    /// Exponent `b > 0`.
    pub exponent: f64,
    /// Foreseen gain (0..1) from twice the data.
    pub gain_of_doubling: Interval,
    /// Foreseen score at 2, 4 and 8 times the data: (examples, score).
    pub forecast: Vec<(usize, Interval)>,
}

/// Exponents tried. Three or four noisy points support no finer grid.
const EXPONENTS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3, 1.6];

/// Standard errors are taken to be at least this, so that a point on which every answer is right
/// does not get infinite weight.
const LEAST_STANDARD_ERROR: f64 = 0.005;
/// Sizes of the training set that a fit needs: it has three parameters.
const LEAST_SIZES: usize = 3;

/// A fit: ceiling, scale, exponent.
#[derive(Clone, Copy)]
struct Fit {
    ceiling: f64,
    scale: f64,
    exponent: f64,
}

impl Fit {
    fn at(&self, examples: f64) -> f64 {
        (self.ceiling - self.scale * examples.powf(-self.exponent)).clamp(0.0, 1.0)
    }
}

impl LearningCurve {
    /// Fits an inverse power law (Hestness et al. 2017; Viering and Loog 2022 find no family
    /// reliably better) to three points or more at different sizes; `None` with fewer.
    ///
    /// For each exponent of a coarse grid, ceiling (at most 1) and scale (at least 0: more data
    /// never hurts) follow by weighted least squares, with the inverse squared standard errors as
    /// weights. The exponent with the smallest residual is kept. The intervals come from
    /// `resamples` refits to points redrawn from normal distributions around the measured ones.
    pub fn fit(points: &[CurvePoint], alpha: f64, resamples: usize, seed: u64) -> Option<Self> {
        let mut points: Vec<CurvePoint> = points
            .iter()
            .copied()
            .filter(|p| p.examples > 0 && p.score.is_finite() && p.standard_error.is_finite())
            .collect();
        points.sort_by_key(|point| point.examples);
        let mut sizes: Vec<usize> = points.iter().map(|point| point.examples).collect();
        sizes.dedup();
        if sizes.len() < LEAST_SIZES {
            return None;
        }
        let largest = sizes[sizes.len() - 1];
        let scores: Vec<f64> = points.iter().map(|point| point.score).collect();
        let best = fit(&points, &scores);

        let mut random = Random::new(seed);
        let refits: Vec<Fit> = (0..resamples.max(1))
            .map(|_| {
                let redrawn: Vec<f64> = points
                    .iter()
                    .map(|p| (p.score + p.standard_error * random.normal()).clamp(0.0, 1.0))
                    .collect();
                fit(&points, &redrawn)
            })
            .collect();
        let interval = |value: &dyn Fn(&Fit) -> f64| {
            let mut values: Vec<f64> = refits.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let at = |p: f64| values[(p * (values.len() - 1) as f64).round() as usize];
            let estimate = value(&best);
            Interval {
                estimate,
                lower: at(alpha / 2.0).min(estimate),
                upper: at(1.0 - alpha / 2.0).max(estimate),
            }
        };
        let n = largest as f64;
        Some(Self {
            ceiling: best.ceiling,
            scale: best.scale,
            exponent: best.exponent,
            gain_of_doubling: interval(&|fit| fit.at(2.0 * n) - fit.at(n)),
            forecast: [2, 4, 8]
                .map(|k| (k * largest, interval(&|fit| fit.at(k as f64 * n))))
                .to_vec(),
            points,
        })
    }

    /// Whether more pairs are expected to help: doubling them gains at least `margin`, and the
    /// lower bound of the gain is above 0.
    pub fn still_rises(&self, margin: f64) -> bool {
        self.gain_of_doubling.lower > 0.0 && self.gain_of_doubling.estimate >= margin
    }

    /// The fitted score at a number of examples, for drawing.
    pub fn at(&self, examples: f64) -> f64 {
        Fit { ceiling: self.ceiling, scale: self.scale, exponent: self.exponent }.at(examples)
    }
}

fn fit(points: &[CurvePoint], scores: &[f64]) -> Fit {
    let fits = EXPONENTS.map(|exponent| fit_with(exponent, points, scores));
    let mut best = fits[0];
    for candidate in &fits[1..] {
        if candidate.1 < best.1 {
            best = *candidate;
        }
    }
    best.0
}

/// Weighted least squares of `score = ceiling - scale x` with `x = n^-exponent`, within the bounds;
/// and its residual.
fn fit_with(exponent: f64, points: &[CurvePoint], scores: &[f64]) -> (Fit, f64) {
    let weight = |point: &CurvePoint| 1.0 / point.standard_error.max(LEAST_STANDARD_ERROR).powi(2);
    let rows: Vec<(f64, f64, f64)> = points
        .iter()
        .zip(scores)
        .map(|(point, score)| (weight(point), (point.examples as f64).powf(-exponent), *score))
        .collect();
    let sum = |f: &dyn Fn(&(f64, f64, f64)) -> f64| rows.iter().map(f).sum::<f64>();
    let total = sum(&|(w, _, _)| *w);
    let (mean_x, mean_y) = (sum(&|(w, x, _)| w * x) / total, sum(&|(w, _, y)| w * y) / total);
    let covariance = sum(&|(w, x, y)| w * (x - mean_x) * (y - mean_y));
    let variance = sum(&|(w, x, _)| w * (x - mean_x).powi(2));
    let mut scale = (-covariance / variance).max(0.0);
    let mut ceiling = mean_y + scale * mean_x;
    if ceiling > 1.0 {
        // On the bound: ceiling 1, scale by regression through that point.
        ceiling = 1.0;
        scale = (sum(&|(w, x, y)| w * x * (1.0 - y)) / sum(&|(w, x, _)| w * x * x)).max(0.0);
    }
    let residual = sum(&|(w, x, y)| w * (y - ceiling + scale * x).powi(2));
    (Fit { ceiling, scale, exponent }, residual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(sizes: &[usize], standard_error: f64, curve: impl Fn(f64) -> f64) -> Vec<CurvePoint> {
        sizes
            .iter()
            .map(|&examples| CurvePoint { examples, score: curve(examples as f64), standard_error })
            .collect()
    }

    #[test]
    fn a_known_curve_is_found_and_continued() {
        let truth = |n: f64| 0.9 - 2.0 * n.powf(-0.5);
        let curve =
            LearningCurve::fit(&points(&[50, 100, 200, 400], 0.01, truth), 0.05, 500, 1).unwrap();
        assert_eq!(curve.exponent, 0.5);
        assert!((curve.ceiling - 0.9).abs() < 1e-9 && (curve.scale - 2.0).abs() < 1e-9);
        for (examples, score) in &curve.forecast {
            assert!(
                (score.estimate - truth(*examples as f64)).abs() < 1e-9
                    && score.contains(score.estimate)
            );
        }
        assert!((curve.gain_of_doubling.estimate - (truth(800.0) - truth(400.0))).abs() < 1e-9);
    }

    #[test]
    fn rising_and_flat_are_told_apart() {
        let sizes = [100, 200, 400, 800];
        let rising = points(&sizes, 0.01, |n| 0.2 + 0.1 * (n / 100.0).log2());
        assert!(LearningCurve::fit(&rising, 0.05, 500, 1).unwrap().still_rises(0.05));
        let flat = points(&sizes, 0.02, |_| 0.6);
        let flat = LearningCurve::fit(&flat, 0.05, 500, 1).unwrap();
        assert!(!flat.still_rises(0.01) && flat.gain_of_doubling.lower == 0.0);
    }

    #[test]
    fn noise_widens_the_forecast() {
        let truth = |n: f64| 0.9 - 2.0 * n.powf(-0.5);
        let width = |standard_error| {
            let curve = LearningCurve::fit(
                &points(&[50, 100, 200, 400], standard_error, truth),
                0.05,
                500,
                1,
            );
            let interval = curve.unwrap().forecast[2].1;
            interval.upper - interval.lower
        };
        assert!(width(0.05) > 2.0 * width(0.01));
    }

    #[test]
    fn forecasts_stay_scores_and_too_few_points_give_none() {
        let steep = points(&[10, 20, 40], 0.1, |n| (n / 40.0).min(1.0));
        let curve = LearningCurve::fit(&steep, 0.05, 200, 1).unwrap();
        assert!(curve.forecast.iter().all(|(_, s)| s.lower >= 0.0 && s.upper <= 1.0));
        assert!(LearningCurve::fit(&points(&[10, 20], 0.1, |_| 0.5), 0.05, 200, 1).is_none());
        assert!(LearningCurve::fit(&points(&[10, 10, 20], 0.1, |_| 0.5), 0.05, 200, 1).is_none());
    }
}
