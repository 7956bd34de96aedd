//! Names and figures as a page writes them.

/// A fragment name for a set: letters and digits, everything else a dash.
pub(super) fn anchor(set: &str) -> String {
    let clean: String = set.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    format!("set-{clean}")
}

/// Figures come with ASCII hyphens and plain spaces, which suit a terminal; a page can afford the
/// true minus sign, and must not break a line before "%".
pub(super) fn typeset(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let sign = matches!(before, ' ' | '[') && (next == ' ' || next.is_ascii_digit());
        out.push(match c {
            '-' if sign => '\u{2212}',
            ' ' if next == '%' => '\u{a0}',
            c => c,
        });
        before = c;
    }
    out
}
