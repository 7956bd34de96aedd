use eval::Attribution;
use eval::attribute::Class;
use maud::{Markup, html};

use super::plot::{Scale, WIDTH, n, svg};

/// The style class of an error class.
pub(in crate::report) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Retrieval => "retrieval",
        Class::Distraction => "distraction",
        Class::Format => "format",
        Class::Learnable => "learnable",
        Class::Defect => "defect",
        Class::Unknown => "unknown",
    }
}

/// RAG's questions in one bar: right ones, then errors by class, each labelled under its middle.
pub(in crate::report) fn errors(attribution: &Attribution) -> Markup {
    let mut parts = vec![("right", "right", attribution.right)];
    parts.extend(
        attribution
            .counts
            .iter()
            .map(|(class, count)| (class_name(*class), class.as_str(), *count)),
    );
    parts.retain(|(_, _, count)| *count > 0);
    let x = Scale { from: (0.0, attribution.questions.max(1) as f64), to: (0.0, WIDTH) };
    let mut from = 0.0;
    let segments: Vec<(&str, &str, usize, f64, f64)> = parts
        .into_iter()
        .map(|(style, name, count)| {
            let start = from;
            from += count as f64;
            (style, name, count, x.at(start), x.at(from))
        })
        .collect();
    // Labels stand under the bar on two lines in turn; where a name has no room it is left to the
    // table below.
    let width_of = |name: &str| 6.6 * name.len() as f64 + 34.0;
    let body = html! {
        @for (style, name, count, start, end) in &segments {
            rect class={ "segment " (style) } x=(n(*start)) y="4" width=(n((end - start).max(1.0))) height="38" rx="3" {}
            @if end - start > width_of(name) {
                text class="mid" x=(n((start + end) / 2.0)) y="60" { tspan class="strong" { (count) } " " (name) }
            } @else if end - start > 16.0 {
                text class="mid strong" x=(n((start + end) / 2.0)) y="60" { (count) }
            }
        }
    };
    let described: Vec<String> =
        segments.iter().map(|(_, name, count, _, _)| format!("{count} {name}")).collect();
    let title = format!("{} questions under rag", attribution.questions);
    svg(WIDTH, 68.0, &title, &described.join("; "), &body)
}
