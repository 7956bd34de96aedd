use eval::decision::SystemSummary;
use eval::figures::{count, duration};
use eval::{Arm, Decision};
use maud::{Markup, html};

use super::plot::{
    SLIM_WIDTH, Scale, WIDTH, arm_class, n, path, shortened, spread, svg, wide_or_slim,
};

const TOP: f64 = 40.0;
const BOTTOM: f64 = 330.0;
/// Height of a row of the key.
const KEY: f64 = 20.0;
/// Characters of a name at the end of its curve, and in the key.
const NAME: usize = 14;
const KEY_NAME: usize = 28;

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

/// Where the curves are drawn.
struct Plane {
    width: f64,
    left: f64,
    right: f64,
    /// A label at every so many decades of queries.
    every: usize,
    /// The names of the curves stand below as a key, and not at their ends.
    key: bool,
}

const WIDE: Plane = Plane { width: WIDTH, left: 74.0, right: 670.0, every: 1, key: false };
const SLIM: Plane = Plane { width: SLIM_WIDTH, left: 60.0, right: 325.0, every: 2, key: true };

/// What is drawn, and the scales it is drawn by.
struct Curves<'a> {
    decision: &'a Decision,
    systems: Vec<&'a SystemSummary>,
    decades: f64,
    x: Scale,
    y: Scale,
}

/// Seconds that a system takes for so many queries: training, index, answering.
fn total(summary: &SystemSummary, queries: f64) -> f64 {
    (summary.costs.fixed_seconds() + queries * summary.seconds_per_query).max(1e-3)
}

/// Total seconds (training, index, answering) against the number of queries, both logarithmic.
pub(in crate::report) fn cost(decision: &Decision) -> Markup {
    wide_or_slim(&draw(decision, &WIDE), &draw(decision, &SLIM))
}

fn draw(decision: &Decision, plane: &Plane) -> Markup {
    let curves = Curves::new(decision, plane);
    let body = html! {
        (curves.axes(plane))
        (curves.expected(plane))
        @for summary in &curves.systems {
            g class=(arm_class(summary.system)) { path class="curve" d=(curves.line(summary)) {} }
        }
        @if plane.key { (curves.key()) } @else { (curves.names(plane)) }
        (curves.crossing(plane))
    };
    let expected = decision.rule.expected_queries;
    let describe = |summary: &&SystemSummary| {
        let (name, taken) = (summary.system, duration(summary.total_seconds));
        format!("{name} {taken} for {} queries", count(expected))
    };
    let described: Vec<String> = curves.systems.iter().map(describe).collect();
    let key = if plane.key { KEY * curves.systems.len() as f64 } else { 0.0 };
    let title = "Cost against number of queries";
    svg(plane.width, BOTTOM + 50.0 + key, title, &described.join("; "), &body)
}

impl<'a> Curves<'a> {
    fn new(decision: &'a Decision, plane: &Plane) -> Self {
        let systems: Vec<_> =
            decision.systems.iter().filter(|summary| !summary.system.is_diagnostic()).collect();
        let expected = decision.rule.expected_queries.max(1) as f64;
        let most = expected.max(decision.break_even_queries.unwrap_or(0.0)).max(1e3);
        let decades = (most.log10() + 1.0).ceil().min(10.0);
        let bounds = |queries: f64| systems.iter().map(move |one| total(one, queries).log10());
        let low = bounds(1.0).fold(f64::MAX, f64::min);
        let high = bounds(10_f64.powf(decades)).fold(f64::MIN, f64::max);
        let x = Scale { from: (0.0, decades), to: (plane.left, plane.right) };
        let y = Scale { from: (low - 0.1, high + 0.1), to: (BOTTOM, TOP) };
        Self { decision, systems, decades, x, y }
    }

    fn axes(&self, plane: &Plane) -> Markup {
        let Plane { left, right, every, .. } = *plane;
        let shown = self.y.from.0..=self.y.from.1;
        html! {
            @for (seconds, name) in LINES.iter().filter(|(seconds, _)| shown.contains(&seconds.log10())) {
                @let at = self.y.at(seconds.log10());
                line class="grid" x1=(n(left)) x2=(n(right)) y1=(n(at)) y2=(n(at)) {}
                text class="faint end" x=(n(left - 10.0)) y=(n(at + 4.5)) { (name) }
            }
            @for decade in (0..=self.decades as u32).step_by(every) {
                text class="faint mid" x=(n(self.x.at(f64::from(decade)))) y=(n(BOTTOM + 20.0)) { (power_of_ten(decade)) }
            }
            text class="soft mid" x=(n((left + right) / 2.0)) y=(n(BOTTOM + 40.0)) { "queries answered" }
        }
    }

