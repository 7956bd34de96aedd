//! The numbers in a text, as people write them.

use super::Tolerance;
use super::normal::{grouped, unify};

/// What answers put before their result, in lower case.
const MARKERS: [&str; 5] = ["####", "answer is", "answer:", "answer =", "\\boxed{"];

/// Words that multiply the number before them.
const SCALES: [(&str, f64); 4] =
    [("thousand", 1e3), ("million", 1e6), ("billion", 1e9), ("trillion", 1e12)];

/// Added to every tolerance: 0.3 must be within 0.1 of 0.2, which binary fractions miss.
const ROUNDING: f64 = 1e-9;

/// Whether the number that the answer gives is that of the gold answer.
///
/// An answer that marks its result (`####`, "the answer is", `\boxed{`) gives the first number
/// behind the last mark. Any other gives its first and its last number: answers put the result
/// first ("30 days") or last ("under rule 7 it is 30"); accepting any number would reward an
/// answer that lists many. A gold answer has one number: the marked one, else its first.
pub(super) fn near(answer: &str, gold: &str, tolerance: Tolerance) -> bool {
    let Some(gold) = gold_number(gold) else { return false };
    let allowed = tolerance.allowed(gold) + ROUNDING * gold.abs().max(1.0);
    given(answer).into_iter().any(|number| (number - gold).abs() <= allowed)
}

/// The number of a gold answer; `None` where it has none, so that no answer can be right.
pub fn gold_number(gold: &str) -> Option<f64> {
    given(gold).first().copied()
}

fn given(text: &str) -> Vec<f64> {
    let text = unify(text);
    let lower = text.to_lowercase();
    let behind = MARKERS.iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max();
    if let Some(behind) = behind
        && let Some(first) = numbers(&lower[behind..]).first()
    {
        return vec![*first];
    }
    let found = numbers(&lower);
    match (found.first(), found.last()) {
        (Some(first), Some(last)) if found.len() > 1 => vec![*first, *last],
        _ => found,
    }
}

/// Numbers in a unified, lower-case text.
///
/// A minus is a sign where no letter or digit stands before it ("2019-2020" has no negative
/// number), and `$-5` and `-$5` are the same. Groups of three are thousands: 1,234 and 1 234 and
/// 1'234 and 1.234.567. A comma that cannot part thousands is a decimal comma, so 1,5 is 1.5; in
/// 1,234 it parts thousands. Of two kinds of separators the last is the decimal one. `1/2` is a
/// half, `1e3` and `2*10^3` are read, and so is "2 million". Units, percent and currency signs
/// don't change a value: 5 % is 5, not 0.05.
pub(super) fn numbers(text: &str) -> Vec<f64> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find(|c: char| c.is_ascii_digit()) {
        let digit = at + offset;
        let begin = if text[..digit].ends_with('.') && !ends_with_word(&text[..digit - 1]) {
            digit - 1
        } else {
            digit
        };
        // 1,2,3 is a list, 1/2/2020 a date.
        let goes_on = text[..begin]
            .strip_suffix([',', '/'])
            .is_some_and(|before| before.ends_with(|c: char| c.is_ascii_digit()));
        let (value, mut end) = positive(&text[begin..], goes_on);
        end += begin;
        let (value, end) = scaled(value, text, end);
        found.push(if is_negative(&text[..begin]) { -value } else { value });
        at = end.max(digit + 1);
    }
    found
}

fn ends_with_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(char::is_alphanumeric)
}

/// Whether the number behind this text has a minus before it, a currency sign between them or not.
fn is_negative(before: &str) -> bool {
    let is_currency = |c: char| matches!(c, '$' | '¢'..='¥' | '\u{20a0}'..='\u{20bf}');
    let before = before.strip_suffix(is_currency).unwrap_or(before);
    before
        .strip_suffix(['-', '\u{2013}'])
        .is_some_and(|before| !ends_with_word(before) && !before.ends_with('-'))
}

/// A number at the beginning of a text, and how many bytes it takes. `goes_on` says that it is not
/// the first of a list or of a date, so that it has no decimal comma and is no fraction.
fn positive(text: &str, goes_on: bool) -> (f64, usize) {
    let (whole, mut end) = plain_number(text, goes_on);
    let mut value = whole;
    let digits = |from: usize| count_digits(text.get(from..).unwrap_or_default());
    let integer = !goes_on && text[..end].bytes().all(|byte| byte.is_ascii_digit());
    let fraction = |from: usize| -> Option<(f64, usize)> {
        let above = digits(from);
        let slash = from + above;
        let below = digits(slash + 1);
        let end = slash + 1 + below;
        // 1/2/2020 is a date.
        let is_one = above > 0
            && below > 0
            && text.as_bytes().get(slash) == Some(&b'/')
            && text.as_bytes().get(end) != Some(&b'/');
        let (above, below) = (text.get(from..slash)?, text.get(slash + 1..end)?);
        let (above, below): (f64, f64) = (above.parse().ok()?, below.parse().ok()?);
        (is_one && below != 0.0).then_some((above / below, end))
    };
    if integer && let Some((part, behind)) = fraction(0) {
        return (part, behind);
    }
    if integer
        && text[end..].starts_with(' ')
        && let Some((part, behind)) = fraction(end + 1)
        && part < 1.0
    {
        return (whole + part, behind);
    }
    if let Some((power, behind)) = exponent(&text[end..]) {
        value *= 10f64.powi(power);
        end += behind;
    }
    (value, end)
}

