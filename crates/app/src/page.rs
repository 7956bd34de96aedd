//! Pages of documentation that the program writes about itself, as Markdown of 100 columns.

/// The widest line.
const WIDTH: usize = 100;

/// A page while it is written.
pub struct Page(String);

impl Page {
    /// A page of this title, of which a comment says that it is not edited by hand.
    pub fn new(title: &str) -> Self {
        let note = "Written by `UPDATE_PAGES=1 cargo test --test cli reference`: change the code.";
        Self(format!("<!-- {note} -->\n\n# {title}\n"))
    }

    /// A heading of level 2, 3 or 4.
    pub fn heading(&mut self, level: usize, text: &str) {
        self.0.push_str(&format!("\n{} {text}\n", "#".repeat(level)));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.0.push('\n');
        self.0.push_str(&wrap(text, "", ""));
    }

    /// A list; nothing where it has no items.
    pub fn list(&mut self, items: impl IntoIterator<Item = String>) {
        for (place, item) in items.into_iter().enumerate() {
            if place == 0 {
                self.0.push('\n');
            }
            self.0.push_str(&wrap(&item, "- ", "  "));
        }
    }

    /// Lines that stand as they are.
    pub fn code(&mut self, language: &str, lines: &str) {
        self.0.push_str(&format!("\n```{language}\n{}\n```\n", lines.trim_end()));
    }

    /// The page's text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A text in lines of at most 100 columns, `first` before the first of them and `rest` before the
/// others. A word that is longer has a line of its own.
pub(crate) fn wrap(text: &str, first: &str, rest: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = rest.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_before_the_101st_column() {
        let wrapped = wrap(&"word ".repeat(60), "- ", "  ");
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(wrapped.lines().count(), 4);
        let long = "x".repeat(120);
        assert_eq!(wrap(&format!("a {long} b"), "# ", "# "), format!("# a\n# {long}\n# b\n"));
    }
}
