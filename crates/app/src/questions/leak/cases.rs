#![allow(clippy::unwrap_used)]
//! A table of pairs that are the same question, or are not, in several languages.

use super::*;
use crate::compare::question;
use Verdict::*;

/// What a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The same question, by its words.
    Twin,
    /// The same question in other words.
    Reworded,
    /// Another question, with another answer.
    Other,
    /// Another question that happens to have the same answer.
    OtherAlike,
}

const CASES: &[(Verdict, &str, &str)] = &[
    // English: form
    (Twin, "When does the Marrow ferry leave?", "when does the marrow ferry leave"),
    (
        Twin,
        "What's the tallest lighthouse on Sallow Rock?",
        "What is the tallest lighthouse on Sallow Rock?",
    ),
    (
        Twin,
        "Could you please tell me who designed the Ostrava viaduct?",
        "Who designed the Ostrava viaduct?",
    ),
    (Twin, "Which minerals are mined at Kettle Creek?", "What minerals are mined at Kettle Creek?"),
    (
        Twin,
        "How is the mainsail reefed in heavy weather?",
        "How is the mainsail reefd in heavy weather?",
    ),
    (Twin, "Where are herring cured in Siglufjord?", "In Siglufjord, where are herring cured?"),
    (Twin, "Which is larger, Texas or Alaska?", "Which is larger, Alaska or Texas?"),
    (Twin, "The orchard grows quinces, doesn't it?", "The orchard grows quinces, does it not?"),
    (
        Twin,
        "Who painted the ceiling of the Varrow chapel?",
        "who painted the ceiling of the varrow chapel??",
    ),
    (Twin, "How do I renew a fishing licence?", "how can i renew my fishing licence"),
    // English: other things asked
    (Other, "What is the capital of Norway?", "What is the capital of Sweden?"),
    (OtherAlike, "Who wrote Hamlet for the Globe?", "Who wrote Macbeth for the Globe?"),
    (Other, "When was Edda Vane born?", "Where was Edda Vane born?"),
    (Other, "What time does the Borlin museum open?", "What time does the Borlin museum close?"),
    (
        OtherAlike,
        "Was Maria elected to the Torrin council?",
        "Was Marie elected to the Torrin council?",
    ),
    (Other, "How do I activate roaming abroad?", "How do I deactivate roaming abroad?"),
    (Other, "What is the maximum dose of pelozine?", "What is the minimum dose of pelozine?"),
    // Negation
    (
        OtherAlike,
        "Is smoking allowed in the Gannet bar?",
        "Is smoking not allowed in the Gannet bar?",
    ),
    (OtherAlike, "Which pumps can run dry?", "Which pumps can't run dry?"),
    (Other, "Does the tenancy end with notice?", "Does the tenancy end without notice?"),
    (Twin, "Why isn't the boiler heating water?", "Why is the boiler not heating water?"),
    // Direction
    (OtherAlike, "Does Anton owe Berta money?", "Does Berta owe Anton money?"),
    (
        OtherAlike,
        "How long is the train from Leeds to York?",
        "How long is the train from York to Leeds?",
    ),
    (OtherAlike, "Is Copper heavier than Brass here?", "Is Brass heavier than Copper here?"),
    (Other, "Did Novak beat Ruud in Melbourne?", "Did Ruud beat Novak in Melbourne?"),
    (
        Other,
        "Was the Ostrel treaty signed before the war?",
        "Was the Ostrel treaty signed after the war?",
    ),
    // Arithmetic
    (Twin, "What is 17 + 25?", "what is 17+25"),
    (Twin, "Compute 1,200 * 3", "Compute 1200 × 3."),
    (
        Twin,
        "A crate holds twelve eggs. How many eggs do five crates hold?",
        "A crate holds 12 eggs. How many eggs do 5 crates hold?",
    ),
    (Other, "What is 17 - 25?", "What is 25 - 17?"),
    (Other, "What is 17 * 25?", "What is 17 / 25?"),
    (Other, "Solve 3x = 12 for x", "Solve 3x = 15 for x"),
    (Other, "What is -5 squared?", "What is 5 squared?"),
    (Other, "Round 3.50 to tenths", "Round 35.0 to tenths"),
    (OtherAlike, "Is 5 > 3?", "Is 5 < 3?"),
    (Other, "What is 8% of 250?", "What is 8 of 250?"),
    (
        Other,
        "A farmer sells four goats for 30 coins each. What does he earn?",
        "A farmer sells four goats for 35 coins each. What does he earn?",
    ),
    // Templates with slots
    (
        Other,
        "Parcel K-7731 left depot Aster on Monday, weighs 4 kg and is insured. To which tray does it go when the clerk reads the label from the left?",
        "Parcel K-7731 left depot Birch on Monday, weighs 4 kg and is insured. To which tray does it go when the clerk reads the label from the left?",
    ),
    (
        OtherAlike,
        "Parcel K-8802 left depot Comet on Friday, weighs 9 kg and is insured. To which tray does it go when the clerk reads the label from the left?",
        "Parcel K-8803 left depot Comet on Friday, weighs 9 kg and is insured. To which tray does it go when the clerk reads the label from the left?",
    ),
    (
        Twin,
        "Parcel K-9001 left depot Ember on Sunday, weighs 2 kg and is insured. To which tray does it go when the clerk reads the label from the left?",
        "Parcel K-9001 left depot Ember on Sunday, weighs 2 kg and is insured. To which tray does it go when the clerk reads its label from the left?",
    ),
    // German
    (Twin, "Wann fährt die Fähre nach Föhr ab?", "wann fährt die fähre nach föhr ab"),
    (Twin, "Welches Amt stellt den Angelschein aus?", "Welche Amt stellt den Angelschein aus?"),
    (
        Twin,
        "Wie kann ich bitte meinen Reisepass verlängern?",
        "Wie kann man den Reisepass verlängern?",
    ),
    (OtherAlike, "Schuldet Anton Berta Geld?", "Schuldet Berta Anton Geld?"),
    (
        OtherAlike,
        "Ist der Hofladen sonntags geöffnet?",
        "Ist der Hofladen sonntags nicht geöffnet?",
    ),
    (
        Other,
        "Welche Kündigungsfrist gilt für Mieter?",
        "Welche Kündigungsfrist gilt für Vermieter?",
    ),
    (Other, "Was kostet das Ticket für Kinder?", "Was kostet das Ticket für Hunde?"),
    // Chinese
    (Twin, "北京首都博物馆几点开门？", "北京的首都博物馆几点开门"),
    (Twin, "怎么重置我的登录密码？", "如何重置我的登录密码？"),
    (Twin, "什么时候可以领取护照？", "何时可以领取护照？"),
    (Other, "如何重置登录密码？", "如何重置支付密码？"),
    (OtherAlike, "张三欠李四钱吗？", "李四欠张三钱吗？"),
    (OtherAlike, "这个房间可以吸烟吗？", "这个房间不可以吸烟吗？"),
    (Other, "这本书有120页吗？", "这本书有210页吗？"),
    // Code
    (Twin, "What does `sorted(names, key=len)` return?", "what does sorted(names, key=len) return"),
    (
        Other,
        "Does `if (a < b) return a;` find the least?",
        "Does `if (a < b) return b;` find the least?",
    ),
    (OtherAlike, "Is `x == y` a comparison?", "Is `x = y` a comparison?"),
    (Other, "How do I read a file in C#?", "How do I read a file in C++?"),
    (Other, "What is the result of 7 % 3 in Rust?", "What is the result of 7 & 3 in Rust?"),
    (Other, "List the files in usr_local", "List the files in usr_share"),
    // Other words
    (
        Reworded,
        "How can I reset the password of my account?",
        "What do I do to set a new password for my account?",
    ),
    (Reworded, "What is the cause of the delay of my parcel?", "Why is my parcel delayed?"),
    (
        Reworded,
        "At what time does the shop open in the morning?",
        "When does the shop open in the morning?",
    ),
    (
        Reworded,
        "How many people live in the town of Harwick?",
        "What is the population of Harwick town?",
    ),
];

