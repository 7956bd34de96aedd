//! `tunesmith check`: whether a decision still holds.

use std::fs;

use serde_json::{Value, json};

use crate::project::{Project, models_are_here};
use crate::whole::{decided, project_with_set};

/// A project whose decision is to keep the help desk that is there: it is always right, and the
/// model never is.
fn settled_project() -> (Project, Vec<Value>) {
    let project = Project::new();
    project.write("tunesmith.toml", "[project]\nname = \"test\"\ndocuments = []\n");
    let mut rows = String::new();
    for (split, count) in [("train", 6), ("dev", 6), ("test", 60)] {
        for index in 0..count {
            let word = ["amber", "birch", "cedar", "delta", "ember", "fjord"][index % 6];
            let row = json!({
                "id": format!("{split}{index}"), "split": split,
                "question": format!("{split} {word} {index} {}?", "x".repeat(1 + index % 7)),
                "answers": [format!("zq{index}{split}")],
            });
            rows.push_str(&format!("{row}\n"));
        }
    }
    project.add_set("facts", "contains", &rows);
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let table = "target = 0.6\n\n[[system]]\nname = \"helpdesk\"\nanswers = \"helpdesk.jsonl\"\n";
    project.write("tunesmith.toml", config + table);
    let asked = project.ok(&["questions", "export", "facts"]);
    let asked: Vec<Value> = asked.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    answer(&project, &asked, asked.len());
    (project, asked)
}

/// The help desk answers, the first `right` of the questions rightly.
fn answer(project: &Project, asked: &[Value], right: usize) {
    let line = |(index, row): (usize, &Value)| {
        let id = row["id"].as_str().unwrap();
        let gold = format!("zq{}test", id.strip_prefix("test").unwrap());
        let answer = if index < right { gold } else { "no idea".to_owned() };
        json!({"id": id, "answer": answer, "latency_seconds": 0.1}).to_string()
    };
    let lines: Vec<String> = asked.iter().enumerate().map(line).collect();
    project.write("helpdesk.jsonl", lines.join("\n"));
}

fn check(project: &Project, arguments: &[&str]) -> (i32, Value) {
    let run = project.run(&[&["check", "facts", "--json"], arguments].concat());
    let checks: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
    (run.code, checks[0].clone())
}

#[test]
fn a_decision_holds_until_what_it_rests_on_says_otherwise() {
    if !models_are_here() {
        return;
    }
    let (project, asked) = settled_project();
    let nothing = check(&project, &[]);
    assert_eq!((nothing.0, &nothing.1["verdict"]), (2, &json!("nothing-to-check")));

    project.ok(&["compare", "facts", "--setups", "base"]);
    let before = decided(&project, "facts");
    assert_eq!(before["recommended"], "helpdesk", "{}", before["sentence"]);
    assert_eq!(project.run(&["decide", "facts", "--check"]).code, 0);
    let (code, found) = check(&project, &[]);
    assert_eq!((code, &found["verdict"], &found["changes"]), (0, &json!("holds"), &json!([])));

    // A question changes: it is asked again, and nothing else is.
    let rows = fs::read_to_string(project.path("questions/facts.jsonl")).unwrap();
    project.write("questions/facts.jsonl", rows.replace("test amber 0 ", "test amber zero "));
    let (code, found) = check(&project, &["--no-run"]);
    assert_eq!((code, &found["verdict"]), (3, &json!("not-run")));
    let (code, found) = check(&project, &[]);
    let changed: Vec<&Value> =
        found["changes"].as_array().unwrap().iter().map(|change| &change["what"]).collect();
    assert_eq!(changed, ["test questions"]);
    let counts = (&found["run"], &found["reused"]);
    assert_eq!((code, &found["verdict"], counts), (0, &json!("holds"), (&json!(1), &json!(59))));

    // The help desk gets worse: the target is missed.
    answer(&project, &asked, 25);
    let run = project.run(&["check", "facts"]);
    assert_eq!(run.code, 3, "{}", run.out);
    for said in [
        "answers of helpdesk: ",
        "before: existing, helpdesk 100.0 %",
        "check facts: the decision does not hold any longer",
    ] {
        assert!(run.out.contains(said), "{said}: {}", run.out);
    }

    // What was checked is logged, and is not what `decide` reads.
    let after = decided(&project, "facts");
    assert_eq!((&after["outcome"], &after["exploratory"]), (&before["outcome"], &json!(false)));
    assert_eq!((&after["looks"], &after["systems"]), (&before["looks"], &before["systems"]));
    let openings = after["openings"].as_array().unwrap();
    let reasons: Vec<&str> = openings.iter().map(|o| o["why"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!((reasons[0], reasons[1]), ("compare", "check: test questions changed"));
}

#[test]
fn documents_that_changed_are_read_again_and_an_open_decision_is_none() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    project.ok(&["compare", "facts", "--setups", "base,rag"]);
    project.write("documents/lights.md", "# Lighthouses\n\nThe lamp was sold.\n");
    project.ok(&["ingest", "--help"]);
    let (code, found) = check(&project, &[]);
    assert_eq!((code, &found["verdict"]), (2, &json!("nothing-to-check")), "{found}");
    assert_eq!(found["before"]["outcome"], "undetermined");
    let run = project.run(&["check", "facts"]);
    assert!(run.out.contains("nothing to check"), "{}", run.out);
}
