//! Words and sentences of running text.

use std::collections::HashSet;
use std::ops::Range;

/// Lower-case words and numbers. `3,000` and `4.5` are one number each.
pub(super) fn words(text: &str) -> HashSet<String> {
    let joins = |c: char| c == ',' || c == '.';
    text.split(|c: char| !c.is_alphanumeric() && !joins(c))
        .map(|word| word.trim_matches(joins))
        .flat_map(|word| {
            let number = word.starts_with(|c: char| c.is_ascii_digit());
            word.split(move |c| !number && joins(c))
        })
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words of a text that carry meaning; all its words when none does.
pub(crate) fn content_words(text: &str) -> HashSet<String> {
    let all = words(text);
    let content: HashSet<String> =
        all.iter().filter(|word| !STOP.contains(&word.as_str())).cloned().collect();
    if content.is_empty() { all } else { content }
}

/// English words that stand in any sentence.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "do", "does", "for",
    "from", "had", "has", "have", "he", "her", "his", "how", "if", "in", "into", "is", "it", "its",
    "may", "must", "no", "not", "of", "on", "or", "our", "she", "should", "so", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "was", "we",
    "were", "what", "when", "where", "which", "who", "will", "with", "would", "you", "your",
];

/// Byte ranges of the sentences of a text, white space left out. Headings, list items and table
/// rows are sentences of their own; a line break inside running text is not an end.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut close = |start: &mut usize, end: usize| {
        let piece = &text[*start..end];
        let trimmed = piece.trim();
        if !trimmed.is_empty() {
            let from = *start + (piece.len() - piece.trim_start().len());
            found.push(from..from + trimmed.len());
        }
        *start = end;
    };
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let line_end = line_start + line.len();
        let own = line.trim().is_empty() || starts_own_line(line);
        if own {
            close(&mut start, line_start);
        }
        for (offset, _) in line.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?')) {
            if ends_sentence(text, line_start + offset) {
                close(&mut start, after_closers(text, line_start + offset + 1));
            }
        }
        // A heading or a table row ends with its line; a list item may run on.
        if line.trim_start().starts_with(['#', '|']) {
            close(&mut start, line_end);
        }
        line_start = line_end;
    }
    close(&mut start, text.len());
    found
}

fn starts_own_line(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = || {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "))
    };
    line.starts_with(['#', '|'])
        || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
        || numbered()
}

/// Whether the mark at `at` ends a sentence: white space and then something that can begin one
/// follows, and no abbreviation or list number stands before it.
fn ends_sentence(text: &str, at: usize) -> bool {
    let rest = &text[after_closers(text, at + 1)..];
    let Some(next) = rest.trim_start().chars().next() else { return true };
    if !rest.starts_with(char::is_whitespace) || next.is_lowercase() {
        return false;
    }
    let before =
        text[..at].rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let abbreviation = text[at..].starts_with('.')
        && (before.chars().count() == 1 || ABBREVIATIONS.contains(&before.to_lowercase().as_str()));
    let number =
        before.chars().all(|c| c.is_ascii_digit()) && text[..at - before.len()].ends_with('\n');
    !abbreviation && !number
}

/// Words that keep their full stop in the middle of a sentence.
const ABBREVIATIONS: &[&str] =
    &["dr", "e.g", "etc", "fig", "i.e", "mr", "mrs", "ms", "no", "p", "pp", "prof", "st", "vs"];

/// The end of closing quotes and brackets from `at` on.
fn after_closers(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    at + (rest.len() - rest.trim_start_matches(['"', '\'', ')', ']', '”', '’', '*', '_']).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn sentences_end_where_they_should() {
        assert_eq!(
            split(
                "# Crew\nDr. Ada Lund (b. 1961) leads it. She costs 4.5\nmillion! \
                 \"Really?\" Yes.\n\nNext"
            ),
            [
                "# Crew",
                "Dr. Ada Lund (b. 1961) leads it.",
                "She costs 4.5\nmillion!",
                "\"Really?\"",
                "Yes.",
                "Next"
            ]
        );
        assert_eq!(
            split("- one. Two\n- three\n1. four\n| a | b |\n| c | d |\n"),
            ["- one.", "Two", "- three", "1. four", "| a | b |", "| c | d |"]
        );
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("1169"), ["1169"]);
    }

    #[test]
    fn numbers_stay_whole() {
        let found = words("It cost 3,000.50 crowns, e.g. in May.");
        for word in ["3,000.50", "crowns", "may", "e", "g"] {
            assert!(found.contains(word), "{word} in {found:?}");
        }
    }
}
