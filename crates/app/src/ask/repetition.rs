//! Small models fall into loops. So an answer ends where it would say a sentence a second time.

use std::ops::ControlFlow;

/// Passes text on until a sentence comes a second time. Text that may still turn out to be a
/// repetition is held back, so that readers of the stream never see one.
pub(crate) struct RepetitionGuard<'a> {
    on_text: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
    said: Vec<String>,
    /// The sentence being written: what of it was passed on, and what is held back.
    passed: String,
    held: String,
    repeated: bool,
    text: String,
}

impl<'a> RepetitionGuard<'a> {
    pub(crate) fn new(on_text: &'a mut dyn FnMut(&str) -> ControlFlow<()>) -> Self {
        Self {
            on_text,
            said: Vec::new(),
            passed: String::new(),
            held: String::new(),
            repeated: false,
            text: String::new(),
        }
    }

    /// Takes the next piece of text; breaks when a sentence was repeated or the reader wants no
    /// more.
    pub(crate) fn push(&mut self, piece: &str) -> ControlFlow<()> {
        // An empty piece only asks whether anybody still listens.
        if piece.is_empty() {
            return (self.on_text)("");
        }
        for c in piece.chars() {
            self.held.push(c);
            if matches!(c, '.' | '!' | '?' | '\n') {
                self.sentence_end()?;
            }
        }
        let sentence = format!("{}{}", self.passed, self.held);
        let beginning = sentence.trim_start();
        if !self.said.iter().any(|said| said.starts_with(beginning)) {
            self.pass()?;
        }
        ControlFlow::Continue(())
    }

    fn sentence_end(&mut self) -> ControlFlow<()> {
        let sentence = format!("{}{}", self.passed, self.held).trim().to_owned();
        // Single words such as `1.` and `e.g.` come again in good answers.
        let several_words = sentence.split_whitespace().count() > 1;
        if several_words && self.said.contains(&sentence) {
            self.repeated = true;
            self.held.clear();
            return ControlFlow::Break(());
        }
        self.pass()?;
        self.passed.clear();
        self.said.push(sentence);
        ControlFlow::Continue(())
    }

    fn pass(&mut self) -> ControlFlow<()> {
        let held = std::mem::take(&mut self.held);
        self.passed.push_str(&held);
        self.text.push_str(&held);
        if held.is_empty() { ControlFlow::Continue(()) } else { (self.on_text)(&held) }
    }

    /// Ends the answer: passes on what was held back, unless it is the beginning of a repetition.
    /// Returns all text that was passed on.
    pub(crate) fn finish(mut self) -> String {
        let sentence = format!("{}{}", self.passed, self.held).trim().to_owned();
        let begun_again =
            !sentence.is_empty() && self.said.iter().any(|said| said.starts_with(&sentence));
        if !self.repeated && !begun_again {
            // The answer is over, whether or not the reader wants more.
            let _ = self.pass();
        }
        let end = self.text.trim_end().len();
        self.text.truncate(end);
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&str]) -> (String, String, bool) {
        let mut streamed = String::new();
        let mut stopped = false;
        let text = {
            let mut pass = |piece: &str| {
                streamed.push_str(piece);
                ControlFlow::Continue(())
            };
            let mut guard = RepetitionGuard::new(&mut pass);
            for piece in pieces {
                if guard.push(piece).is_break() {
                    stopped = true;
                    break;
                }
            }
            guard.finish()
        };
        (text, streamed.trim_end().to_owned(), stopped)
    }

    #[test]
    fn a_loop_ends_before_it_shows() {
        let (text, streamed, stopped) =
            through(&["The gull", " sings.", " The gull", " sings.", " The gull"]);
        assert_eq!(
            (text.as_str(), streamed.as_str(), stopped),
            ("The gull sings.", "The gull sings.", true)
        );
        let (text, ..) = through(&["A line\nA li", "ne\nA line\n"]);
        assert_eq!(text, "A line");
        let (text, streamed, _) = through(&["A line\n", "A li"]);
        assert_eq!((text.as_str(), streamed.as_str()), ("A line", "A line"));
    }

    #[test]
    fn what_only_begins_alike_passes() {
        let pieces = ["The gull sings. The gull", " sleeps. 1. One. 1. Two, e.g. three"];
        let (text, streamed, stopped) = through(&pieces);
        assert_eq!(text, pieces.concat());
        assert_eq!((streamed, stopped), (pieces.concat(), false));
    }
}
