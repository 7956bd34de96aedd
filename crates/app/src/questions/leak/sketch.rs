//! What of a question decides whether another one is the same.

use super::words::{
    Role, SAME_LETTERS, canonical, figure, is_pointed, is_unspaced, letter_role, role,
};

/// A word, figure or operator of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) role: Role,
    /// Whether it is a figure, an operator or a word such as `before`: those agree exactly or the
    /// questions differ.
    pub(super) exact: bool,
    /// Whether it is written as a name, with a capital inside a sentence.
    pub(super) name: bool,
}

/// A question taken apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    /// Every word, figure and operator in order.
    pub(super) tokens: Vec<Token>,
    /// What is neither function nor negation, in order: places in `tokens`.
    pub(super) content: Vec<usize>,
    /// Figures, operators and words such as `before`, sorted.
    pub(super) figures: Vec<String>,
    /// Words that turn the answer round.
    pub(super) negations: usize,
    /// Whether it is written without spaces. Many an embedder knows no such script, and takes all
    /// texts in it for the same.
    pub(super) unspaced: bool,
}

impl Sketch {
    /// Takes a text apart.
    pub(super) fn of(text: &str) -> Self {
        let tokens = order_joined(tokens(text));
        let content = (0..tokens.len()).filter(|at| tokens[*at].role == Role::Content).collect();
        let exact = tokens.iter().filter(|token| token.exact);
        let mut figures: Vec<String> = exact.map(|token| token.text.clone()).collect();
        figures.sort_unstable();
        let negations = tokens.iter().filter(|token| token.role == Role::Negation).count();
        Self { tokens, content, figures, negations, unspaced: text.chars().any(is_unspaced) }
    }

    /// The content tokens in order.
    pub(super) fn content(&self) -> impl Iterator<Item = &Token> {
        self.content.iter().map(|at| &self.tokens[*at])
    }

    /// The word that leads the phrase which begins with the token at this place, if one does.
    pub(super) fn leading(&self, at: usize) -> Option<&str> {
        let mut before = self.tokens[..at].iter().rev();
        let word = before.find(|token| token.role != Role::Function)?;
        (word.role == Role::Leading).then_some(word.text.as_str())
    }
}

/// Splits a text into words, figures and operators, in lower case.
fn tokens(text: &str) -> Vec<Token> {
    let mut text = text.replace(['\u{2019}', '\u{2018}', '`'], "'");
    if text.chars().any(is_unspaced) {
        for (written, same) in SAME_LETTERS {
            text = text.replace(written, same);
        }
    }
    let letters: Vec<char> = text.chars().collect();
    let mut reader = Reader { letters: &letters, code: is_code(&text), tokens: Vec::new() };
    let mut at = 0;
    while at < letters.len() {
        at = reader.read(at);
    }
    reader.tokens
}

