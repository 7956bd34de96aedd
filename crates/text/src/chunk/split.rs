//! Cutting a stretch of text at its own joints: lines, sentences, words, and at last between
//! characters.

use std::ops::Range;

use crate::Sizer;
use crate::blocks::trimmed;

/// Where text may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// After each line.
    Lines,
    /// After each sentence.
    Sentences,
    /// Between words.
    Words,
}

/// Cuts `span` into parts of at most `budget` tokens, at the first of `levels` that suffices for
/// each part, then between words, then anywhere. Parts are in order and cover all but white space.
pub(crate) fn split(
    text: &str,
    span: Range<usize>,
    levels: &[Level],
    budget: usize,
    sizer: &dyn Sizer,
) -> Vec<(Range<usize>, usize)> {
    let mut parts = Vec::new();
    let levels: Vec<Level> = levels.iter().copied().chain([Level::Words]).collect();
    cut(text, span, &levels, budget, sizer, &mut parts);
    parts
}

/// Recursion is as deep as there are levels.
fn cut(
    text: &str,
    span: Range<usize>,
    levels: &[Level],
    budget: usize,
    sizer: &dyn Sizer,
    parts: &mut Vec<(Range<usize>, usize)>,
) {
    let span = trimmed(text, span);
    if span.is_empty() {
        return;
    }
    let tokens = sizer.tokens(&text[span.clone()]);
    if tokens <= budget {
        return parts.push((span, tokens));
    }
    let Some((level, finer)) = levels.split_first() else {
        return between_characters(text, span, budget, sizer, parts);
    };
    let mut start = span.start;
    for end in ends(&text[span.clone()], *level) {
        cut(text, start..span.start + end, finer, budget, sizer, parts);
        start = span.start + end;
    }
    cut(text, start..span.end, finer, budget, sizer, parts);
}

/// No tokenizer makes more tokens than bytes, so parts of `budget` bytes are small enough.
fn between_characters(
    text: &str,
    span: Range<usize>,
    budget: usize,
    sizer: &dyn Sizer,
    parts: &mut Vec<(Range<usize>, usize)>,
) {
    let mut start = span.start;
    while start < span.end {
        let mut end = text.floor_char_boundary((start + budget.max(4)).min(span.end));
        if end <= start {
            end = span.end;
        }
        let part = trimmed(text, start..end);
        if !part.is_empty() {
            let tokens = sizer.tokens(&text[part.clone()]);
            parts.push((part, tokens));
        }
        start = end;
    }
}

/// Offsets at which a part of `text` ends, the end of `text` itself left out.
fn ends(text: &str, level: Level) -> Vec<usize> {
    match level {
        Level::Lines => text.match_indices('\n').map(|(at, _)| at + 1).collect(),
        Level::Sentences => sentence_ends(text),
        Level::Words => {
            let spaces = text.char_indices().filter(|(_, c)| c.is_whitespace());
            spaces.map(|(at, c)| at + c.len_utf8()).collect()
        }
    }
}

/// A sentence ends at `. ! ? …` and closing quotes or brackets, before white space and no small
/// letter, unless the word before the dot is an abbreviation or an initial. Ideographic full stops
/// end one anywhere.
fn sentence_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '。' | '！' | '？' => ends.push(at + c.len_utf8()),
            '.' | '!' | '?' | '…' => {
                let mut end = at + c.len_utf8();
                while let Some((_, c)) = chars.next_if(|(_, c)| ".!?…\"')]»”’".contains(*c))
                {
                    end += c.len_utf8();
                }
                let rest = &text[end..];
                let next = rest.trim_start();
                let goes_on =
                    next.starts_with(char::is_lowercase) || !rest.starts_with(char::is_whitespace);
                let abbreviates = c == '.' && is_abbreviation(&text[..at]);
                if !goes_on && !abbreviates {
                    ends.push(end);
                }
            }
            _ => {}
        }
    }
    ends
}

fn is_abbreviation(before: &str) -> bool {
    const KNOWN: &[&str] = &[
        "mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "fig", "figs", "eq", "no",
        "nos", "vol", "pp", "cf", "al", "inc", "ltd", "co", "jr", "sr", "approx", "dept", "ca",
        "viz",
    ];
    // No known one is longer; a word without end must not make this slow.
    let near = &before[before.floor_char_boundary(before.len().saturating_sub(16))..];
    let word = near.rsplit(|c: char| !c.is_alphanumeric() && c != '.').next().unwrap_or("");
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    initial || KNOWN.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Words;

    fn sentences(text: &str) -> Vec<&str> {
        let parts = split(text, 0..text.len(), &[Level::Sentences], 1, &OneEach);
        parts.into_iter().map(|(span, _)| &text[span]).collect()
    }

    /// Counts sentences as single tokens, so that nothing finer is cut.
    struct OneEach;
    impl Sizer for OneEach {
        fn tokens(&self, text: &str) -> usize {
            1 + sentence_ends(text).iter().filter(|&&end| end < text.len()).count()
        }
    }

    #[test]
    fn sentences_end_where_a_reader_stops() {
        assert_eq!(
            sentences("Dr. J. Smith paid 3.50 (e.g. in cash). \"Why?\" he asked. Nobody knew!"),
            ["Dr. J. Smith paid 3.50 (e.g. in cash).", "\"Why?\" he asked.", "Nobody knew!"]
        );
        assert_eq!(sentences("一。二。三"), ["一。", "二。", "三"]);
    }

    #[test]
    fn what_has_no_joints_is_cut_between_characters() {
        let text = "ä".repeat(100);
        let parts = split(&text, 0..text.len(), &[Level::Sentences], 5, &Words);
        assert_eq!(parts.first().unwrap().0.start, 0);
        assert_eq!(parts.last().unwrap().0.end, text.len());
        assert!(parts.windows(2).all(|pair| pair[0].0.end == pair[1].0.start));
        assert!(parts.iter().all(|(_, tokens)| *tokens <= 5));
    }
}
