use eval::LearningCurve;
use eval::figures::{count, percent, percent_interval};
use maud::{Markup, html};

use super::plot::{SLIM_WIDTH, Scale, arm_class, n, nice_step, path, spread, svg, ticks};
use crate::report::TrainingCourse;

const TOP: f64 = 24.0;
const BOTTOM: f64 = 220.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 282.0;

/// Loss per trained token over the steps of one training run: train thin, dev strong, the step kept
/// marked.
pub(in crate::report) fn loss(run: &TrainingCourse) -> Markup {
    let all = || run.train_loss.iter().chain(&run.dev_loss).filter(|(_, loss)| loss.is_finite());
    let steps = all().map(|(step, _)| *step).max().unwrap_or(1) as f64;
    let highest = all().map(|(_, loss)| *loss).fold(0.1, f64::max);
    let x = Scale { from: (0.0, steps), to: (LEFT, RIGHT) };
    let top = (highest / nice_step(highest, 4.0)).ceil() * nice_step(highest, 4.0);
    let y = Scale { from: (0.0, top), to: (BOTTOM, TOP) };
    let line = |points: &[(usize, f64)]| {
        path(
            points
                .iter()
                .filter(|(_, loss)| loss.is_finite())
                .map(|(step, loss)| (x.at(*step as f64), y.at(*loss))),
        )
    };
    let end = |points: &[(usize, f64)]| points.last().map_or(BOTTOM, |(_, loss)| y.at(*loss));
    let labels = spread(&[end(&run.train_loss), end(&run.dev_loss)], 16.0, TOP, BOTTOM);
    let kept = run.best_step.and_then(|best| run.dev_loss.iter().find(|(step, _)| *step == best));
    let body = html! {
        text class="soft" x="0" y="12" { "loss per trained token" }
        @for tick in ticks(0.0, top, 4.0) {
            line class="grid" x1=(n(LEFT)) x2=(n(RIGHT)) y1=(n(y.at(tick))) y2=(n(y.at(tick))) {}
            text class="faint end" x=(n(LEFT - 8.0)) y=(n(y.at(tick) + 4.5)) { (n(tick)) }
        }
        @for tick in ticks(0.0, steps, 4.0) {
            text class="faint mid" x=(n(x.at(tick))) y=(n(BOTTOM + 19.0)) { (count(tick as u64)) }
        }
        text class="soft" x=(n(RIGHT + 10.0)) y=(n(BOTTOM + 19.0)) { "steps" }
        g class=(arm_class(run.arm)) {
            path class="curve thin" d=(line(&run.train_loss)) {}
            path class="curve" d=(line(&run.dev_loss)) {}
            @if !run.train_loss.is_empty() { text class="soft" x=(n(RIGHT + 10.0)) y=(n(labels[0] + 4.5)) { "train" } }
            @if !run.dev_loss.is_empty() { text class="in strong" x=(n(RIGHT + 10.0)) y=(n(labels[1] + 4.5)) { "dev" } }
            @if let Some((step, loss)) = kept {
                circle class="dot" cx=(n(x.at(*step as f64))) cy=(n(y.at(*loss))) r="6" {}
                text class={ "strong halo " (if x.at(*step as f64) > (LEFT + RIGHT) / 2.0 { "end" } else { "" }) }
                    x=(n(x.at(*step as f64))) y=(n(y.at(*loss) - 12.0)) { (format!("kept {loss:.2}")) }
            }
        }
    };
    let last = |points: &[(usize, f64)]| {
        points.last().map_or("none".to_owned(), |(_, loss)| format!("{loss:.3}"))
    };
    let description = format!(
        "{} steps; last loss on train {}, on dev {}",
        count(steps as u64),
        last(&run.train_loss),
        last(&run.dev_loss)
    );
    svg(
        SLIM_WIDTH,
        BOTTOM + 28.0,
        &format!("Loss of {}, seed {}", run.arm, run.seed),
        &description,
        &body,
    )
}

