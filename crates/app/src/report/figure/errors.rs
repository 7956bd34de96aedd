use eval::Attribution;
use eval::attribute::Class;
use maud::{Markup, html};

use super::plot::{SLIM_WIDTH, Scale, WIDTH, n, svg, wide_or_slim};

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

/// RAG's questions in one bar: right ones, then errors by class, each with a line of its own below.
pub(in crate::report) fn errors(attribution: &Attribution) -> Markup {
    wide_or_slim(&bar(attribution, WIDTH), &bar(attribution, SLIM_WIDTH))
}

fn bar(attribution: &Attribution, width: f64) -> Markup {
    const BAR: f64 = 38.0;
    const LINE: f64 = 22.0;
    let mut parts = vec![("right", "right", attribution.right)];
    parts.extend(
        attribution
            .counts
            .iter()
            .map(|(class, count)| (class_name(*class), class.as_str(), *count)),
    );
    parts.retain(|(_, _, count)| *count > 0);
    let x = Scale { from: (0.0, attribution.questions.max(1) as f64), to: (0.0, width) };
    let mut from = 0.0;
    let segments: Vec<(&str, &str, usize, f64, f64)> = parts
        .into_iter()
        .map(|(style, name, count)| {
            let start = from;
            from += count as f64;
            (style, name, count, x.at(start), x.at(from))
        })
        .collect();
    let first = 4.0 + BAR + LINE;
    let body = html! {
        @for (style, _, _, start, end) in &segments {
            rect class={ "segment " (style) } x=(n(*start)) y="4" width=(n((end - start).max(1.0))) height=(n(BAR)) rx="3" {}
        }
        @for (index, (style, name, count, _, _)) in segments.iter().enumerate() {
            @let y = first + LINE * index as f64;
            rect class=(style) x="0" y=(n(y - 11.0)) width="13" height="13" rx="2" {}
            text class="strong end" x="62" y=(n(y)) { (count) }
            text x="72" y=(n(y)) { (name) }
        }
    };
    let described: Vec<String> =
        segments.iter().map(|(_, name, count, _, _)| format!("{count} {name}")).collect();
    let title = format!("{} questions under rag", attribution.questions);
    let height = first + LINE * segments.len() as f64 - 12.0;
    svg(width, height, &title, &described.join("; "), &body)
}
