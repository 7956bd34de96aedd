use eval::decision::SystemSummary;
use eval::figures::{percent, size};
use eval::{Decision, Interval};
use maud::{Markup, html};

use super::plot::{Frame, Scale, arm_class, both, n, svg};

/// Every setup's mean with its interval, the target, and the strip within the margin of the best
/// one.
pub(in crate::report) fn arms(decision: &Decision) -> Markup {
    let labels: Vec<String> = decision.systems.iter().map(|s| s.system.title()).collect();
    both(&labels, |frame| draw(decision, frame))
}

fn draw(decision: &Decision, frame: &Frame) -> Markup {
    let top = 30.0;
    let bottom = top + frame.row * decision.systems.len() as f64;
    let x = Scale { from: (0.0, 1.0), to: (frame.left, frame.right) };
    let body = html! {
        (strip(decision, frame, x, (top, bottom)))
        @for (index, summary) in decision.systems.iter().enumerate() {
            @if decision.recommended == Some(summary.system) {
                rect class="row" x="0" y=(n(top + frame.row * index as f64)) width=(n(frame.width)) height=(n(frame.row)) rx="5" {}
            }
        }
        @for tick in 0..=4 {
            @let value = f64::from(tick) / 4.0;
            line class="grid" x1=(n(x.at(value))) x2=(n(x.at(value))) y1=(n(top)) y2=(n(bottom)) {}
            text class="faint mid" x=(n(x.at(value))) y=(n(bottom + 18.0)) { (percent(value).replace(".0", "")) }
        }
        @if let Some(target) = decision.rule.target {
            line class="rule" x1=(n(x.at(target))) x2=(n(x.at(target))) y1="6" y2=(n(bottom)) {}
            // Near the right edge the label stands left of its line.
            @let (class, aside) = if target > 0.6 { ("strong end", -7.0) } else { ("strong", 7.0) };
            text class=(class) x=(n(x.at(target) + aside)) y="17" { "target " (percent(target).replace(".0", "")) }
        }
        @for (index, summary) in decision.systems.iter().enumerate() {
            (row(summary, frame, x, top + frame.row * index as f64))
        }
    };
    let described: Vec<String> = (decision.systems.iter())
        .map(|s| format!("{} {}", s.system.title(), eval::figures::percent_interval(s.score)))
        .collect();
    let title = "Score of each setup with its 95 % interval";
    svg(frame.width, bottom + 46.0, title, &described.join("; "), &body)
}

/// What lies within the margin of the best.
fn strip(decision: &Decision, frame: &Frame, x: Scale, (top, bottom): (f64, f64)) -> Markup {
    let best = decision.best.and_then(|system| decision.system(system));
    let Some(best) = best.map(|summary| summary.score.estimate) else { return html! {} };
    let (from, to) = ((best - decision.rule.margin).max(0.0), best);
    let middle = ((x.at(from) + x.at(to)) / 2.0).clamp(frame.left + 100.0, frame.right - 90.0);
    html! {
        rect class="band" x=(n(x.at(from))) y=(n(top)) width=(n(x.at(to) - x.at(from))) height=(n(bottom - top + 24.0)) {}
        text class="soft mid" x=(n(middle)) y=(n(bottom + 39.0)) {
            "within " (size(decision.rule.margin)) " points of the best"
        }
    }
}

fn row(summary: &SystemSummary, frame: &Frame, x: Scale, top: f64) -> Markup {
    let Interval { estimate, lower, upper } = summary.score;
    let y = frame.line_of(top);
    let hollow = summary.system.is_diagnostic();
    let bounds = format!("{:.0}–{:.0}", 100.0 * lower, 100.0 * upper);
    html! {
        g class=(arm_class(summary.system)) {
            (frame.label(top, &summary.system.title()))
            line class="whisker" x1=(n(x.at(lower))) x2=(n(x.at(upper))) y1=(n(y)) y2=(n(y)) {}
            circle class=(if hollow { "dot hollow" } else { "dot" }) cx=(n(x.at(estimate))) cy=(n(y)) r="6" {}
            (frame.figures(top, &percent(estimate), &bounds))
        }
    }
}