    /// The number of queries that the decision reckons with.
    fn expected(&self, plane: &Plane) -> Markup {
        let expected = self.decision.rule.expected_queries.max(1);
        let at = self.x.at((expected as f64).log10());
        let (class, aside) = beside(at, plane, 6.0);
        html! {
            line class="rule" x1=(n(at)) x2=(n(at)) y1=(n(TOP - 16.0)) y2=(n(BOTTOM)) {}
            text class={ "strong " (class) } x=(n(at + aside)) y=(n(TOP - 7.0)) { "expected: " (count(expected)) }
        }
    }

    fn line(&self, summary: &SystemSummary) -> String {
        let points = (0..=60).map(|step| f64::from(step) / 60.0 * self.decades);
        path(points.map(|q| (self.x.at(q), self.y.at(total(summary, 10_f64.powf(q)).log10()))))
    }

    /// The name of each curve at its end.
    fn names(&self, plane: &Plane) -> Markup {
        let end = |one: &&SystemSummary| self.y.at(total(one, 10_f64.powf(self.decades)).log10());
        let wanted: Vec<f64> = self.systems.iter().map(end).collect();
        let labels = spread(&wanted, 16.0, TOP, BOTTOM);
        html! {
            @for (summary, label) in self.systems.iter().zip(&labels) {
                g class=(arm_class(summary.system)) {
                    text class="in strong" x=(n(plane.right + 10.0)) y=(n(label + 4.5)) {
                        (shortened(&summary.system.to_string(), NAME))
                    }
                }
            }
        }
    }

    /// Below the plot, a line for each curve: its name, and what it takes for the expected queries.
    fn key(&self) -> Markup {
        html! {
            @for (index, summary) in self.systems.iter().enumerate() {
                @let y = BOTTOM + 66.0 + KEY * index as f64;
                g class=(arm_class(summary.system)) {
                    line class="whisker" x1="4" x2="24" y1=(n(y - 4.5)) y2=(n(y - 4.5)) {}
                    text class="in strong" x="32" y=(n(y)) { (shortened(&summary.system.to_string(), KEY_NAME)) }
                    text class="soft end" x=(n(SLIM_WIDTH - 4.0)) y=(n(y)) { (duration(summary.total_seconds)) }
                }
            }
        }
    }

    /// Where fine-tuning has paid for its training.
    fn crossing(&self, plane: &Plane) -> Markup {
        let found = self.decision.break_even_queries.filter(|queries| *queries >= 1.0);
        let (Some(queries), Some(tuned)) = (found, self.decision.system(Arm::Tuned)) else {
            return html! {};
        };
        let cx = self.x.at(queries.log10());
        let cy = self.y.at(total(tuned, queries).log10());
        let (class, aside) = beside(cx, plane, 9.0);
        html! {
            line class="tick" x1=(n(cx)) x2=(n(cx)) y1=(n(cy)) y2=(n(BOTTOM)) {}
            circle class="dot hollow" style="--c: var(--ink)" cx=(n(cx)) cy=(n(cy)) r="6" {}
            // On a phone the words have no room; the text above the figure says the same.
            @if !plane.key {
                text class={ "strong halo " (class) } x=(n(cx + aside)) y=(n(BOTTOM - 28.0)) { "tuned cheaper than rag" }
                text class={ "soft halo " (class) } x=(n(cx + aside)) y=(n(BOTTOM - 11.0)) {
                    "from " (count(queries.round() as u64)) " queries on"
                }
            }
        }
    }
}

/// Words stand on the side of `at` that has more room, so far away: class and shift.
fn beside(at: f64, plane: &Plane, away: f64) -> (&'static str, f64) {
    if at > (plane.left + plane.right) / 2.0 { ("end", -away) } else { ("", away) }
}