/// Digits with their separators.
fn plain_number(text: &str, goes_on: bool) -> (f64, usize) {
    let bytes = text.as_bytes();
    let digits = |from: usize| count_digits(text.get(from..).unwrap_or_default());
    let (mut number, mut end) = match grouped(text).or_else(|| grouped_by_points(text)) {
        Some((number, length)) => (number, length),
        None => (text[..digits(0)].to_owned(), digits(0)),
    };
    let is_grouped = number.len() < end;
    let used = if is_grouped { number_separator(text) } else { None };
    let decimals = match bytes.get(end) {
        Some(b'.') if used != Some('.') => digits(end + 1),
        Some(b',') if used != Some(',') && !goes_on => {
            let count = digits(end + 1);
            let more = bytes.get(end + 1 + count) == Some(&b',')
                && text[end + 2 + count..].starts_with(|c: char| c.is_ascii_digit());
            if more { 0 } else { count }
        }
        _ => 0,
    };
    if decimals > 0 {
        number.push('.');
        number.push_str(&text[end + 1..end + 1 + decimals]);
        end += 1 + decimals;
    }
    let number = if number.starts_with('.') { format!("0{number}") } else { number };
    (number.parse().unwrap_or(f64::NAN), end)
}

/// The separator of a number in groups.
fn number_separator(text: &str) -> Option<char> {
    text.chars().find(|c| !c.is_ascii_digit())
}

/// 1.234.567, and 1.234 before a decimal comma.
fn grouped_by_points(text: &str) -> Option<(String, usize)> {
    let first = count_digits(text);
    if !(1..=3).contains(&first) || text.starts_with('0') {
        return None;
    }
    let (mut number, mut end, mut groups) = (text[..first].to_owned(), first, 0);
    while text[end..].starts_with('.') && count_digits(&text[end + 1..]) == 3 {
        number.push_str(&text[end + 1..end + 4]);
        end += 4;
        groups += 1;
    }
    let decimal_comma = text[end..].starts_with(',') && count_digits(&text[end + 1..]) > 0;
    let goes_on = text[end..].starts_with('.') && count_digits(&text[end + 1..]) > 0;
    (!goes_on && (groups > 1 || (groups == 1 && decimal_comma))).then_some((number, end))
}

/// `e5`, `*10^5`, ` × 10^5`.
fn exponent(text: &str) -> Option<(i32, usize)> {
    let power = match text.strip_prefix('e') {
        Some(power) => power,
        None => {
            let times = text.trim_start_matches(' ').strip_prefix(['*', '×', 'x', '·'])?;
            times.trim_start_matches(' ').strip_prefix("10^")?
        }
    };
    let unsigned = power.strip_prefix(['-', '+']).unwrap_or(power);
    let digits = count_digits(unsigned);
    let end = text.len() - unsigned.len() + digits;
    let sign = if power.starts_with('-') { -1 } else { 1 };
    // "2e" and "5em" are a number and a unit.
    let alone = !text[end..].starts_with(char::is_alphanumeric);
    let power: i32 = unsigned[..digits].parse().ok().filter(|power| *power <= 300)?;
    (digits > 0 && alone).then_some((sign * power, end))
}

fn scaled(value: f64, text: &str, end: usize) -> (f64, usize) {
    let behind = text[end..].trim_start_matches([' ', '-']);
    for (word, scale) in SCALES {
        if let Some(rest) = behind.strip_prefix(word)
            && !rest.trim_start_matches('s').starts_with(char::is_alphanumeric)
        {
            return (value * scale, text.len() - rest.len());
        }
    }
    (value, end)
}

fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let read = [
            ("-3, +4.5 and 1,234,567.8 (2019-2020)", &[-3.0, 4.5, 1_234_567.8, 2019.0, 2020.0][..]),
            ("v1.2.3", &[1.2, 3.0]),
            ("12,34", &[12.34]),
            ("1,2345", &[1.2345]),
            ("1,2,3", &[1.0, 2.0, 3.0]),
            ("0,123", &[0.123]),
            ("1.234.567,8 and 1.234,56", &[1_234_567.8, 1234.56]),
            ("1 234 567 and 1'234", &[1_234_567.0, 1234.0]),
            ("1/2, 2 1/2, 1/2/2020", &[0.5, 2.5, 1.0, 2.0, 2020.0]),
            ("1e3, 2.5e-1, 3 * 10^2, 6.02 × 10^23, 5em", &[1000.0, 0.25, 300.0, 6.02e23, 5.0]),
            ("2 million people, $-5, -$6, .5, -.25", &[2e6, -5.0, -6.0, 0.5, -0.25]),
            ("3 thousandths", &[3.0]),
            ("none", &[]),
        ];
        for (text, expected) in read {
            let found = numbers(text);
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{text}: {found}");
            }
        }
    }

    #[test]
    fn every_text_is_read_to_its_end() {
        for text in
            ["1,", "1.", "1/", "1e", "1e+", "é1é", "1,234,", "99999999999999999999", "1 ", "."]
        {
            assert!(numbers(text).iter().all(|number| number.is_finite()), "{text}");
        }
    }
}
