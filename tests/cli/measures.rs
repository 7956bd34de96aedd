//! Measures end to end, with models that are small enough for every machine.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::project::Project;

/// A project without documents on the smallest models there are, with one set.
fn project(fields: &str, answers: [&str; 4]) -> Project {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lm/tests/fixtures");
    let model = |name: &str| format!("{:?}", fixtures.join(name).display().to_string());
    let (generator, embedder) = (model("tiny-llama"), model("tiny-bert"));
    let project = Project::new();
    project.write(
        "tunesmith.toml",
        format!(
            "[project]\nname = \"test\"\ndocuments = []\n\
             [models]\ngenerator = {generator}\nembedder = {embedder}\n\
             [[set]]\nname = \"s\"\nquestions = \"q.jsonl\"\n{fields}\n"
        ),
    );
    let asked = [
        "door", "hat", "ship", "lamp", "barn", "coat", "rose", "kite", "wall", "boat", "sky", "cup",
    ];
    let row = |split: &str, at: usize| {
        let answer = answers[at];
        let place = ["train", "dev", "test"].iter().position(|one| *one == split).unwrap();
        let thing = asked[4 * place + at];
        format!(
            "{{\"question\":\"the {thing}?\",\"answers\":[{answer:?}],\"split\":\"{split}\"}}\n"
        )
    };
    let mut rows = String::new();
    for split in ["train", "dev", "test"] {
        (0..4).for_each(|at| rows.push_str(&row(split, at)));
    }
    project.write("q.jsonl", rows);
    project
}

/// Compares without fine-tuning; what was said, and the trials.
fn compared(project: &Project) -> (String, Vec<Value>) {
    let run = project.run(&["compare", "s", "--arms", "base,few-shot", "--json"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let comparisons: Value = serde_json::from_str(&run.out).unwrap();
    (run.err, comparisons[0]["trials"].as_array().unwrap().clone())
}

#[test]
fn answers_are_cut_where_the_pairs_say_and_that_is_told() {
    let project = project("measure = \"label\"", ["red", "blue", "red", "green"]);
    let (said, trials) = compared(&project);
    let length = "s: answers are cut at 16 tokens; the longest of 4 training answers has ";
    assert!(said.contains(length), "{said}");
    let cut: Vec<&Value> = trials.iter().filter(|trial| trial["cut"] == true).collect();
    assert!(!cut.is_empty(), "a model of noise seldom ends");
    assert!(cut.iter().all(|trial| trial["score"] == 0.0 && trial["completion_tokens"] == 16));
    let of_base = cut.iter().filter(|trial| trial["system"] == "base").count();
    let told = format!("test: base: {of_base} of 4 answers: cut at the greatest length");
    assert!(of_base == 0 || said.contains(&told), "{said}");

    // `ask` answers as long as was compared.
    let asked = project.json(&["ask", "the wall?", "--set", "s", "--arm", "base", "--json"]);
    let first = trials.iter().find(|trial| trial["system"] == "base").unwrap();
    assert_eq!(asked["tokens"]["completion"], first["completion_tokens"], "{asked}");

    let decided = project.ok(&["decide", "s"]);
    let report = decided.lines().find_map(|line| line.strip_prefix("report ")).unwrap();
    let page = fs::read_to_string(report).unwrap();
    for text in
        ["Label by label", "macro-F1", "no label", "cut at the greatest length", "count as wrong: "]
    {
        assert!(page.contains(text), "{text} in the report");
    }

    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", format!("{config}max_tokens = 5\n"));
    let (said, _) = compared(&project);
    assert!(said.contains("s: answers are cut at 5 tokens, as configured"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_program_grades_and_what_it_cannot_grade_is_missing() {
    let fields = "measure = \"command\"\ncommand = [\"sh\", \"grade.sh\"]\nmax_tokens = 200\n";
    let project = project(fields, ["1", "2", "1", "4"]);
    // No score for the last test question.
    project.write(
        "grade.sh",
        r#"while read -r line; do
            id=$(printf '%s' "$line" | sed 's/^{"id":"\([0-9]*\)".*/\1/')
            case "$line" in
                *'"the cup?"'*) echo "cannot tell" ;;
                *) printf '{"id": "%s", "score": 0.25}\n' "$id" ;;
            esac
        done"#,
    );
    let (said, trials) = compared(&project);
    for trial in trials.iter().filter(|trial| trial["cut"] == false) {
        if trial["problem"].is_null() {
            assert_eq!(trial["score"], 0.25, "{trial}");
        } else {
            assert!(trial["score"].is_null(), "missing, not wrong: {trial}");
        }
    }
    let missing: Vec<&Value> = trials.iter().filter(|trial| trial["score"].is_null()).collect();
    let floor = missing.iter().filter(|trial| trial["system"] == "most-frequent").count();
    assert_eq!(floor, 1, "{said}");
    let reason = missing[0]["problem"].as_str().unwrap();
    assert!(reason.contains("no score: ") && reason.contains("cannot tell"), "{reason}");

    project.write("grade.sh", "exit 9\n");
    let failed = project.fails(&["compare", "s", "--arms", "base,few-shot"]);
    assert!(failed.contains("nothing was opened"), "{failed}");
}

#[test]
fn json_answers_that_are_none_are_counted() {
    let answers = ["{\"a\": 1}", "{\"a\": 2}", "{\"a\": 1}", "{\"a\": 4}"];
    let fields = "measure = \"json\"\nschema = \"schema.json\"\nmax_tokens = 200";
    let project = project(fields, answers);
    project.write("schema.json", r#"{"type": "object", "required": ["a"]}"#);
    let (said, trials) = compared(&project);
    let base = trials.iter().filter(|trial| trial["system"] == "base");
    assert!(base.clone().all(|trial| trial["score"] == 0.0), "noise is no JSON");
    let malformed = base.filter(|trial| trial["problem"] == "not JSON").count();
    let told = format!("test: base: {malformed} of 4 answers: not JSON");
    assert!(malformed == 0 || said.contains(&told), "{said}");
    let frequent = trials.iter().filter(|trial| trial["system"] == "most-frequent");
    let scores: Vec<f64> = frequent.map(|trial| trial["score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [1.0, 0.0, 1.0, 0.0]);

    project.write("schema.json", r#"{"type": "object", "format": "date"}"#);
    let failed = project.fails(&["compare", "s"]);
    assert!(failed.contains("schema.json: #/format: the keyword"), "{failed}");
}