/// Those of the numbers whose labels do not touch that of the one before; the last is always there.
fn apart(numbers: impl Iterator<Item = usize>, at: &dyn Fn(usize) -> f64) -> Vec<usize> {
    const GAP: f64 = 44.0;
    let mut kept: Vec<usize> = Vec::new();
    for number in numbers {
        let near = |last: &usize| at(number) - at(*last) < GAP;
        while kept.last().is_some_and(near) {
            kept.pop();
        }
        kept.push(number);
    }
    kept
}

/// Score against number of training pairs, with the fit and its forecast.
pub(in crate::report) fn learning(curve: &LearningCurve) -> Markup {
    let logarithm = |examples: usize| (examples.max(1) as f64).log2();
    let smallest = curve.points.first().map_or(1, |point| point.examples);
    let largest = curve.points.last().map_or(1, |point| point.examples);
    let furthest = curve.forecast.last().map_or(largest, |(examples, _)| *examples);
    let x = Scale { from: (logarithm(smallest) - 0.2, logarithm(furthest)), to: (LEFT, RIGHT) };
    let y = Scale { from: (0.0, 1.0), to: (BOTTOM, TOP) };
    let fitted = |from: f64, to: f64| {
        path((0..=40).map(|step| {
            let at = from + f64::from(step) / 40.0 * (to - from);
            (x.at(at), y.at(curve.at(at.exp2())))
        }))
    };
    let start = (largest, curve.at(largest as f64), curve.at(largest as f64));
    let band =
        || std::iter::once(start).chain(curve.forecast.iter().map(|(e, s)| (*e, s.lower, s.upper)));
    let upper = band().map(|(examples, _, upper)| (x.at(logarithm(examples)), y.at(upper)));
    let lower: Vec<_> =
        band().map(|(examples, lower, _)| (x.at(logarithm(examples)), y.at(lower))).collect();
    let area = path(upper.chain(lower.into_iter().rev())) + "Z";
    let forecast = curve.forecast.last().map(|(_, score)| *score).unwrap_or_default();
    let body = html! {
        text class="soft" x="0" y="12" { "score" }
        @for tick in 0..=4 {
            @let value = f64::from(tick) / 4.0;
            line class="grid" x1=(n(LEFT)) x2=(n(RIGHT)) y1=(n(y.at(value))) y2=(n(y.at(value))) {}
            text class="faint end" x=(n(LEFT - 8.0)) y=(n(y.at(value) + 4.5)) { (n(100.0 * value)) }
        }
        @for examples in apart(curve.points.iter().map(|point| point.examples).chain([furthest]), &|examples| x.at(logarithm(examples))) {
            text class="faint mid" x=(n(x.at(logarithm(examples)))) y=(n(BOTTOM + 19.0)) { (count(examples as u64)) }
        }
        text class="soft" x=(n(RIGHT + 22.0)) y=(n(BOTTOM + 19.0)) { "pairs" }
        g class="arm-tuned" {
            path class="area" d=(area) {}
            path class="curve" d=(fitted(logarithm(smallest), logarithm(largest))) {}
            path class="curve dashed" d=(fitted(logarithm(largest), logarithm(furthest))) {}
            @for point in &curve.points {
                @let (px, half) = (x.at(logarithm(point.examples)), 1.96 * point.standard_error);
                line class="whisker" x1=(n(px)) x2=(n(px)) y1=(n(y.at((point.score - half).max(0.0)))) y2=(n(y.at((point.score + half).min(1.0)))) {}
                circle class="dot" cx=(n(px)) cy=(n(y.at(point.score))) r="5" {}
            }
            text class="in strong" x=(n(RIGHT + 8.0)) y=(n(y.at(forecast.estimate) + 4.5)) { (percent(forecast.estimate)) }
            text class="soft" x=(n(RIGHT + 8.0)) y=(n(y.at(forecast.estimate) + 20.0)) { "foreseen" }
        }
    };
    let described: Vec<String> = curve
        .points
        .iter()
        .map(|p| format!("{} pairs {}", count(p.examples as u64), percent(p.score)))
        .collect();
    let description = format!(
        "{}; foreseen at {} pairs {}",
        described.join("; "),
        count(furthest as u64),
        percent_interval(forecast)
    );
    svg(SLIM_WIDTH, BOTTOM + 28.0, "Learning curve", &description, &body)
}
