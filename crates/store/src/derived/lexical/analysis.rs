//! From text to terms: what is indexed of a text, and what a query looks for.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// Longer words are no words.
const LONGEST_WORD: usize = 64;

/// Turns texts of one language into terms: words in small letters, stop words left out, cut to
/// their stems (Snowball), without accents. Stems of different languages are different terms, even
/// where they are spelt alike.
pub(super) struct Analyser {
    analyser: TextAnalyzer,
    /// What every term begins with.
    prefix: String,
}

impl Analyser {
    /// For a language by its ISO 639-1 code; one without a stemmer keeps its words as they are.
    pub(super) fn new(code: &str) -> Self {
        let mut builder = TextAnalyzer::builder(Words)
            .filter_dynamic(RemoveLongFilter::limit(LONGEST_WORD))
            .filter_dynamic(LowerCaser);
        if let Some(language) = stemmed(code) {
            if let Some(stop_words) = StopWordFilter::new(language) {
                builder = builder.filter_dynamic(stop_words);
            }
            builder = builder.filter_dynamic(Stemmer::new(language));
        }
        let analyser = builder.filter_dynamic(AsciiFoldingFilter).build();
        Analyser { analyser, prefix: format!("{code}\u{1f}") }
    }

    /// The terms of `text`, in order.
    pub(super) fn terms(&mut self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.analyser.token_stream(text).process(&mut |token| {
            tokens.push(Token { text: format!("{}{}", self.prefix, token.text), ..token.clone() });
        });
        tokens
    }
}

/// The language of a code, where there is a stemmer for it.
fn stemmed(code: &str) -> Option<Language> {
    Some(match code {
        "ar" => Language::Arabic,
        "da" => Language::Danish,
        "de" => Language::German,
        "el" => Language::Greek,
        "en" => Language::English,
        "es" => Language::Spanish,
        "fi" => Language::Finnish,
        "fr" => Language::French,
        "hu" => Language::Hungarian,
        "it" => Language::Italian,
        "nl" => Language::Dutch,
        "no" => Language::Norwegian,
        "pt" => Language::Portuguese,
        "ro" => Language::Romanian,
        "ru" => Language::Russian,
        "sv" => Language::Swedish,
        "ta" => Language::Tamil,
        "tr" => Language::Turkish,
        _ => return None,
    })
}

/// Letters and digits that stand together make a word. Scripts written without spaces give pairs of
/// neighbouring characters instead, as Lucene's CJK analysis does.
#[derive(Clone, Copy)]
struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        let mut words = WordStream { tokens: Vec::new(), next: 0 };
        let mut start = 0;
        for (at, c) in text.char_indices() {
            let before = text[start..at].chars().next();
            if before.is_some_and(|first| kind(first) != kind(c)) {
                words.add(text, start, at);
                start = at;
            }
        }
        words.add(text, start, text.len());
        words
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Word,
    Unspaced,
    Between,
}

fn kind(c: char) -> Kind {
    match c {
        '\u{0e01}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17d3}' => {
            Kind::Unspaced
        }
        '\u{2e80}'..='\u{2fdf}' | '\u{3041}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' => {
            Kind::Unspaced
        }
        '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => Kind::Unspaced,
        c if c.is_alphanumeric() => Kind::Word,
        _ => Kind::Between,
    }
}

/// The words of a text, cut beforehand.
struct WordStream {
    tokens: Vec<Token>,
    /// The next one's place, counted from 1 while one is current.
    next: usize,
}

impl WordStream {
    /// Takes a stretch of characters of one kind.
    fn add(&mut self, text: &str, start: usize, end: usize) {
        let stretch = &text[start..end];
        match stretch.chars().next().map(kind) {
            Some(Kind::Word) => self.push(stretch, start),
            Some(Kind::Unspaced) => {
                let mut places: Vec<usize> = stretch.char_indices().map(|(at, _)| at).collect();
                places.push(stretch.len());
                match places.len() {
                    2 => self.push(stretch, start),
                    _ => places
                        .windows(3)
                        .for_each(|pair| self.push(&stretch[pair[0]..pair[2]], start + pair[0])),
                }
            }
            Some(Kind::Between) | None => {}
        }
    }

    fn push(&mut self, word: &str, start: usize) {
        let position = self.tokens.len();
        let (offset_from, offset_to) = (start, start + word.len());
        self.tokens.push(Token {
            offset_from,
            offset_to,
            position,
            text: word.to_owned(),
            position_length: 1,
        });
    }
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        self.next += 1;
        self.next <= self.tokens.len()
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next - 1]
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.tokens[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(code: &str, text: &str) -> Vec<String> {
        let prefix = format!("{code}\u{1f}");
        let terms = Analyser::new(code).terms(text);
        terms
            .into_iter()
            .map(|token| token.text.strip_prefix(&prefix).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn words_are_stemmed_by_their_language() {
        assert_eq!(
            terms("en", "The Boats' harbours, and 12 cafés"),
            ["boat", "harbour", "12", "cafe"]
        );
        assert_eq!(terms("de", "Die Häuser und das Haus"), ["haus", "haus"]);
        assert_eq!(terms("fr", "Les chevaux étaient fatigués"), ["cheval", "fatigu"]);
        assert_eq!(terms("", "The Häuser"), ["the", "hauser"]);
    }

    #[test]
    fn scripts_without_spaces_give_pairs() {
        assert_eq!(terms("", "東京タワー 2026年"), ["東京", "京タ", "タワ", "ワー", "2026", "年"]);
        assert_eq!(terms("", "ab東c"), ["ab", "東", "c"]);
        assert!(terms("en", " -- ").is_empty() && terms("en", "").is_empty());
    }
}
