use eval::decision::SystemSummary;
use eval::figures::{count, duration};
use eval::{Arm, Decision};
use maud::{Markup, html};

use super::plot::{Scale, WIDTH, arm_class, n, path, spread, svg};

const TOP: f64 = 40.0;
const BOTTOM: f64 = 330.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 670.0;

/// Durations worth a grid line, in seconds.
const LINES: [(f64, &str); 12] = [
    (0.01, "10 ms"),
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36_000.0, "10 h"),
    (345_600.0, "4 days"),
    (2_592_000.0, "1 month"),
    (31_557_600.0, "1 year"),
    (315_576_000.0, "10 years"),
];

/// 10 to this power, short enough to stand beside its neighbours: "1", "10 k", "100 M".
fn power_of_ten(decade: u32) -> String {
    let unit = ["", " k", " M", " G", " T"].get(decade as usize / 3).copied().unwrap_or(" ?");
    format!("{}{unit}", 10_u64.pow(decade % 3))
}

/// Seconds that a setup takes for so many queries: training, index, answering.
fn total(arm: &SystemSummary, queries: f64) -> f64 {
    (arm.costs.fixed_seconds() + queries * arm.seconds_per_query).max(1e-3)
}

/// Total seconds (training, index, answering) against the number of queries, both logarithmic.
pub(in crate::report) fn cost(decision: &Decision) -> Markup {
    let arms: Vec<_> =
        decision.systems.iter().filter(|summary| !summary.system.is_diagnostic()).collect();
    let expected = decision.rule.expected_queries.max(1);
    let most = (expected as f64).max(decision.break_even_queries.unwrap_or(0.0)).max(1e3);
    let decades = (most.log10() + 1.0).ceil().min(10.0);
    let bounds = |queries: f64| arms.iter().map(move |arm| total(arm, queries).log10());
    let low = bounds(1.0).fold(f64::MAX, f64::min);
    let high = bounds(10_f64.powf(decades)).fold(f64::MIN, f64::max);
    let x = Scale { from: (0.0, decades), to: (LEFT, RIGHT) };
    let y = Scale { from: (low - 0.1, high + 0.1), to: (BOTTOM, TOP) };
    let wanted: Vec<f64> =
        arms.iter().map(|arm| y.at(total(arm, 10_f64.powf(decades)).log10())).collect();
    let labels = spread(&wanted, 16.0, TOP, BOTTOM);
    let crossing =
        decision.break_even_queries.filter(|queries| *queries >= 1.0).and_then(|queries| {
            let tuned = decision.system(Arm::Tuned)?;
            Some((queries, total(tuned, queries)))
        });

    let body = html! {
        @for (seconds, name) in LINES.iter().filter(|(seconds, _)| (y.from.0..=y.from.1).contains(&seconds.log10())) {
            line class="grid" x1=(n(LEFT)) x2=(n(RIGHT)) y1=(n(y.at(seconds.log10()))) y2=(n(y.at(seconds.log10()))) {}
            text class="faint end" x=(n(LEFT - 10.0)) y=(n(y.at(seconds.log10()) + 4.5)) { (name) }
        }
        @for decade in 0..=decades as u32 {
            text class="faint mid" x=(n(x.at(f64::from(decade)))) y=(n(BOTTOM + 20.0)) { (power_of_ten(decade)) }
        }
        text class="soft mid" x=(n((LEFT + RIGHT) / 2.0)) y=(n(BOTTOM + 40.0)) { "queries answered" }
        @let at = x.at((expected as f64).log10());
        line class="rule" x1=(n(at)) x2=(n(at)) y1=(n(TOP - 16.0)) y2=(n(BOTTOM)) {}
        text class={ "strong " (if at > 450.0 { "end" } else { "" }) } x=(n(if at > 450.0 { at - 6.0 } else { at + 6.0 })) y=(n(TOP - 7.0)) {
            "expected: " (count(expected))
        }
        @for (arm, label) in arms.iter().zip(&labels) {
            @let points = (0..=60).map(|step| f64::from(step) / 60.0 * decades);
            g class=(arm_class(arm.system)) {
                path class="curve" d=(path(points.map(|q| (x.at(q), y.at(total(arm, 10_f64.powf(q)).log10()))))) {}
                text class="in strong" x=(n(RIGHT + 10.0)) y=(n(label + 4.5)) { (super::plot::shortened(&arm.system.to_string(), 14)) }
            }
        }
        @if let Some((queries, seconds)) = crossing {
            @let (cx, cy) = (x.at(queries.log10()), y.at(seconds.log10()));
            @let (class, aside) = if cx > 430.0 { ("end", -9.0) } else { ("", 9.0) };
            line class="tick" x1=(n(cx)) x2=(n(cx)) y1=(n(cy)) y2=(n(BOTTOM)) {}
            circle class="dot hollow" style="--c: var(--ink)" cx=(n(cx)) cy=(n(cy)) r="6" {}
            text class={ "strong halo " (class) } x=(n(cx + aside)) y=(n(BOTTOM - 28.0)) { "tuned cheaper than rag" }
            text class={ "soft halo " (class) } x=(n(cx + aside)) y=(n(BOTTOM - 11.0)) {
                "from " (count(queries.round() as u64)) " queries on"
            }
        }
    };
    let describe = |arm: &&SystemSummary| {
        format!("{} {} for {} queries", arm.system, duration(arm.total_seconds), count(expected))
    };
    let described: Vec<String> = arms.iter().map(describe).collect();
    svg(WIDTH, BOTTOM + 50.0, "Cost against number of queries", &described.join("; "), &body)
}
