//! Texts made comparable: one spelling for what Unicode can spell in several ways, and the tokens
//! that answers are compared by.
//!
//! SQuAD's normalisation removes punctuation and articles. What it also removes is part of the
//! answer in other sets: the point of 3.5, the minus of -5, `<`, the `#` of C#, an answer that is
//! nothing but "A". Here signs, decimals, operators and currencies stay, and an answer that would
//! have nothing left keeps everything.

use unicode_normalization::UnicodeNormalization;

const EN_DASH: char = '\u{2013}';

/// A run of the same sign is looked at so far: a line of a thousand dashes is a line.
const RUN: isize = 16;

/// The words that SQuAD leaves out.
const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// One spelling for what is the same: NFKC (full-width digits and letters become plain, accents are
/// composed and kept), straight quotes, one minus and hyphen, one kind of space.
///
/// Two things that NFKC would change the value of are spelt out before: 10² is 10^2, not 102, and
/// 1½ is 1 1/2, not 11/2.
pub fn unify(text: &str) -> String {
    let mut spelt = String::with_capacity(text.len());
    let mut last: Option<char> = None;
    let mut raised = false;
    for c in text.chars() {
        match c {
            '²' | '³' | '¹' | '\u{2070}'..='\u{2079}' => {
                if !raised && last.is_some_and(|last| !last.is_whitespace()) {
                    spelt.push('^');
                }
                raised = true;
            }
            '\u{207b}' if !raised && last.is_some_and(|last| !last.is_whitespace()) => {
                spelt.push('^');
                raised = true;
            }
            '¼'..='¾' | '\u{2150}'..='\u{215e}' | '\u{2189}' => {
                if last.is_some_and(|last| last.is_ascii_digit()) {
                    spelt.push(' ');
                }
                raised = false;
            }
            _ => raised = false,
        }
        spelt.push(c);
        last = Some(c);
    }
    spelt.nfkc().filter(|c| !is_invisible(*c)).map(plain).collect()
}

/// Soft hyphens, joiners and marks of direction, which nobody sees.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn plain(c: char) -> char {
    match c {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{b4}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '«' | '»' => '"',
        // The fraction slash, the division slash.
        '\u{2044}' | '\u{2215}' => '/',
        // Hyphen, non-breaking hyphen, figure dash, minus. An en dash may part sentences: see
        // `Around::role`.
        '\u{2010}'..='\u{2012}' | '\u{2212}' | '\u{fe63}' => '-',
        c if c.is_whitespace() && c != '\n' => ' ',
        c if !c.is_ascii() => digit(c).unwrap_or(c),
        c => c,
    }
}

/// The plain digit of one in another script.
fn digit(c: char) -> Option<char> {
    // Where the ten digits of Arabic (twice), N'Ko, the scripts of India, Thai, Lao, Tibetan,
    // Burmese, Khmer and Mongolian begin.
    const ZEROS: [u32; 19] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
        0xe50, 0xed0, 0xf20, 0x1040, 0x17e0, 0x1810,
    ];
    let code = u32::from(c);
    let value =
        ZEROS.iter().find_map(|zero| code.checked_sub(*zero).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

/// What is left of an answer whose normal form is empty: trimmed, lower case.
pub(super) fn raw(unified: &str) -> String {
    unified.trim().to_lowercase().replace(EN_DASH, "-")
}

/// How a text is cut into tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As SQuAD does: punctuation inside of a word is taken out ("U.S." is one token).
    Joined,
    /// As ROUGE does: punctuation parts words ("U.S." is two tokens).
    Parted,
}

/// Lower-case tokens of a unified text, articles included.
///
/// A token is a word, a number with its sign and decimals, an operator, or a currency; where a
/// script has no spaces between words (Chinese, Japanese, Thai and their neighbours), each
/// character is one, as those who measure in these languages do it.
pub(super) fn tokens(unified: &str, style: Style) -> Vec<String> {
    let joined = without_separators(unified);
    let chars: Vec<char> = joined.chars().flat_map(char::to_lowercase).collect();
    let mut cut = Cut { tokens: Vec::new(), current: String::new() };
    for (at, c) in chars.iter().enumerate() {
        let around = Around { chars: &chars, at };
        match around.role() {
            Role::Part => cut.current.push(one_dash(*c)),
            Role::Alone => {
                cut.end();
                cut.current.push(one_dash(*c));
                cut.end();
            }
            Role::Space => cut.end(),
            Role::Dropped if style == Style::Parted => cut.end(),
            Role::Dropped => {}
        }
    }
    cut.end();
    cut.tokens
}