/// Whether a text holds code or a formula, where every letter counts.
fn is_code(text: &str) -> bool {
    [
        "==", "!=", "->", "=>", "();", "){", ") {", "[", "{", ";\n", " = ", " < ", " > ", " <= ",
        " >= ",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

/// Reads the tokens of a text from left to right.
struct Reader<'a> {
    letters: &'a [char],
    code: bool,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn letter(&self, at: usize) -> Option<char> {
        self.letters.get(at).copied()
    }

    /// Reads what begins at a place; the place behind it.
    fn read(&mut self, at: usize) -> usize {
        let letter = self.letters[at];
        if is_unspaced(letter) && letter.is_alphanumeric() {
            self.push(letter.to_string(), letter_role(letter), false, false);
            at + 1
        } else if letter.is_numeric() || self.is_sign(at) {
            self.number(at)
        } else if letter.is_alphanumeric() || letter == '_' {
            self.word(at)
        } else if is_operator(letter) {
            self.operator(at)
        } else {
            at + 1
        }
    }

    /// Whether a minus or a plus belongs to the number after it.
    fn is_sign(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.letter(before));
        matches!(self.letters[at], '-' | '\u{2212}')
            && self.letter(at + 1).is_some_and(char::is_numeric)
            && before.is_none_or(|before| before.is_whitespace() || before == '(')
            && self.tokens.last().is_none_or(|last| !last.exact)
    }

    /// A number without the commas of its thousands and the zeros at its end. With letters behind
    /// it, it is a word that agrees exactly or not at all.
    fn number(&mut self, start: usize) -> usize {
        let mut text = String::new();
        let mut at = start;
        if !self.letters[at].is_numeric() {
            text.push('-');
            at += 1;
        }
        while let Some(letter) = self.letter(at) {
            let digit = |at: usize| self.letter(at).is_some_and(|c| c.is_ascii_digit());
            let thousand =
                letter == ',' && (1..=3).all(|after| digit(at + after)) && !digit(at + 4);
            let decimal = matches!(letter, '.' | ',') && digit(at + 1) && !text.contains('.');
            if letter.is_numeric() {
                text.push(letter);
            } else if decimal && !thousand {
                text.push('.');
            } else if !thousand {
                break;
            }
            at += 1;
        }
        if text.contains('.') {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        while let Some(letter) = self.letter(at).filter(|c| c.is_alphanumeric() && !is_unspaced(*c))
        {
            text.extend(letter.to_lowercase());
            at += 1;
        }
        self.push(text, Role::Content, true, false);
        at
    }

    /// A word, with the parts that an apostrophe cuts off.
    fn word(&mut self, start: usize) -> usize {
        let inside = |c: char| (c.is_alphanumeric() && !is_unspaced(c)) || c == '_';
        let mut at = start;
        while self.letter(at).is_some_and(inside) {
            at += 1;
        }
        // C++, C#
        while matches!(self.letter(at), Some('+' | '#'))
            && !self.letter(at + 1).is_some_and(char::is_alphanumeric)
            && at - start <= 3
        {
            at += 1;
        }
        let written: String = self.letters[start..at].iter().collect();
        let sentence = self.letters[..start].iter().rev().find(|c| !c.is_whitespace());
        let name = written.chars().next().is_some_and(char::is_uppercase)
            && sentence.is_some_and(|c| !matches!(c, '.' | '?' | '!' | ':' | '"' | '\n'));
        let lower = written.to_lowercase();
        if self.letter(at) == Some('\'') && self.letter(at + 1) == Some('t') && lower.ends_with('n')
        {
            let stem = &lower[..lower.len() - 1];
            let whole = if stem == "ca" { "can" } else { stem };
            self.push_word(whole, false);
            self.push("not".to_owned(), Role::Negation, false, false);
            return at + 2;
        }
        self.push_word(&lower, name);
        at
    }

    fn push_word(&mut self, lower: &str, name: bool) {
        let text = canonical(lower);
        let digits = text.contains(|c: char| c.is_ascii_digit() || c == '+' || c == '#');
        if self.code {
            let negates = role(text) == Role::Negation;
            let role = if negates { Role::Negation } else { Role::Content };
            self.push(text.to_owned(), role, digits, name);
        } else if let Some(figure) = figure(text) {
            self.push(figure.to_owned(), Role::Content, true, false);
        } else if text == "a" {
            // The article; a name where it is written as one.
            let role = if name { Role::Content } else { Role::Function };
            self.push(text.to_owned(), role, false, name);
        } else {
            // A and B are names, I is none.
            let letter = name && text != "i" && text.chars().count() == 1;
            let role = if letter { Role::Content } else { role(text) };
            self.push(text.to_owned(), role, digits || is_pointed(text), name);
        }
    }

    /// Operators that stand together are one. A hyphen or a slash between letters is none, nor is
    /// a mark at the end of a sentence.
    fn operator(&mut self, start: usize) -> usize {
        let mut at = start;
        let mut text = String::new();
        while let Some(letter) = self.letter(at).filter(|letter| is_operator(*letter)) {
            text.push(match letter {
                '\u{2212}' | '\u{2013}' => '-',
                '×' => '*',
                '÷' => '/',
                other => other,
            });
            at += 1;
        }
        let alphabetic =
            |at: Option<usize>| at.and_then(|at| self.letter(at)).is_some_and(char::is_alphabetic);
        let between = alphabetic(start.checked_sub(1)) && alphabetic(Some(at));
        let hyphen =
            matches!(text.as_str(), "-" | "/" | "&") && (between || !self.near_figure(start, at));
        let mark = text.chars().all(|c| c == '!')
            && !self.letter(at).is_some_and(|c| c.is_alphanumeric() || c == '(');
        let emphasis = text.chars().all(|c| c == '*') && !self.code && !self.near_figure(start, at);
        if (self.code || !hyphen) && !mark && !emphasis {
            self.push(text, Role::Content, true, false);
        }
        at
    }

    /// Whether a figure or a single letter, as in a formula, stands beside `start..end`.
    fn near_figure(&self, start: usize, end: usize) -> bool {
        let beside = |letters: &mut dyn Iterator<Item = &char>| {
            let word: Vec<&char> = letters
                .skip_while(|c| c.is_whitespace())
                .take_while(|c| c.is_alphanumeric() || **c == '(' || **c == ')')
                .collect();
            word.iter().any(|c| c.is_numeric()) || word.len() == 1
        };
        beside(&mut self.letters[..start].iter().rev()) || beside(&mut self.letters[end..].iter())
    }

    fn push(&mut self, text: String, role: Role, exact: bool, name: bool) {
        self.tokens.push(Token { text, role, exact, name });
    }
}

fn is_operator(letter: char) -> bool {
    "+-\u{2212}\u{2013}*/×÷=<>≤≥≠^%&|!~$€£¥→√±".contains(letter)
}

/// Puts two words joined by `and` or `or` into one order.
fn order_joined(mut tokens: Vec<Token>) -> Vec<Token> {
    for at in 1..tokens.len().saturating_sub(1) {
        let joined = tokens[at].role == Role::Joining
            && tokens[at - 1].role == Role::Content
            && tokens[at + 1].role == Role::Content;
        if joined && tokens[at - 1].text > tokens[at + 1].text {
            tokens.swap(at - 1, at + 1);
        }
    }
    tokens
}
