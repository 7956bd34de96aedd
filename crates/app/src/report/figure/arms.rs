use eval::figures::{percent, size};
use eval::{Decision, Interval};
use maud::{Markup, html};

use super::plot::{Scale, WIDTH, arm_class, label, n, room_for, svg};

const ROW: f64 = 30.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 640.0;

/// Every arm's mean with its interval, the target, and the strip within the margin of the best arm.
pub(in crate::report) fn arms(decision: &Decision) -> Markup {
    let bottom = TOP + ROW * decision.systems.len() as f64;
    let titles: Vec<String> = decision.systems.iter().map(|s| label(&s.system.title())).collect();
    let left = room_for(&titles, 182.0);
    let x = Scale { from: (0.0, 1.0), to: (left, RIGHT) };
    let target = decision.rule.target;
    let best =
        decision.best.and_then(|arm| decision.system(arm)).map(|summary| summary.score.estimate);
    let strip = best.map(|best| ((best - decision.rule.margin).max(0.0), best));
    // Near the right edge a label stands left of its line.
    let left_of_line = |value: f64| value > 0.75;
    let strip_middle =
        |(from, to): (f64, f64)| ((x.at(from) + x.at(to)) / 2.0).clamp(left + 80.0, RIGHT - 60.0);

    let body = html! {
        @if let Some((from, to)) = strip {
            rect class="band" x=(n(x.at(from))) y=(n(TOP)) width=(n(x.at(to) - x.at(from))) height=(n(bottom - TOP + 24.0)) {}
            text class="soft mid" x=(n(strip_middle((from, to)))) y=(n(bottom + 39.0)) {
                "within " (size(decision.rule.margin)) " points of the best"
            }
        }
        @for (index, summary) in decision.systems.iter().enumerate() {
            @if decision.recommended == Some(summary.system) {
                rect class="row" x="0" y=(n(TOP + ROW * index as f64)) width=(n(WIDTH)) height=(n(ROW)) rx="5" {}
            }
        }
        @for tick in 0..=4 {
            @let value = f64::from(tick) / 4.0;
            line class="grid" x1=(n(x.at(value))) x2=(n(x.at(value))) y1=(n(TOP)) y2=(n(bottom)) {}
            text class="faint mid" x=(n(x.at(value))) y=(n(bottom + 18.0)) { (percent(value).replace(".0", "")) }
        }
        @if let Some(target) = target {
            line class="rule" x1=(n(x.at(target))) x2=(n(x.at(target))) y1="6" y2=(n(bottom)) {}
            @let (class, aside) = if left_of_line(target) { ("strong end", -7.0) } else { ("strong", 7.0) };
            text class=(class) x=(n(x.at(target) + aside)) y="17" { "target " (percent(target).replace(".0", "")) }
        }
        @for (index, summary) in decision.systems.iter().enumerate() {
            @let y = TOP + ROW * (index as f64 + 0.5);
            @let Interval { estimate, lower, upper } = summary.score;
            g class=(arm_class(summary.system)) {
                text class="in strong end" x=(n(left - 16.0)) y=(n(y + 4.5)) { (titles[index]) }
                line class="whisker" x1=(n(x.at(lower))) x2=(n(x.at(upper))) y1=(n(y)) y2=(n(y)) {}
                circle class=(if summary.system.is_diagnostic() { "dot hollow" } else { "dot" })
                    cx=(n(x.at(estimate))) cy=(n(y)) r="6" {}
                text class="strong" x=(n(RIGHT + 20.0)) y=(n(y + 4.5)) { (percent(estimate)) }
                text class="soft" x=(n(RIGHT + 78.0)) y=(n(y + 4.5)) {
                    (format!("{:.0}–{:.0}", 100.0 * lower, 100.0 * upper))
                }
            }
        }
    };
    let described: Vec<String> = (decision.systems.iter())
        .map(|s| format!("{} {}", s.system.title(), eval::figures::percent_interval(s.score)))
        .collect();
    svg(WIDTH, bottom + 46.0, "Score of each setup with its interval", &described.join("; "), &body)
}
