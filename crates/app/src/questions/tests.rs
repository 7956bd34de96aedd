use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::error::Error;
use crate::project::Project;
use crate::project::config::Config;

/// A project with one set, whose questions file holds `rows`.
fn load(rows: &str) -> Result<QuestionSet, Error> {
    load_with("", rows)
}

/// The same with further keys of the set.
fn load_with(keys: &str, rows: &str) -> Result<QuestionSet, Error> {
    let folder = tempfile::tempdir().unwrap();
    let set = "[[set]]\nname = \"s\"\nquestions = \"q.jsonl\"\nmeasure = \"exact\"\n";
    let toml = format!("[project]\nname = \"p\"\n{set}{keys}\n");
    let config = Config::parse(Path::new("tunesmith.toml"), &toml).unwrap();
    fs::write(folder.path().join("q.jsonl"), rows).unwrap();
    let project = Project { root: folder.path().to_owned(), config };
    QuestionSet::load(&project, &project.config.sets[0])
}

fn problems(rows: &str) -> Vec<String> {
    match load(rows) {
        Err(Error::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn every_malformed_row_is_named_at_once() {
    let rows = r#"{"id":"a","question":"Q?","answers":["x"],"split":"train"}
{"id":"a","question":"Q2?","answers":["x"],"split":"dev"}
{"question":"Q3?","answers":[]}
{"question":"","answers":["x", ""]}
not json
{"question":"Q4?","answers":["x"],"evidence":[{"document":"d.md"}],"split":"tset"}
{"other":1}
"#;
    let found = problems(rows);
    let starts = [
        "q.jsonl:3: answers: expected at least one answer, found an empty list",
        "q.jsonl:4: question: expected a text, found an empty text",
        "q.jsonl:4: answers[1]: expected a text, found an empty text",
        "q.jsonl:5: row: expected a JSON object on one line",
        "q.jsonl:6: split: expected train, dev or test, found \"tset\"",
        "q.jsonl:6: evidence[0].quote: expected a text, found nothing",
        "q.jsonl:7: question: expected a text, found nothing",
        "q.jsonl:7: answers: expected a list of texts, found nothing",
        "q.jsonl:2: id: expected an id of its own, found \"a\" again",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (message, start) in found.iter().zip(starts) {
        assert!(message.starts_with(start), "{message} should start with {start}");
    }
}

#[test]
fn slices_and_paraphrases_are_read_and_a_field_that_no_row_has_is_named() {
    let rows = |extra: &str| {
        ["train", "dev", "test"].map(|split| {
            format!(
                "{{\"question\":\"{split}?\",\"answers\":[\"x\"],\"split\":\"{split}\"{extra}}}\n"
            )
        })
    };
    let rows = rows(",\"year\":1871,\"paraphrases\":[\"in other words?\"]").concat();
    let set = load_with("slice = \"year\"", &rows).unwrap();
    let asked = &set.test[0];
    assert_eq!(asked.slice.as_deref(), Some("1871"));
    assert_eq!(asked.paraphrases, ["in other words?"]);
    assert_eq!(load(&rows).unwrap().test[0].slice, None);
    let Err(Error::Problems(problems)) = load_with("slice = \"yaer\"", &rows) else { panic!() };
    assert!(problems[0].to_string().contains("found \"yaer\", which none has"), "{problems:?}");
}

#[test]
fn patterns_stand_among_the_answers() {
    let row = |split: &str, answers: &str| {
        format!("{{\"question\":\"Q {split}?\",\"answers\":[{answers}],\"split\":\"{split}\"}}\n")
    };
    let good = r#""thirty days", {"pattern": "(?i)\\d+ days?"}"#;
    let rows = ["train", "dev", "test"].map(|split| row(split, good)).concat();
    let set = load(&rows).unwrap();
    let question = &set.test[0];
    assert_eq!(question.answers, ["thirty days"]);
    assert!(question.patterns[0].accepts("30 Days") && question.completion == "thirty days");
    let json = serde_json::to_value(question).unwrap();
    assert_eq!(json["patterns"], serde_json::json!([{"pattern": "(?i)\\d+ days?"}]));

    let wrong = [
        (
            r#""x", {"pattern": "(a"}"#,
            r#"answers[1].pattern: expected a regular expression, found "(a" (unclosed group)"#,
        ),
        (
            r#""x", {"regex": "a"}"#,
            r#"answers[1]: expected a text or {"pattern": "..."}, found an object with the keys ["regex"]"#,
        ),
        (r#""x", {"pattern": 3}"#, r#"answers[1]: expected a text or {"pattern": "..."}"#),
        (r#"{"pattern": "a"}"#, "answers: expected a text beside the patterns"),
    ];
    for (answers, message) in wrong {
        let rows = [row("train", "\"x\""), row("dev", answers), row("test", "\"x\"")].concat();
        let found = problems(&rows);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("q.jsonl:2: {message}")), "{found:?}");
    }
}

#[test]
fn pairs_are_questions_too() {
    let row = |split: &str| {
        format!(
            r#"{{"messages":[{{"role":"system","content":"S"}},{{"role":"user","content":"U1"}},{{"role":"assistant","content":"A1"}},{{"role":"user","content":"U {split}"}},{{"role":"assistant","content":"A2"}}],"split":"{split}"}}"#
        )
    };
    let set = load(&["train", "dev", "test"].map(row).join("\n")).unwrap();
    let chat = &set.train[0];
    assert_eq!(
        (chat.instruction.as_str(), chat.text.as_str(), chat.completion.as_str()),
        ("S", "U train", "A2")
    );
    assert_eq!((set.dev.len(), set.test[0].answers.as_slice()), (1, &["A2".to_owned()][..]));
    let found = problems(r#"{"messages":[{"role":"user","content":"U"}]}"#);
    assert!(found[0].starts_with("q.jsonl:1: messages"), "{found:?}");
}

#[test]
fn no_document_stands_on_two_sides() {
    let rows: Vec<String> = (0..60)
        .map(|index| {
            let (first, second) = (index % 12, if index % 20 == 0 { (index + 1) % 12 } else { index % 12 });
            format!(
                r#"{{"question":"What is number {index}?","answers":["x"],"evidence":[{{"document":"{first}.md","quote":"x"}},{{"document":"{second}.md","quote":"x"}}]}}"#
            )
        })
        .collect();
    let set = load(&rows.join("\n")).unwrap();
    let mut sides: HashMap<&str, Split> = HashMap::new();
    for question in set.all() {
        for evidence in &question.evidence {
            assert_eq!(*sides.entry(&evidence.document).or_insert(question.split), question.split);
        }
    }
    assert!(set.train.len() > set.test.len() && set.test.len() > set.dev.len(), "shares are kept");
}

#[test]
fn what_cannot_be_split_without_a_leak_is_refused() {
    let row = r#"{"question":"Q?","answers":["x"],"group":"only"}"#;
    let found = problems(&format!("{row}\n{row}\n{row}"));
    assert!(found.iter().all(|message| message.contains("stay together")), "{found:#?}");
}

#[test]
fn leaked_test_questions_are_left_out_and_reported() {
    let rows = r#"{"id":"t1","question":"Where does the ferry to Marrow Island leave on Sunday mornings in late summer?","answers":["x"],"split":"train"}
{"id":"d1","question":"dev","answers":["x"],"split":"dev"}
{"id":"e1","question":"where does the FERRY to Marrow Island leave on Sunday mornings in late summer","answers":["x"],"split":"test"}
{"id":"e2","question":"Where does the ferry to Marrow Island leave on a Sunday mornings in late summer?","answers":["x"],"split":"test"}
{"id":"e3","question":"Where does the ferry to Sallow Rock leave?","answers":["x"],"split":"test"}
"#;
    let set = load(rows).unwrap();
    let found: Vec<(&str, &str, Likeness)> = (set.leaked.iter())
        .map(|leak| (leak.question.id.as_str(), leak.twin.id.as_str(), leak.likeness))
        .collect();
    assert_eq!(found, [("e1", "t1", Likeness::Same), ("e2", "t1", Likeness::Near)]);
    assert_eq!((set.left_out(Split::Test), set.left_out(Split::Dev)), (2, 0));
    assert_eq!(set.test.iter().map(|question| question.id.as_str()).collect::<Vec<_>>(), ["e3"]);
}

#[test]
fn a_larger_sample_holds_the_smaller_one() {
    let questions: Vec<Question> = (0..50)
        .map(|index| Question {
            id: format!("q{index}"),
            instruction: String::new(),
            text: String::new(),
            answers: Vec::new(),
            patterns: Vec::new(),
            evidence: Vec::new(),
            paraphrases: Vec::new(),
            slice: None,
            completion: String::new(),
            group: None,
            split: Split::Test,
            place: Default::default(),
        })
        .collect();
    let small = sample(&questions, Some(10));
    let large = sample(&questions, Some(30));
    assert_eq!((small.len(), large.len(), sample(&questions, None).len()), (10, 30, 50));
    assert!(small.iter().all(|question| large.contains(question)));
}

#[test]
fn unanswerable_questions_are_kept_apart() {
    let rows = r#"{"id":"t","question":"What burns?","answers":["oil"],"split":"train"}
{"id":"d","question":"Who lit it?","answers":["Edda"],"split":"dev","answerable":true}
{"id":"e","question":"When?","answers":["1871"],"split":"test"}
{"id":"u","question":"What did the lamp cost?","answerable":false,"answers":[],"split":"dev","group":"lamps"}
{"id":"v","question":"Who paid for it?","answerable":false,"split":"test"}
"#;
    let set = load(rows).unwrap();
    assert_eq!(
        (set.train.len(), set.dev.len(), set.test.len(), set.unanswerable.len()),
        (1, 1, 1, 2)
    );
    let of =
        |split| set.unanswerable_of(split).map(|question| question.id.as_str()).collect::<Vec<_>>();
    assert_eq!((of(Split::Train), of(Split::Dev), of(Split::Test)), (vec![], vec!["u"], vec!["v"]));
    assert!(!set.unanswerable[0].is_answerable() && set.unanswerable[0].cluster() == "lamps");
}

#[test]
fn a_row_that_contradicts_itself_is_refused() {
    let rows = r#"{"question":"Q1?","answers":["x"],"answerable":false}
{"question":"Q2?","answers":[],"answerable":true}
{"question":"Q3?","answerable":false,"evidence":[{"document":"d.md","quote":"x"}],"completion":"x"}
{"question":"Q4?","answers":["x"],"answerable":"no"}
"#;
    let starts = [
        "q.jsonl:1: answers: expected none, as the row says `\"answerable\": false`",
        "q.jsonl:2: answers: expected at least one answer, found an empty list and no",
        "q.jsonl:3: evidence: expected none",
        "q.jsonl:3: completion: expected none",
        "q.jsonl:4: answerable: expected true or false, found a text",
    ];
    let found = problems(rows);
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (message, start) in found.iter().zip(starts) {
        assert!(message.starts_with(start), "{message} should start with {start}");
    }
}
