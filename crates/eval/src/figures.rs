//! Figures as people read them; one way of writing them for sentences, report and command line.

use crate::Interval;

/// A share as a percentage: 0.7214 -> "72.1 %".
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A share with its interval: "72.1 % [64.0, 79.2]".
pub fn percent_interval(interval: Interval) -> String {
    let Interval { estimate, lower, upper } = interval;
    format!("{} [{:.1}, {:.1}]", percent(estimate), 100.0 * lower, 100.0 * upper)
}

/// A difference of shares in points: 0.1234 -> "+12.3".
pub fn points(difference: f64) -> String {
    let rounded = (1000.0 * difference).round() / 10.0;
    // No sign on a zero, which rounding makes of anything small.
    if rounded == 0.0 { "0.0".to_owned() } else { format!("{rounded:+.1}") }
}

/// A difference with its interval: "+12.3 points [+4.0, +20.6]".
pub fn points_interval(interval: Interval) -> String {
    let Interval { estimate, lower, upper } = interval;
    format!("{} points [{}, {}]", points(estimate), points(lower), points(upper))
}

/// A size in points without sign: 0.05 -> "5", 0.075 -> "7.5".
pub fn size(points: f64) -> String {
    let rounded = (1000.0 * points).round() / 10.0;
    format!("{rounded}")
}

/// A count with thin groups: 1234567 -> "1 234 567".
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A duration: "12 ms", "3.4 s", "5 min 20 s", "10 min", "2 h 5 min", "12 days".
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if !s.is_finite() => "unknown".to_owned(),
        s if s < 0.0995 => format!("{:.0} ms", 1000.0 * s),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 3570.0 => two(whole / 60, "min", whole % 60, "s"),
        s if s < 172_800.0 => two((whole + 30) / 3600, "h", (whole + 30) % 3600 / 60, "min"),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Two units, the smaller left out when it is zero.
fn two(large: u64, unit: &str, small: u64, smaller: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
}

/// A p-value: "0.031", "< 0.001".
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(percent(0.7214), "72.1 %");
        assert_eq!(
            (points(0.1234), points(-0.0004), points(-0.05)),
            ("+12.3".into(), "0.0".into(), "-5.0".into())
        );
        assert_eq!((size(0.05), size(0.075), size(0.1)), ("5".into(), "7.5".into(), "10".into()));
        assert_eq!(
            (count(7), count(1234), count(1_234_567)),
            ("7".into(), "1\u{202f}234".into(), "1\u{202f}234\u{202f}567".into())
        );
        let seconds = [0.0123, 3.44, 42.0, 320.0, 600.0, 7_500.0, 1_036_800.0, f64::INFINITY];
        let read =
            ["12 ms", "3.4 s", "42 s", "5 min 20 s", "10 min", "2 h 5 min", "12 days", "unknown"];
        for (seconds, read) in seconds.into_iter().zip(read) {
            assert_eq!(duration(seconds), read);
        }
        assert_eq!((p_value(0.0312), p_value(0.0)), ("0.031".into(), "< 0.001".into()));
    }
}
