//! What counts as the same answer, case by case, measure by measure.

use super::{Measure, grade};

/// (measure, gold answer, answer, score).
const CASES: [(&str, &str, &str, f64); 159] = [
    // What SQuAD leaves out: case, articles, punctuation, space.
    ("exact", "the Denver Broncos", " Denver  broncos.", 1.0),
    ("exact", "Denver Broncos", "The Denver Broncos won", 0.0),
    ("exact", "U.S.A.", "usa", 1.0),
    ("exact", "the city's", "“the city’s”", 1.0),
    ("exact", "well-known", "wellknown", 1.0),
    ("exact", "Zürich – the city’s", "zürich citys", 1.0),
    ("exact", "**Paris**", "Paris", 1.0),
    ("exact", "another theory", "other theory", 0.0),
    // An answer that is an article, or punctuation alone.
    ("exact", "A", "", 0.0),
    ("exact", "A", "a", 1.0),
    ("exact", "A", "A.", 1.0),
    ("exact", "A", "The", 0.0),
    ("exact", "The", "the", 1.0),
    ("exact", "The", "a", 0.0),
    ("exact", "?", "?", 1.0),
    ("exact", "?", "!", 0.0),
    ("exact", "?", "", 0.0),
    ("exact", "vitamin A", "vitamin", 0.0),
    ("exact", "vitamin A", "Vitamin a", 1.0),
    ("contains", "A", "The answer is A.", 1.0),
    ("contains", "A", "A", 1.0),
    ("contains", "A", "a", 1.0),
    ("contains", "A", "This is a test.", 0.0),
    ("contains", "A", "", 0.0),
    ("contains", "The", "It is the one.", 0.0),
    ("contains", "vitamin A", "It lacks vitamin A only.", 1.0),
    ("contains", "vitamin A", "It lacks vitamin D only.", 0.0),
    ("contains", "?", "It ends with ?", 1.0),
    ("contains", "?", "It ends there.", 0.0),
    ("f1", "A", "", 0.0),
    ("f1", "A", "A", 1.0),
    ("f1", "the", "a", 0.0),
    ("f1", "?", "?", 1.0),
    ("f1", "?", "", 0.0),
    ("label", "A", "", 0.0),
    ("label", "A", "a.", 1.0),
    ("label", "A", "The", 0.0),
    ("rouge-l", "?", "?", 1.0),
    ("rouge-l", "?", "!", 0.0),
    // Decimals and thousands.
    ("exact", "3.5", "35", 0.0),
    ("exact", "3.5", "3.5.", 1.0),
    ("exact", ".5", "0.5", 1.0),
    ("exact", ".5", "5", 0.0),
    ("exact", "1,234", "1234", 1.0),
    ("exact", "1 234", "1,234", 1.0),
    ("exact", "1\u{202f}234\u{202f}567", "1'234'567", 1.0),
    ("exact", "1,5", "15", 0.0),
    ("exact", "1,5", "1.5", 0.0),
    ("exact", "1,234.5", "1234.5", 1.0),
    ("exact", "10:30", "1030", 0.0),
    ("exact", "1_2", "12", 0.0),
    ("exact", "1.2.3", "123", 0.0),
    ("contains", "3.5", "It is 3.5 metres.", 1.0),
    ("contains", "35", "It is 3.5 metres.", 0.0),
    ("contains", "30 days", "You have 130 days.", 0.0),
    ("contains", "30 days", "You have 30 days, no more.", 1.0),
    ("contains", "1234", "All 1,234 of them.", 1.0),
    ("contains", "5", "It costs $5.", 1.0),
    ("f1", "3.5", "35", 0.0),
    ("label", "3.5", "35", 0.0),
    ("label", ".5", "5", 0.0),
    ("label", ".5", ".5", 1.0),
    ("rouge-l", "3.5", "35", 0.0),
    // Signs.
    ("exact", "-5", "5", 0.0),
    ("exact", "-5", "\u{2212}5", 1.0),
    ("exact", "A-", "A+", 0.0),
    ("exact", "O-", "O", 0.0),
    ("exact", "10-5", "105", 0.0),
    ("exact", "2019-2020", "2019–2020", 1.0),
    ("exact", "covid-19", "covid19", 1.0),
    ("contains", "5", "It is -5 there.", 0.0),
    ("contains", "-5", "It is -5 there.", 1.0),
    ("f1", "5", "-5", 0.0),
    ("label", "-1", "1", 0.0),
    ("label", "-1", "−1", 1.0),
    ("rouge-l", "-5", "5", 0.0),
    // Operators and names with signs.
    ("exact", "<", ">", 0.0),
    ("exact", "<", "<", 1.0),
    ("exact", "<=", "<", 0.0),
    ("exact", "C#", "C++", 0.0),
    ("exact", "C#", "c", 0.0),
    ("exact", "C++", "c++", 1.0),
    ("exact", "a + b", "a - b", 0.0),
    ("exact", "x * y", "x y", 0.0),
    ("exact", "1/2", "12", 0.0),
    ("exact", "x^2", "x2", 0.0),
    ("exact", "!=", "==", 0.0),
    ("exact", "->", "<-", 0.0),
    ("exact", "5%", "5", 0.0),
    ("exact", "$5", "€5", 0.0),
    ("exact", "--help", "help", 0.0),
    ("contains", "C#", "Written in C++ and C.", 0.0),
    ("contains", "C#", "Written in C# (mostly).", 1.0),
    ("f1", "<", ">", 0.0),
    ("f1", "C#", "C++", 0.0),
    ("label", "<", ">", 0.0),
    ("label", "C++", "C#", 0.0),
    ("label", ":-)", ":-(", 0.0),
    ("rouge-l", "C#", "C++", 0.0),
    // Labels: the first line, but for case and what stands around it.
    ("label", "card_arrival", "\nCard_Arrival.\nBecause the card", 1.0),
    ("label", "card_arrival", "card arrival", 0.0),
    ("label", "card_arrival", "It is card_arrival", 0.0),
    ("label", "the office", "office", 0.0),
    ("label", "B", "(B)", 1.0),
    // Unicode.
    ("exact", "１２３", "123", 1.0),
    ("exact", "caf\u{e9}", "cafe\u{301}", 1.0),
    ("exact", "café", "cafe", 0.0),
    ("exact", "10²", "102", 0.0),
    ("exact", "10²", "10^2", 1.0),
    ("exact", "1½", "11/2", 0.0),
    ("exact", "ﬁne", "fine", 1.0),
    ("exact", "北京。", "北京", 1.0),
    ("contains", "北京", "首都是北京。", 1.0),
    ("contains", "东京", "首都是北京。", 0.0),
    ("f1", "北京市", "北京", 0.8),
    ("rouge-l", "北京市", "北京", 0.8),
    ("f1", "東京タワー", "東京", 4.0 / 7.0),
    ("exact", "30", "٣٠", 1.0),
    ("numeric", "30", "३० दिन", 1.0),
    // Marks of a text format, and what looks like them.
    ("exact", "Paris", "`Paris`", 1.0),
    ("exact", "Paris", "# Paris", 1.0),
    ("exact", "1", "#1", 0.0),
    ("exact", "5", "\\(5\\)", 1.0),
    ("exact", "5 - 3", "5 3", 0.0),
    ("exact", "R&D", "RD", 1.0),
    ("exact", "v1.2", "v12", 0.0),
    ("exact", "$1,200", "$ 1200", 1.0),
    ("exact", "1,234,567.89", "1234567.89", 1.0),
    ("contains", "10:30", "It leaves at 10:30.", 1.0),
    ("contains", "a + b", "So a + b holds.", 1.0),
    ("f1", "C++ and Java", "Java and C++", 1.0),
    ("rouge-l", "well-known", "well known", 1.0),
    ("numeric", "2,000", "2 000 people", 1.0),
    ("numeric", "1.234,5", "1234.5", 1.0),
    ("numeric", "-3", "\u{2212}3 °C", 1.0),
    ("numeric", "0.5", "1/2", 1.0),
    ("numeric", "2000000", "2 million", 1.0),
    ("numeric", "5", "none", 0.0),
    ("numeric", "72", "\\boxed{72} for 2", 1.0),
    ("label", "5%", "5", 0.0),
    // Overlap. Tokens {denver, broncos, won} and {denver, broncos}: P 2/3, R 1.
    ("f1", "Denver Broncos", "the Denver Broncos won", 0.8),
    ("f1", "yes", "yes yes", 2.0 / 3.0),
    ("f1", "yes", "", 0.0),
    // Lin (2004): LCS 3 of 4 and 4.
    ("rouge-l", "police killed the gunman", "police kill the gunman", 0.75),
    ("rouge-l", "police killed the gunman", "the gunman kill police", 0.5),
    ("rouge-l", "police killed the gunman", "", 0.0),
    // Numbers.
    ("numeric", "1200", "It costs $1,200.", 1.0),
    ("numeric", "30 days", "Under rule 7 it is 30", 1.0),
    ("numeric", "30", "10 or 20 or 30 or 40", 0.0),
    ("numeric", "-5", "5", 0.0),
    ("numeric", "15", "1,5", 0.0),
    ("numeric", "1.5", "1,5 m", 1.0),
    ("numeric", "5%", "0.05", 0.0),
    ("numeric", "5%", "５ percent", 1.0),
    ("numeric", "some 3 apples\n#### 72", "2 + 70 makes 72. The answer is 72, not 3.", 1.0),
    ("numeric", "72", "The answer is 3. Rule 72", 0.0),
    ("numeric:0.1", "0.2", "0.3", 1.0),
    ("numeric:10%", "100", "109", 1.0),
    ("numeric:10%", "100", "111", 0.0),
];

