//! Grading one answer against its gold answers.

mod measure;

use std::collections::BTreeMap;

pub use measure::Measure;

/// Scores `answer` by `measure` against the best of the gold answers: 0..=1, 0 when there is no
/// gold answer.
pub fn grade(measure: Measure, answer: &str, gold: &[String]) -> f64 {
    let best = |score: &dyn Fn(&str) -> f64| gold.iter().map(|g| score(g)).fold(0.0, f64::max);
    let right = |right: bool| f64::from(u8::from(right));
    match measure {
        Measure::ExactMatch => {
            let answer = normalise(answer);
            best(&|gold| right(answer == normalise(gold)))
        }
        Measure::TokenF1 => {
            let answer = normalise(answer);
            best(&|gold| token_f1(&answer, &normalise(gold)))
        }
        Measure::Contains => right(lenient(answer, gold)),
        Measure::Label => {
            let answer = normalise(first_line(answer));
            best(&|gold| right(answer == normalise(gold)))
        }
        Measure::Numeric { tolerance } => {
            let found = numbers(answer);
            best(&|gold| {
                right(numbers(gold).first().is_some_and(|gold| near(&found, *gold, tolerance)))
            })
        }
        Measure::RougeL => {
            let answer = words(answer);
            best(&|gold| rouge_l(&answer, &words(gold)))
        }
    }
}

/// The lenient score: the normalised tokens of some gold answer stand in a row in the normalised
/// answer.
pub fn lenient(answer: &str, gold: &[String]) -> bool {
    let answer = normalise(answer);
    let answer: Vec<&str> = answer.split(' ').collect();
    gold.iter().map(|gold| normalise(gold)).any(|gold| {
        let gold: Vec<&str> = gold.split(' ').filter(|token| !token.is_empty()).collect();
        !gold.is_empty() && answer.windows(gold.len()).any(|window| window == gold)
    })
}

/// Macro-averaged F1 over every label that was predicted or is gold: pairs of (predicted, gold),
/// compared after normalisation. 0 without pairs.
pub fn macro_f1<P: AsRef<str>, G: AsRef<str>>(pairs: &[(P, G)]) -> f64 {
    let mut labels: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for (predicted, gold) in pairs {
        let (predicted, gold) =
            (normalise(first_line(predicted.as_ref())), normalise(gold.as_ref()));
        let hit = predicted == gold;
        let entry = labels.entry(predicted).or_default();
        entry.0 += usize::from(hit);
        entry.1 += 1;
        labels.entry(gold).or_default().2 += 1;
    }
    if labels.is_empty() {
        return 0.0;
    }
    let f1 = |(hits, predicted, gold): &(usize, usize, usize)| {
        2.0 * *hits as f64 / (predicted + gold) as f64
    };
    labels.values().map(f1).sum::<f64>() / labels.len() as f64
}