/// Whether a token is an article.
pub(super) fn is_article(token: &str) -> bool {
    ARTICLES.contains(&token)
}

/// The tokens without articles. One at the end is no article but what is meant, as in "vitamin A".
pub(super) fn without_articles(tokens: &[String]) -> Vec<String> {
    let last = tokens.len().saturating_sub(1);
    let kept = tokens.iter().enumerate().filter(|(at, token)| *at == last || !is_article(token));
    kept.map(|(_, token)| token.clone()).collect()
}

fn one_dash(c: char) -> char {
    if c == EN_DASH { '-' } else { c }
}

struct Cut {
    tokens: Vec<String>,
    current: String,
}

impl Cut {
    fn end(&mut self) {
        if !self.current.is_empty() {
            let token = std::mem::take(&mut self.current);
            // .5 is 0.5
            let token = match token.strip_prefix('.') {
                Some(digits) => format!("0.{digits}"),
                None => token,
            };
            self.tokens.push(token);
        }
    }
}

/// What becomes of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It belongs to the token it touches.
    Part,
    /// It is a token.
    Alone,
    /// It parts tokens.
    Space,
    /// It is taken out.
    Dropped,
}

/// A character among others.
struct Around<'a> {
    chars: &'a [char],
    at: usize,
}

impl Around<'_> {
    fn get(&self, offset: isize) -> Option<char> {
        self.at.checked_add_signed(offset).and_then(|at| self.chars.get(at)).copied()
    }

    fn digit(&self, offset: isize) -> bool {
        self.get(offset).is_some_and(|c| c.is_ascii_digit())
    }

    fn word(&self, offset: isize) -> bool {
        self.get(offset).is_some_and(char::is_alphanumeric)
    }

    fn space(&self, offset: isize) -> bool {
        self.get(offset).is_none_or(char::is_whitespace)
    }

    fn role(&self) -> Role {
        let Some(c) = self.get(0) else { return Role::Space };
        match c {
            c if c.is_whitespace() => Role::Space,
            c if is_unspaced(c) => Role::Alone,
            '-' => self.hyphen(),
            EN_DASH if self.digit(1) || self.digit(-1) || self.is_operator() => self.hyphen(),
            EN_DASH => Role::Space,
            '+' => self.plus(),
            '#' if self.word(-1) || self.word(1) => Role::Part,
            '.' if self.digit(1) && (self.digit(-1) || !self.word(-1)) => Role::Part,
            ',' | ':' if self.digit(-1) && self.digit(1) => Role::Part,
            '<' | '>' | '=' | '^' | '%' | '/' | '|' => Role::Alone,
            '!' if self.get(1) == Some('=') => Role::Alone,
            '&' if self.get(1) == Some('&') || self.get(-1) == Some('&') => Role::Alone,
            '*' if self.is_times() => Role::Alone,
            '$' if self.digit(1) || self.digit(-1) || self.currency_before_space() => Role::Alone,
            // An em dash, an ellipsis.
            '\u{2014}' | '\u{2015}' | '\u{2026}' => Role::Space,
            c if is_punctuation(c) && self.digit(-1) && self.digit(1) => Role::Space,
            c if is_punctuation(c) => Role::Dropped,
            c if is_sign(c) => Role::Alone,
            _ => Role::Part,
        }
    }

    /// A hyphen joins words, parts numbers, or is a minus.
    fn hyphen(&self) -> Role {
        let arrow = self.get(1) == Some('>') || self.get(-1) == Some('<');
        if arrow {
            return Role::Alone;
        }
        let run = |direction: isize| {
            (1..RUN).take_while(|step| self.get(direction * step) == Some('-')).count() as isize
        };
        let (before, behind) = (run(-1), run(1));
        if before + behind > 0 {
            // --flag, or a dash that parts sentences.
            let flag = self.space(-before - 1) && self.word(behind + 1);
            return if flag { Role::Part } else { Role::Space };
        }
        let number = self.get(1) == Some('.') && self.digit(2);
        match (self.word(-1), self.word(1) || number) {
            // 10-5 and 2019-2020 are two numbers.
            (true, true) if self.digit(-1) && self.digit(1) => Role::Alone,
            // well-known is one word.
            (true, true) => Role::Dropped,
            // -5, -x, A-
            (false, true) | (true, false) => Role::Part,
            (false, false) if self.is_operator() => Role::Alone,
            (false, false) => Role::Space,
        }
    }

    /// A plus belongs to what it touches on one side alone: +5, C++, A+.
    fn plus(&self) -> Role {
        let touches = |offset: isize| {
            let mut at = offset;
            while self.get(at) == Some('+') && at.abs() < RUN {
                at += offset;
            }
            self.word(at)
        };
        if touches(-1) != touches(1) { Role::Part } else { Role::Alone }
    }

    /// `*` between two operands, touching both or neither; elsewhere it marks emphasis or an item.
    fn is_times(&self) -> bool {
        let single = self.get(-1) != Some('*') && self.get(1) != Some('*');
        single && ((self.word(-1) && self.word(1)) || self.is_operator())
    }

    /// Stands with spaces around it between two numbers, or two letters, or one of each.
    fn is_operator(&self) -> bool {
        let operand = |direction: isize| {
            self.get(direction) == Some(' ')
                && self.word(2 * direction)
                && (self.digit(2 * direction) || !self.word(3 * direction))
        };
        operand(-1) && operand(1)
    }

    /// "$ 5"
    fn currency_before_space(&self) -> bool {
        self.get(1) == Some(' ') && self.digit(2)
    }
}

