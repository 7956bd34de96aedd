//! Cutting a stretch of text where it is least harmful: between lines, sentences, words, and only
//! if nothing else helps, between characters.

use std::ops::Range;

use crate::Sizer;
use crate::blocks::trimmed;

/// Bytes of the longest character in UTF-8: a shorter step would find no boundary to cut at.
const LONGEST_CHARACTER: usize = 4;
/// How many bytes before a dot are looked at for an abbreviation: no known one is longer, and a
/// word without end must not make this slow.
const LONGEST_ABBREVIATION: usize = 16;

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
    let mut splitter = Splitter { text, budget, sizer, parts: Vec::new() };
    let levels: Vec<Level> = levels.iter().copied().chain([Level::Words]).collect();
    splitter.cut(span, &levels);
    splitter.parts
}

/// A text on its way into parts of at most `budget` tokens.
struct Splitter<'a> {
    text: &'a str,
    budget: usize,
    sizer: &'a dyn Sizer,
    /// The parts so far, in order, each with its size in tokens.
    parts: Vec<(Range<usize>, usize)>,
}

impl Splitter<'_> {
    /// Cuts `span` at the first level, what is still too large at the next one, and so on. The
    /// recursion is as deep as there are levels.
    fn cut(&mut self, span: Range<usize>, levels: &[Level]) {
        let span = trimmed(self.text, span);
        if span.is_empty() {
            return;
        }
        let tokens = self.sizer.tokens(&self.text[span.clone()]);
        if tokens <= self.budget {
            return self.parts.push((span, tokens));
        }
        let Some((level, finer)) = levels.split_first() else {
            return self.cut_between_characters(span);
        };
        let mut start = span.start;
        for end in ends(&self.text[span.clone()], *level) {
            self.cut(start..span.start + end, finer);
            start = span.start + end;
        }
        self.cut(start..span.end, finer);
    }

    /// No tokenizer makes more tokens than bytes, so parts of `budget` bytes are small enough.
    fn cut_between_characters(&mut self, span: Range<usize>) {
        let step = self.budget.max(LONGEST_CHARACTER);
        let mut start = span.start;
        while start < span.end {
            let mut end = self.text.floor_char_boundary((start + step).min(span.end));
            if end <= start {
                end = span.end;
            }
            let part = trimmed(self.text, start..end);
            if !part.is_empty() {
                let tokens = self.sizer.tokens(&self.text[part.clone()]);
                self.parts.push((part, tokens));
            }
            start = end;
        }
    }
}

/// Byte offsets at which a part of `text` ends, without the end of `text` itself.
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

/// A sentence ends at `. ! ? …`, with the quotes or brackets that close behind it, if white space
/// follows and then no small letter. It does not end where the word before the dot is an
/// abbreviation or an initial. Ideographic full stops always end a sentence.
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
    let near =
        &before[before.floor_char_boundary(before.len().saturating_sub(LONGEST_ABBREVIATION))..];
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
