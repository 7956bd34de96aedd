//! What the plots are drawn with: scales, ticks, labels, paths.

use eval::System;
use maud::{Markup, html};

/// Width of a full plot in user units.
pub(super) const WIDTH: f64 = 800.0;

/// Width of a plot as wide as the column of a phone: shown there, text keeps its size.
pub(super) const SLIM_WIDTH: f64 = 350.0;

/// Where rows with a label, a line and figures are drawn.
pub(super) struct Frame {
    pub(super) width: f64,
    /// Ends of the lines.
    pub(super) left: f64,
    pub(super) right: f64,
    /// Height of a row.
    pub(super) row: f64,
    /// Label and figures stand above the line, and not beside it.
    stacked: bool,
}

/// Beside each other, for a screen or paper.
const WIDE: Frame = Frame { width: WIDTH, left: 208.0, right: 630.0, row: 30.0, stacked: false };

/// One above the other, for a phone.
const SLIM: Frame = Frame { width: SLIM_WIDTH, left: 20.0, right: 330.0, row: 50.0, stacked: true };

/// A figure of rows with these labels for wide screens and for phones; the style sheet shows one of
/// them.
pub(super) fn both(labels: &[String], draw: impl Fn(&Frame) -> Markup) -> Markup {
    let wide = Frame { left: room_for(labels, WIDE.left), ..WIDE };
    wide_or_slim(&draw(&wide), &draw(&SLIM))
}

/// The same figure for wide screens and paper, and for phones.
pub(super) fn wide_or_slim(wide: &Markup, slim: &Markup) -> Markup {
    html! {
        div class="wide" { (wide) }
        div class="slim" { (slim) }
    }
}

impl Frame {
    /// The height of the line of a row that begins at `top`.
    pub(super) fn line_of(&self, top: f64) -> f64 {
        top + if self.stacked { 36.0 } else { self.row / 2.0 }
    }

    /// The label of a row.
    pub(super) fn label(&self, top: f64, text: &str) -> Markup {
        let (class, x, y, longest) = match self.stacked {
            // Lines of the axis run behind it, and figures stand beside it.
            true => ("in strong halo", 4.0, top + 18.0, LONGEST_SLIM),
            false => ("in strong end", self.left - 16.0, top + self.row / 2.0 + 4.5, LONGEST),
        };
        html! { text class=(class) x=(n(x)) y=(n(y)) { (shortened(text, longest)) } }
    }

    /// The figure of a row, and what stands softly beside it.
    pub(super) fn figures(&self, top: f64, figure: &str, beside: &str) -> Markup {
        match self.stacked {
            true => html! {
                text class="end halo" x=(n(self.width - 4.0)) y=(n(top + 18.0)) {
                    tspan class="strong" { (figure) } tspan class="soft" { "  " (beside) }
                }
            },
            false => html! {
                @let y = top + self.row / 2.0 + 4.5;
                text class="strong end" x=(n(self.right + 66.0)) y=(n(y)) { (figure) }
                text class="soft" x=(n(self.right + 78.0)) y=(n(y)) { (beside) }
            },
        }
    }
}

/// An `svg` element of the given size with its text alternative.
pub(super) fn svg(
    width: f64,
    height: f64,
    title: &str,
    description: &str,
    body: &Markup,
) -> Markup {
    let class = if width < WIDTH { "narrow" } else { "" };
    html! {
        svg class=(class) viewBox={ "0 0 " (n(width)) " " (n(height)) } role="img" aria-label={ (title) ". " (description) } {
            title { (title) }
            desc { (description) }
            (body)
        }
    }
}

/// Coordinates need no more than a tenth of a unit.
pub(super) fn n(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}")
}

/// The style class that carries an arm's colour.
pub(in crate::report) fn arm_class(system: impl Into<System>) -> String {
    match system.into().arm() {
        Some(arm) => format!("arm-{}", arm.as_str().replace('+', "-")),
        None => "arm-foreign".to_owned(),
    }
}

/// A linear map from values to coordinates.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
}

impl Scale {
    pub(super) fn at(self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span == 0.0 { 0.5 } else { (value - self.from.0) / span };
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts `span` into about `parts`.
pub(super) fn nice_step(span: f64, parts: f64) -> f64 {
    let raw = (span / parts).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let factor =
        [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * 0.999).unwrap_or(10.0);
    factor * power
}

/// Round values from the first at or above `low` to the last at or below `high`.
pub(super) fn ticks(low: f64, high: f64, parts: f64) -> Vec<f64> {
    if low >= high {
        return vec![low];
    }
    let step = nice_step(high - low, parts);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// Moves labels apart until each has `gap`, keeping their order, within `low..=high`.
pub(super) fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = vec![0.0; wanted.len()];
    let mut floor = low;
    for &index in &order {
        placed[index] = wanted[index].max(floor);
        floor = placed[index] + gap;
    }
    let mut ceiling = high;
    for &index in order.iter().rev() {
        placed[index] = placed[index].min(ceiling);
        ceiling = placed[index] - gap;
    }
    placed
}

/// Characters of a name that a plot has room for.
const LONGEST: usize = 44;
/// The same above a line, beside its figures.
const LONGEST_SLIM: usize = 26;
/// Mean width of a bold character, in user units.
const CHARACTER: f64 = 7.8;

/// A name as a plot writes it: of one with more than so many characters the end, where names of
/// systems differ. The text alternative and the tables have it whole.
pub(super) fn shortened(name: &str, longest: usize) -> String {
    let length = name.chars().count();
    if length <= longest {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length - longest + 1).collect();
    format!("…{end}")
}

/// Where the plot begins right of names that end before it, at least at `least`.
pub(super) fn room_for(names: &[String], least: f64) -> f64 {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(LONGEST);
    (CHARACTER * longest as f64 + 20.0).max(least)
}

/// The `d` of a path through points.
pub(super) fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (index, (x, y)) in points.into_iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        out.push_str(&format!("{command}{} {}", n(x), n(y)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0, 4.0), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(-13.0, 22.0, 5.0), [-10.0, 0.0, 10.0, 20.0]);
        assert_eq!(ticks(3.0, 3.0, 5.0), [3.0]);
    }

    #[test]
    fn long_names_have_room_and_keep_their_end() {
        let names = ["rag".to_owned(), "the-small-model-of-last-year/raft+oracle".to_owned()];
        assert_eq!(room_for(&names[..1], 182.0), 182.0);
        assert_eq!(shortened(&names[0], LONGEST), names[0]);
        assert!(room_for(&names, 182.0) > 300.0);
        let long = shortened(&format!("{}/rag", "m".repeat(64)), LONGEST);
        assert!(long.ends_with("/rag") && long.chars().count() == LONGEST, "{long}");
    }

    #[test]
    fn labels_are_spread_without_leaving_the_plot() {
        let placed = spread(&[50.0, 10.0, 51.0, 99.0], 12.0, 0.0, 100.0);
        assert!(
            placed[1] < placed[0] && placed[0] + 12.0 <= placed[2] && placed[2] + 12.0 <= placed[3]
        );
        assert!(placed.iter().all(|y| (0.0..=100.0).contains(y)));
    }
}