/// SQuAD normalisation: lower case, punctuation removed, the articles a, an, the removed, single
/// spaces.
///
/// The official script removes ASCII punctuation. Typographic quotes and ellipses are removed too,
/// since documents have them and questions don't. Typographic dashes become spaces, so that the
/// words around one stay apart.
pub fn normalise(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            '\u{2013}' | '\u{2014}' => clean.push(' '),
            '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{2026}' => {}
            c if c.is_ascii_punctuation() => {}
            c => clean.push(c),
        }
    }
    let tokens = clean.split_whitespace().filter(|token| !matches!(*token, "a" | "an" | "the"));
    tokens.collect::<Vec<_>>().join(" ")
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// F1 of the token multisets of two normalised texts. As in SQuAD, two empty texts agree.
fn token_f1(answer: &str, gold: &str) -> f64 {
    if answer.is_empty() || gold.is_empty() {
        return f64::from(u8::from(answer == gold));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    gold.split(' ').for_each(|token| *counts.entry(token).or_default() += 1);
    let common = answer
        .split(' ')
        .filter(|token| {
            counts.get_mut(token).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
        })
        .count();
    2.0 * common as f64 / (answer.split(' ').count() + gold.split(' ').count()) as f64
}

/// Lower-case runs of letters and digits, as ROUGE counts them.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn rouge_l(answer: &[String], gold: &[String]) -> f64 {
    if answer.is_empty() || gold.is_empty() {
        return 0.0;
    }
    let mut row = vec![0_usize; gold.len() + 1];
    for word in answer {
        let mut diagonal = 0;
        for (j, other) in gold.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    2.0 * row[gold.len()] as f64 / (answer.len() + gold.len()) as f64
}

/// Numbers in a text: optional sign, digits with commas between groups of three, a decimal point. A
/// minus is a sign only where no letter or digit stands before it ("2019-2020" has no negative
/// number).
fn numbers(text: &str) -> Vec<f64> {
    let chars: Vec<char> = text.chars().collect();
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        if !digit(i) {
            i += 1;
            continue;
        }
        let sign = i > 0
            && matches!(chars[i - 1], '-' | '\u{2212}')
            && (i < 2 || !chars[i - 2].is_alphanumeric());
        let mut number = String::from(if sign { "-" } else { "" });
        loop {
            if digit(i) {
                number.push(chars[i]);
                i += 1;
            } else if chars.get(i) == Some(&',') && (1..=3).all(|k| digit(i + k)) && !digit(i + 4) {
                i += 1;
            } else {
                break;
            }
        }
        if chars.get(i) == Some(&'.') && digit(i + 1) {
            number.push('.');
            i += 1;
            while digit(i) {
                number.push(chars[i]);
                i += 1;
            }
        }
        found.extend(number.parse::<f64>());
    }
    found
}

/// Added to every tolerance: 0.3 must be within 0.1 of 0.2, which binary fractions miss.
const ROUNDING: f64 = 1e-9;