/// Characters of scripts that put no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}'       // Thai, Lao
        | '\u{1000}'..='\u{109f}'   // Burmese
        | '\u{1780}'..='\u{17ff}'   // Khmer
        | '\u{3005}' | '\u{3007}'
        | '\u{3040}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // kana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}'
    )
}

/// Punctuation that means nothing by itself, in ASCII and beyond.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c,
            '¡' | '¿' | '·' | '\u{2016}'..='\u{2027}' | '\u{2039}' | '\u{203a}' | '\u{203b}'
            | '\u{2043}' | '\u{25cf}' | '\u{25a0}' | '\u{3001}'..='\u{3003}'
            | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{3030}' | '\u{30fb}'
            | '\u{60c}' | '\u{61b}' | '\u{61f}' | '\u{6d4}' | '\u{964}' | '\u{965}')
}

/// Operators and currencies beyond ASCII.
fn is_sign(c: char) -> bool {
    matches!(c,
        '¢'..='¥' | '\u{20a0}'..='\u{20bf}' | '±' | '×' | '÷' | '¬' | '√' | '‰'
        | '\u{2190}'..='\u{21ff}' | '\u{2200}'..='\u{22ff}')
}

/// The text with thousands joined: 1,234,567 and 1 234 567 and 1'234'567 are 1234567.
///
/// Groups must be of three digits after one to three that do not begin with 0. Anything else keeps
/// its comma, so that 1,5 is never 15.
fn without_separators(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut last: Option<char> = None;
    while let Some(c) = rest.chars().next() {
        let begins = c.is_ascii_digit()
            && !last.is_some_and(|last| last.is_alphanumeric() || matches!(last, '.' | ','));
        if begins && let Some((digits, length)) = grouped(rest) {
            out.push_str(&digits);
            (last, rest) = (Some('0'), &rest[length..]);
            continue;
        }
        out.push(c);
        (last, rest) = (Some(c), &rest[c.len_utf8()..]);
    }
    out
}

/// The digits of a number in groups of three at the beginning of a text, and how long it is.
pub(super) fn grouped(text: &str) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = digits(0);
    if !(1..=3).contains(&first) || bytes[0] == b'0' {
        return None;
    }
    let separator = *bytes.get(first).filter(|byte| matches!(byte, b',' | b' ' | b'\''))?;
    let mut number = text[..first].to_owned();
    let mut end = first;
    while bytes.get(end) == Some(&separator) && digits(end + 1) == 3 {
        number.push_str(&text[end + 1..end + 4]);
        end += 4;
    }
    // A group of another length makes it a list, or a number with something else behind it.
    let more = bytes.get(end) == Some(&separator) && digits(end + 1) > 0;
    (end > first && !(more && separator != b' ')).then_some((number, end))
}

/// A label as it is compared: the first line of an answer without case, space and the punctuation
/// around it.
///
/// What is inside stays, and so does punctuation that is all there is.
pub(super) fn label(unified: &str) -> String {
    let line = unified.trim_start().lines().next().unwrap_or_default();
    let line = raw(line);
    let inner = trim_start(&line).trim_end_matches(is_edge);
    if inner.chars().any(char::is_alphanumeric) { inner.to_owned() } else { line }
}

fn is_edge(c: char) -> bool {
    c.is_whitespace()
        || (is_punctuation(c) && !matches!(c, '+' | '-' | '#' | '%' | '$' | '<' | '>' | '='))
}

/// Takes punctuation from the beginning, but not the point of .5.
fn trim_start(line: &str) -> &str {
    let mut rest = line;
    while let Some(first) = rest.chars().next().filter(|first| is_edge(*first)) {
        let behind = &rest[first.len_utf8()..];
        if first == '.' && behind.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        rest = behind;
    }
    rest
}