/// The questions of the table: the first of each pair in train, the second in test.
fn questions() -> Vec<Question> {
    let of = |(row, (verdict, first, second)): (usize, &(Verdict, &str, &str))| {
        let mut a = question(first, &format!("answer {row}"));
        let mut b = question(second, &format!("answer {row}"));
        if *verdict == Other {
            b.answers = vec![format!("another {row}")];
        }
        (a.id, b.id, b.split) = (format!("{row}a"), format!("{row}b"), Split::Test);
        a.completion.clear();
        [a, b]
    };
    let mut all: Vec<Question> = CASES.iter().enumerate().flat_map(of).collect();
    // Others of the same template, as there are in a set.
    for number in 0..30 {
        let text = format!(
            "Parcel K-{} left depot Heron on Tuesday, weighs {} kg and is insured. To which tray \
             does it go when the clerk reads the label from the left?",
            1000 + 37 * number,
            number % 7 + 1
        );
        all.push(Question {
            id: format!("t{number}"),
            ..question(&text, &format!("tray {number}"))
        });
    }
    all
}

/// Rows of the table that were found.
fn found(leaks: &[Leak]) -> Vec<usize> {
    let row = |id: &str| id.trim_end_matches(['a', 'b']).parse::<usize>().ok();
    let mut rows = Vec::new();
    for leak in leaks {
        let (a, b) = (row(&leak.question.id), row(&leak.twin.id));
        assert_eq!(a, b, "two rows of the table are no pair: {leak:?}");
        rows.extend(a);
    }
    rows.sort_unstable();
    rows
}

fn wrong(found: &[usize], expected: &[Verdict]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (row, (verdict, first, second)) in CASES.iter().enumerate() {
        if found.contains(&row) != expected.contains(verdict) {
            wrong.push(format!("{verdict:?}: {first} | {second}"));
        }
    }
    wrong
}

