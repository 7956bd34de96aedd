use eval::figures::{points, points_interval, size};
use eval::{Interval, System};
use maud::{Markup, html};

use super::plot::{Frame, Scale, arm_class, both, n, svg, ticks};

const TOP: f64 = 26.0;
/// Width of the words that name the margin.
const MARGIN_LABEL: f64 = 90.0;

/// One difference.
pub(in crate::report) struct Row {
    /// What is subtracted from what.
    pub(in crate::report) label: String,
    /// Whose colour it wears.
    pub(in crate::report) system: System,
    /// The difference, in shares.
    pub(in crate::report) difference: Interval,
    /// What to say at the end of the row, beside the figure.
    pub(in crate::report) note: String,
}

/// Differences against zero; with a margin, a line where "not worse by more than the margin" ends.
pub(in crate::report) fn whiskers(title: &str, rows: &[Row], margin: Option<f64>) -> Markup {
    let labels: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
    both(&labels, |frame| draw(title, rows, margin, frame))
}

fn draw(title: &str, rows: &[Row], margin: Option<f64>, frame: &Frame) -> Markup {
    let bottom = TOP + frame.row * rows.len() as f64;
    let furthest = |side: f64| {
        let bounds = rows.iter().flat_map(|row| [row.difference.lower, row.difference.upper]);
        bounds.map(|bound| bound * side).fold(margin.unwrap_or(0.0).max(0.05), f64::max)
    };
    let x = Scale {
        from: (-furthest(-1.0) * 1.06, furthest(1.0) * 1.06),
        to: (frame.left, frame.right),
    };
    let body = html! {
        @if let Some(margin) = margin {
            rect class="band" x=(n(x.at(-margin))) y=(n(TOP - 6.0)) width=(n(x.at(0.0) - x.at(-margin))) height=(n(bottom - TOP + 6.0)) {}
            // Left of zero where there is room for it.
            @let (class, at) = if x.at(0.0) < MARGIN_LABEL { ("soft", 4.0) } else { ("soft end", x.at(0.0) - 4.0) };
            text class=(class) x=(n(at)) y=(n(TOP - 12.0)) { "margin −" (size(margin)) }
        }
        @for tick in ticks(100.0 * x.from.0, 100.0 * x.from.1, 6.0) {
            line class="grid" x1=(n(x.at(tick / 100.0))) x2=(n(x.at(tick / 100.0))) y1=(n(TOP)) y2=(n(bottom)) {}
            text class="faint mid" x=(n(x.at(tick / 100.0))) y=(n(bottom + 18.0)) {
                (points(tick / 100.0).replace(".0", "").replace('-', "−"))
            }
        }
        line class="zero" x1=(n(x.at(0.0))) x2=(n(x.at(0.0))) y1=(n(TOP - 6.0)) y2=(n(bottom)) {}
        @for (index, row) in rows.iter().enumerate() {
            @let top = TOP + frame.row * index as f64;
            @let y = frame.line_of(top);
            @let Interval { estimate, lower, upper } = row.difference;
            g class=(arm_class(row.system)) {
                (frame.label(top, &row.label))
                line class="whisker" x1=(n(x.at(lower))) x2=(n(x.at(upper))) y1=(n(y)) y2=(n(y)) {}
                circle class="dot" cx=(n(x.at(estimate))) cy=(n(y)) r="6" {}
                (frame.figures(top, &points(estimate).replace('-', "−"), &row.note))
            }
        }
    };
    let described: Vec<String> = rows
        .iter()
        .map(|row| format!("{}: {}, {}", row.label, points_interval(row.difference), row.note))
        .collect();
    svg(frame.width, bottom + 26.0, title, &described.join("; "), &body)
}
