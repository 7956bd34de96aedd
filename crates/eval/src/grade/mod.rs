//! Grading one answer against its gold answers.

#[cfg(test)]
mod cases;
pub mod labels;
mod measure;
mod normal;
mod numbers;

use std::collections::BTreeMap;

pub use measure::{Measure, Tolerance};
pub use normal::unify;
use normal::{Style, is_article, raw, tokens, without_articles};
pub use numbers::gold_number;

/// Scores `answer` by `measure` against the best of the gold answers: 0..=1, 0 when there is no
/// gold answer.
///
/// `None` for [`Measure::Json`] and [`Measure::Command`], which need more than the two texts.
pub fn grade(measure: Measure, answer: &str, gold: &[String]) -> Option<f64> {
    let best = |score: &dyn Fn(&str) -> f64| gold.iter().map(|g| score(g)).fold(0.0, f64::max);
    let right = |right: bool| f64::from(u8::from(right));
    let score = match measure {
        Measure::ExactMatch => {
            let answer = unify(answer);
            best(&|gold| right(Compared::of(&answer, gold).equal()))
        }
        Measure::TokenF1 => {
            let answer = unify(answer);
            best(&|gold| Compared::of(&answer, gold).f1())
        }
        Measure::Contains => right(lenient(answer, gold)),
        Measure::Label => {
            let answer = label(answer);
            best(&|gold| right(answer == label(gold)))
        }
        Measure::Numeric { tolerance } => {
            best(&|gold| right(numbers::near(answer, gold, tolerance)))
        }
        Measure::RougeL => best(&|gold| rouge_l(answer, gold)),
        Measure::Json | Measure::Command => return None,
    };
    Some(score)
}

/// The lenient score: the normalised tokens of some gold answer stand in a row in the normalised
/// answer.
pub fn lenient(answer: &str, gold: &[String]) -> bool {
    let answer = unify(answer);
    gold.iter().any(|gold| Compared::of(&answer, gold).contained())
}

/// A label as it is compared: the first line of a text, lower case, without the punctuation and
/// space around it.
pub fn label(text: &str) -> String {
    normal::label(&unify(text))
}

/// An answer and a gold answer in the form in which they are compared.
///
/// Usually that is SQuAD's: tokens without articles. A gold answer that ends with an article means
/// it ("A", "vitamin A"), so then both keep theirs; one that has no tokens at all ("?") is compared
/// as it stands.
enum Compared {
    Tokens {
        answer: Vec<String>,
        gold: Vec<String>,
    },
    /// The gold answer is an article: within a longer answer, its case tells it from a real one.
    Article {
        answer: Vec<String>,
        cased: Vec<String>,
        gold: Vec<String>,
        cased_gold: String,
    },
    Raw {
        answer: String,
        gold: String,
    },
}

impl Compared {
    /// `answer` is unified already, `gold` is not.
    fn of(answer: &str, gold: &str) -> Self {
        let gold = unify(gold);
        let gold_tokens = tokens(&gold, Style::Joined);
        let answer_tokens = tokens(answer, Style::Joined);
        match gold_tokens.last() {
            None => Self::Raw { answer: raw(answer), gold: raw(&gold) },
            Some(last) if is_article(last) && gold_tokens.len() == 1 => {
                let words = |text: &str| -> Vec<String> {
                    let words = text.split(|c: char| !c.is_alphanumeric());
                    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
                };
                let cased_gold = words(&gold).concat();
                let cased = words(answer);
                Self::Article { answer: answer_tokens, cased, gold: gold_tokens, cased_gold }
            }
            Some(last) if is_article(last) => {
                Self::Tokens { answer: answer_tokens, gold: gold_tokens }
            }
            Some(_) => Self::Tokens {
                answer: without_articles(&answer_tokens),
                gold: without_articles(&gold_tokens),
            },
        }
    }

    fn equal(&self) -> bool {
        match self {
            Self::Tokens { answer, gold } | Self::Article { answer, gold, .. } => answer == gold,
            Self::Raw { answer, gold } => answer == gold,
        }
    }

    fn contained(&self) -> bool {
        match self {
            Self::Tokens { answer, gold } => {
                answer.windows(gold.len()).any(|window| window == gold.as_slice())
            }
            Self::Article { cased, cased_gold, .. } => self.equal() || cased.contains(cased_gold),
            Self::Raw { answer, gold } => !gold.is_empty() && answer.contains(gold.as_str()),
        }
    }

    /// F1 of the token multisets.
    fn f1(&self) -> f64 {
        let (Self::Tokens { answer, gold } | Self::Article { answer, gold, .. }) = self else {
            return f64::from(u8::from(self.equal()));
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        gold.iter().for_each(|token| *counts.entry(token).or_default() += 1);
        let common = answer
            .iter()
            .filter(|token| {
                let left = counts.get_mut(token.as_str()).filter(|left| **left > 0);
                left.map(|left| *left -= 1).is_some()
            })
            .count();
        2.0 * common as f64 / (answer.len() + gold.len()) as f64
    }
}

/// The longest common subsequence of tokens; texts without any are compared as they stand.
fn rouge_l(answer: &str, gold: &str) -> f64 {
    let (answer, gold) = (unify(answer), unify(gold));
    let (words, others) = (tokens(&answer, Style::Parted), tokens(&gold, Style::Parted));
    if words.is_empty() || others.is_empty() {
        let same = !raw(&gold).is_empty() && raw(&answer) == raw(&gold);
        return f64::from(u8::from(same));
    }
    let mut row = vec![0_usize; others.len() + 1];
    for word in &words {
        let mut diagonal = 0;
        for (j, other) in others.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    2.0 * row[others.len()] as f64 / (words.len() + others.len()) as f64
}