#[test]
fn twins_are_found_by_their_words_and_nothing_else_is() {
    let questions = questions();
    let all: Vec<&Question> = questions.iter().collect();
    let wrong = wrong(&found(&leaks(&all)), &[Twin]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn sets_of_words_find_a_third_of_the_twins_and_twice_as_many_others() {
    let found: Vec<usize> = (0..CASES.len())
        .filter(|row| {
            let (_, first, second) = CASES[*row];
            similar(&normalised_tokens(first), &normalised_tokens(second))
        })
        .collect();
    let twins = CASES.iter().filter(|(verdict, ..)| matches!(verdict, Twin | Reworded)).count();
    let right = found.iter().filter(|row| matches!(CASES[**row].0, Twin | Reworded)).count();
    // How questions were compared before: two of three that were found were none.
    assert_eq!((right, found.len(), twins, CASES.len()), (8, 24, 26, 64));
}

/// The embedder of the catalogue, if it is on this machine.
fn embedder() -> Option<lm::Encoder> {
    let cache = crate::models::Cache::from_env().ok()?;
    let located = crate::models::locate(&cache, "all-minilm-l6-v2", std::path::Path::new(".")).ok();
    let Some(located) = located else {
        eprintln!("skipped: needs models, run `tunesmith model pull`");
        return None;
    };
    Some(lm::Encoder::open(&located.path).unwrap())
}

#[test]
fn other_words_are_found_by_vectors_and_answers() {
    let Some(embedder) = embedder() else { return };
    let questions = questions();
    let all: Vec<&Question> = questions.iter().collect();
    let texts: Vec<&str> = all.iter().map(|question| question.text.as_str()).collect();
    let vectors = embedder.embed(&texts).unwrap();
    let mut rows = found(&leaks(&all));
    let reworded = found(&paraphrased(&all, &vectors));
    rows.extend(reworded.iter().filter(|row| CASES[**row].0 != Twin));
    let wrong = wrong(&rows, &[Twin, Reworded]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn labels_are_learnt_from_questions_that_are_alike() {
    let Some(embedder) = embedder() else { return };
    let mut questions = questions();
    for (number, question) in questions.iter_mut().enumerate() {
        question.answers = vec![format!("label {}", number % 4 / 2)];
    }
    let all: Vec<&Question> = questions.iter().collect();
    let texts: Vec<&str> = all.iter().map(|question| question.text.as_str()).collect();
    assert_eq!(paraphrased(&all, &embedder.embed(&texts).unwrap()), []);
}

/// The work grows with the questions and not with their pairs, whatever they share.
#[test]
fn work_is_linear_in_the_number_of_questions() {
    let compared = |count: usize| {
        let questions: Vec<Question> = (0..count)
            .map(|number| {
                let text = match number % 3 {
                    0 => {
                        format!("Which tray takes parcel {} of depot {}?", number % 90, number % 7)
                    }
                    1 => format!("What is {} + {}?", number / 50, number % 50),
                    _ => format!("Who owns the boat word{} of harbour{}?", number, number % 40),
                };
                let split = if number % 4 == 0 { Split::Test } else { Split::Train };
                Question { id: number.to_string(), split, ..question(&text, "x") }
            })
            .collect();
        let all: Vec<&Question> = questions.iter().collect();
        Sketches::of(all).pairs(|a, b| a.split != b.split).compared
    };
    let (few, many) = (compared(1500), compared(12_000));
    assert!(few > 0 && many <= 12_000 * 640, "{few} {many}");
    assert!(many < 16 * few, "8 times the questions took {few} and {many} comparisons");
}

#[test]
fn the_dev_question_goes_and_the_test_question_stays() {
    let of = |id: &str, split, text| Question { id: id.into(), split, ..question(text, "x") };
    let questions = [
        of("a", Split::Train, "Who cured the herring?"),
        of("b", Split::Dev, "who cured the herring"),
        of("c", Split::Dev, "Where is the quay?"),
        of("d", Split::Test, "where is the quay"),
        of("e", Split::Test, "Where is the lighthouse?"),
    ];
    let found = leaks(&questions.iter().collect::<Vec<_>>());
    let pairs: Vec<(&str, &str)> =
        (found.iter()).map(|leak| (leak.question.id.as_str(), leak.twin.id.as_str())).collect();
    assert_eq!(pairs, [("b", "a"), ("c", "d")]);
}

#[test]
fn documents_with_questions_in_two_splits_are_named_and_counted() {
    let of = |split, documents: &[&str]| {
        let evidence = |name: &&str| super::super::Evidence {
            document: (*name).to_owned(),
            quote: "x".to_owned(),
        };
        let evidence = documents.iter().map(evidence).collect();
        Question { split, evidence, ..question("q", "x") }
    };
    let questions = [
        of(Split::Train, &["a.md", "a.md"]),
        of(Split::Train, &["a.md", "b.md"]),
        of(Split::Test, &["a.md"]),
        of(Split::Dev, &["c.md"]),
    ];
    let expected = SharedDocument { document: "a.md".to_owned(), questions: [2, 0, 1] };
    assert_eq!(shared_documents(&questions), [expected]);
}