#[test]
fn each_case_scores_as_it_should() {
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|(name, gold, answer, expected)| {
            let measure: Measure = name.parse().unwrap();
            let found = grade(measure, answer, &[(*gold).to_owned()]).unwrap();
            let same = (found - expected).abs() < 1e-9;
            (!same).then(|| {
                format!("{name}: gold {gold:?}, answer {answer:?}: {found}, not {expected}")
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_best_of_several_gold_answers_counts_and_none_is_zero() {
    let gold = ["Denver Broncos".to_owned(), "the Broncos".to_owned()];
    assert_eq!(grade(Measure::ExactMatch, "Broncos.", &gold), Some(1.0));
    assert_eq!(grade(Measure::ExactMatch, "anything", &[]), Some(0.0));
    assert_eq!(grade(Measure::Json, "{}", &gold), None);
}

#[test]
fn every_measure_is_bounded_and_perfect_on_its_own_gold_answer() {
    let texts = [
        "",
        "42",
        "the answer is 42",
        "Ünïcode — dash",
        "x y z x y z",
        "-1,000.5%",
        "\n\n",
        "a",
        "1 234 5",
        "²",
        "½",
        "- -- --- -a a- +",
        "北京 the 1,2,3",
        "$ 5 * 3 ** 2",
        ".",
        ".5.5",
        "£€",
    ];
    for name in ["exact", "f1", "contains", "label", "numeric:0.5", "rouge-l"] {
        let measure: Measure = name.parse().unwrap();
        for answer in texts {
            for other in texts {
                let score = grade(measure, answer, &[other.to_owned()]).unwrap();
                assert!((0.0..=1.0).contains(&score), "{name} {answer} {other} {score}");
            }
            let itself = grade(measure, answer, &[answer.to_owned()]).unwrap();
            let asks = !answer.trim().is_empty() && !name.starts_with("numeric");
            assert!(!asks || itself == 1.0, "{name} {answer}: {itself}");
        }
        assert_eq!(grade(measure, "42", &["42".to_owned()]), Some(1.0));
    }
}

/// Texts of what is hard to read: no text is refused, and each is its own right answer.
#[test]
fn whatever_is_written_is_graded() {
    const PIECES: [&str; 48] = [
        "0", "1", "23", "456", "7890", ".", ",", "'", "/", "-", "--", "+", "++", " ", "  ", "\n",
        "e", "E5", "×", "10^", "^", "%", "$", "€", "#", "*", "**", "<", ">", "=", "!", "&", "|",
        "_", "`", "é", "e\u{301}", "٣", "北", "İ", "ß", "½", "²", "–", "\u{2212}", "a", "The",
        "million",
    ];
    let mut random = crate::stats::Random::new(5);
    for _ in 0..4000 {
        let length = 1 + random.below(9);
        let text: String = (0..length).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let other: String = (0..length).map(|_| PIECES[random.below(PIECES.len())]).collect();
        for name in ["exact", "f1", "contains", "label", "numeric:1%", "rouge-l"] {
            let measure: Measure = name.parse().unwrap();
            let gold = std::slice::from_ref(&text);
            let score = grade(measure, &other, gold).unwrap();
            assert!((0.0..=1.0).contains(&score), "{name}: {text:?}, {other:?}: {score}");
            let asks = !text.trim().is_empty() && !name.starts_with("numeric");
            let itself = grade(measure, &text, gold).unwrap();
            assert!(!asks || (itself - 1.0).abs() < 1e-9, "{name}: {text:?}: {itself}");
        }
        let number = super::gold_number(&text);
        assert!(number.is_none_or(f64::is_finite), "{text:?}: {number:?}");
    }
}