/// Whether the first or the last number found is near the gold one. Answers put the number first
/// ("30 days") or last ("under rule 7 it is 30"); accepting any number would reward an answer that
/// lists many.
fn near(found: &[f64], gold: f64, tolerance: f64) -> bool {
    let unit = gold.abs().max(1.0);
    let allowed = (tolerance + ROUNDING) * unit;
    [found.first(), found.last()]
        .into_iter()
        .flatten()
        .any(|number| (number - gold).abs() <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gold(answers: &[&str]) -> Vec<String> {
        answers.iter().map(|answer| (*answer).to_owned()).collect()
    }

    #[test]
    fn normalisation_is_that_of_squad() {
        assert_eq!(normalise("  The  U.S.A.'s  an Apple, a day! "), "usas apple day");
        assert_eq!(normalise("“Zürich” – the city’s"), "zürich citys");
        assert_eq!(normalise("another theory"), "another theory");
        assert_eq!(normalise("..."), "");
    }

    #[test]
    fn exact_match_takes_the_best_gold_answer() {
        let gold = gold(&["Denver Broncos", "the Broncos"]);
        assert_eq!(grade(Measure::ExactMatch, "Broncos.", &gold), 1.0);
        assert_eq!(grade(Measure::ExactMatch, "The Denver Broncos won", &gold), 0.0);
        assert_eq!(grade(Measure::ExactMatch, "anything", &[]), 0.0);
    }

    #[test]
    fn token_f1_by_hand() {
        // Tokens: answer {denver, broncos, won}, gold {denver, broncos}: P 2/3, R 1, F 4/5.
        assert!(
            (grade(Measure::TokenF1, "the Denver Broncos won", &gold(&["Denver Broncos"])) - 0.8)
                .abs()
                < 1e-12
        );
        // A repeated token counts as often as gold holds it: common 1, F 2 / (2 + 1).
        assert!((grade(Measure::TokenF1, "yes yes", &gold(&["yes"])) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(grade(Measure::TokenF1, "", &gold(&["yes"])), 0.0);
        assert_eq!(grade(Measure::TokenF1, "the", &gold(&["a"])), 1.0);
    }

    #[test]
    fn contains_asks_for_whole_tokens_in_a_row() {
        let gold = gold(&["30 days"]);
        assert_eq!(grade(Measure::Contains, "You have 30 days, no more.", &gold), 1.0);
        assert_eq!(grade(Measure::Contains, "You have 130 days.", &gold), 0.0);
        assert_eq!(grade(Measure::Contains, "30 or 31 days", &gold), 0.0);
        assert!(!lenient("anything", &[String::from("the")]));
        assert!(!lenient("", &gold));
    }

    #[test]
    fn label_reads_the_first_line() {
        let gold = gold(&["card_arrival"]);
        assert_eq!(grade(Measure::Label, "\nCard_Arrival.\nBecause the card", &gold), 1.0);
        assert_eq!(grade(Measure::Label, "card arrival", &gold), 0.0);
        assert_eq!(grade(Measure::Label, "It is card_arrival", &gold), 0.0);
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(
            numbers("-3, +4.5 and 1,234,567.8 (2019-2020), v1.2.3"),
            [-3.0, 4.5, 1_234_567.8, 2019.0, 2020.0, 1.2, 3.0]
        );
        assert_eq!(numbers("12,34 or 1,2345"), [12.0, 34.0, 1.0, 2345.0]);
        assert!(numbers("none").is_empty());
        let exact = Measure::Numeric { tolerance: 0.0 };
        let loose = Measure::Numeric { tolerance: 0.1 };
        assert_eq!(grade(exact, "It costs $1,200.", &gold(&["1200"])), 1.0);
        assert_eq!(grade(exact, "Under rule 7 it is 30", &gold(&["30 days"])), 1.0);
        assert_eq!(grade(exact, "10 or 20 or 30 or 40", &gold(&["30"])), 0.0);
        assert_eq!(grade(loose, "0.3", &gold(&["0.2"])), 1.0);
        assert_eq!(grade(loose, "109", &gold(&["100"])), 1.0);
        assert_eq!(grade(loose, "111", &gold(&["100"])), 0.0);
    }

    #[test]
    fn rouge_l_by_hand() {
        // Lin (2004): "police killed the gunman" and "police kill the gunman": LCS 3 of 4 and 4.
        let reference = gold(&["police killed the gunman"]);
        assert_eq!(grade(Measure::RougeL, "police kill the gunman", &reference), 0.75);
        assert_eq!(grade(Measure::RougeL, "the gunman kill police", &reference), 0.5);
        assert_eq!(grade(Measure::RougeL, "", &reference), 0.0);
    }

    #[test]
    fn macro_f1_by_hand() {
        // a: P 1/2, R 1, F 2/3; b: P 1, R 1/2, F 2/3; c (only predicted): 0.
        let pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "c2")];
        // c and c2 both score 0: (2/3 + 2/3 + 0 + 0) / 4.
        assert!((macro_f1(&pairs) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(macro_f1::<&str, &str>(&[]), 0.0);
    }

    #[test]
    fn every_measure_is_bounded_and_perfect_on_its_own_gold_answer() {
        let texts =
            ["", "42", "the answer is 42", "Ünïcode — dash", "x y z x y z", "-1,000.5%", "\n\n"];
        for name in ["exact", "f1", "contains", "label", "numeric:0.5", "rouge-l"] {
            let measure: Measure = name.parse().unwrap();
            assert_eq!(measure.to_string(), name);
            for answer in texts {
                for other in texts {
                    let score = grade(measure, answer, &gold(&[other]));
                    assert!((0.0..=1.0).contains(&score), "{name} {answer} {other} {score}");
                }
            }
            assert_eq!(grade(measure, "42", &gold(&["42"])), 1.0);
        }
        assert_eq!("numeric".parse::<Measure>().unwrap(), Measure::Numeric { tolerance: 0.0 });
        assert!("numeric:-1".parse::<Measure>().is_err() && "bleu".parse::<Measure>().is_err());
    }
}
