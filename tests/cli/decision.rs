//! `decide` and `check` as programs see them: the published form, exit codes, what still holds.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::project::Project;

/// A project without documents on the smallest models there are, with a set of labels.
fn tiny() -> Project {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lm/tests/fixtures");
    let model = |name: &str| format!("{:?}", fixtures.join(name).display().to_string());
    let (generator, embedder) = (model("tiny-llama"), model("tiny-bert"));
    let project = Project::new();
    project.write(
        "tunesmith.toml",
        format!(
            "[project]\nname = \"test\"\ndocuments = []\n\
             [models]\ngenerator = {generator}\nembedder = {embedder}\n\
             [[set]]\nname = \"s\"\nquestions = \"q.jsonl\"\nmeasure = \"label\"\nslice = \"where\"\n"
        ),
    );
    project
}

/// Twelve questions, compared.
fn compared() -> Project {
    let project = tiny();
    let things = [
        "door", "hat", "ship", "lamp", "barn", "coat", "rose", "kite", "wall", "boat", "sky", "cup",
    ];
    let row = |(index, thing): (usize, &&str)| {
        let split = ["train", "dev", "test"][index / 4];
        let place = ["land", "sea"][index % 2];
        let answer = ["red", "blue"][index % 2];
        json!({"question": format!("the {thing}?"), "answers": [answer], "split": split, "where": place})
            .to_string()
    };
    let rows: Vec<String> = things.iter().enumerate().map(row).collect();
    project.write("q.jsonl", rows.join("\n"));
    let run = project.run(&["compare", "s", "--setups", "base,few-shot"]);
    assert_eq!(run.code, 0, "{}", run.err);
    project
}

/// Holds a value against the schema, as far as the schema goes: what it does not know is an error.
fn check(value: &Value, schema: &Value, root: &Value, path: &str) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{path}: {what}"));
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let name = wanted.as_str().unwrap().rsplit('/').next().unwrap();
                check(value, &root["$defs"][name], root, path)?;
            }
            "type" => {
                let fits = match wanted.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                if !fits {
                    return wrong(format!("expected {wanted}, found {value}"));
                }
            }
            "enum" => {
                if !wanted.as_array().unwrap().contains(value) {
                    return wrong(format!("expected one of {wanted}, found {value}"));
                }
            }
            "anyOf" | "oneOf" => {
                let fits = |one: &&Value| check(value, one, root, path).is_ok();
                let count = wanted.as_array().unwrap().iter().filter(fits).count();
                if count == 0 || (keyword == "oneOf" && count > 1) {
                    return wrong(format!("{count} of {keyword} fit {value}"));
                }
            }
            "required" => {
                for name in wanted.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return wrong(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, inner) in wanted.as_object().unwrap() {
                    if let Some(found) = value.get(name) {
                        check(found, inner, root, &format!("{path}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, found) in value.as_object().into_iter().flatten() {
                    let known = known.is_some_and(|known| known.contains_key(name));
                    match wanted {
                        Value::Bool(false) if !known => return wrong(format!("{name} is unknown")),
                        Value::Object(_) if !known => check(found, wanted, root, path)?,
                        _ => {}
                    }
                }
            }
            "items" => {
                for (index, found) in value.as_array().into_iter().flatten().enumerate() {
                    check(found, wanted, root, &format!("{path}[{index}]"))?;
                }
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                for (found, inner) in items.zip(wanted.as_array().unwrap()) {
                    check(found, inner, root, path)?;
                }
            }
            "minItems" | "maxItems" | "minimum" => {}
            other => panic!("the test does not know the keyword {other}"),
        }
    }
    Ok(())
}

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decision.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn decisions_have_the_published_form() {
    let project = compared();
    let schema = schema();
    let decisions = project.json(&["decide", "s", "--json"]);
    check(&decisions, &schema, &schema, "$").unwrap();
    assert_eq!(decisions[0]["slices"].as_array().unwrap().len(), 2);

    // The check can fail.
    let mut odd = decisions.clone();
    odd[0]["outcome"] = json!("perhaps");
    assert!(check(&odd, &schema, &schema, "$").is_err());
    let mut more = decisions.clone();
    more[0]["surprise"] = json!(1);
    assert!(check(&more, &schema, &schema, "$").is_err());
    let mut less = decisions;
    less[0].as_object_mut().unwrap().remove("tree");
    assert!(check(&less, &schema, &schema, "$").is_err());
}

#[test]
fn what_is_not_settled_has_an_exit_code() {
    let project = compared();
    assert_eq!(project.run(&["decide", "s"]).code, 0);
    let checked = project.run(&["decide", "s", "--check"]);
    assert_eq!(checked.code, 3, "four questions decide nothing\n{}", checked.out);
    let out = project.path("report.html");
    project.ok(&["decide", "s", "--out", out.to_str().unwrap()]);
    assert!(fs::read_to_string(&out).unwrap().starts_with("<!DOCTYPE html>"));
    assert!(project.path("report.json").exists());
}

#[test]
fn a_check_says_what_changed_and_whether_the_decision_holds() {
    let project = compared();
    let same = project.run(&["check", "s"]);
    assert_eq!(same.code, 0, "{}\n{}", same.out, same.err);
    assert!(same.out.contains("s: nothing changed since the comparison"), "{}", same.out);

    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", format!("{config}max_tokens = 4\n"));
    let told = project.run(&["check", "s", "--no-run"]);
    assert_eq!(told.code, 3, "{}", told.out);
    assert!(told.out.contains("changed since the comparison: settings"), "{}", told.out);
    let run = project.run(&["check", "s", "--json"]);
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    assert!(run.err.contains("test: 8 trials to run"), "{}", run.err);
    let checked: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(checked[0]["changed"], json!(["settings"]));
    assert_eq!((&checked[0]["holds"], checked[0]["after"].is_object()), (&json!(true), true));

    // Nothing is stored by it, and it is no look.
    let decision = project.json(&["decide", "s", "--json"]);
    assert_eq!(decision[0]["looks"]["openings"], 1);
    assert_eq!(decision[0]["openings"].as_array().unwrap().len(), 2);
    let missing = project.fails(&["check", "nobody"]);
    assert!(missing.contains("nobody"), "{missing}");
}

/// A set on which a system that is there already answers every question, compared.
fn compared_with_desk() -> Project {
    let project = tiny();
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let desk = "[[system]]\nname = \"desk\"\nanswers = \"desk.jsonl\"\nset = \"s\"\n";
    project.write("tunesmith.toml", format!("{config}max_tokens = 2\ntarget = 0.8\n{desk}"));
    let syllables = ["ba", "ko", "du", "fe", "gi", "lo", "mu", "na", "pi", "ro"];
    let mut rows = String::new();
    for index in 0..92 {
        let [a, b, c] = [index % 10, index / 10, index * 7 % 10].map(|place| syllables[place]);
        let split = ["train", "dev", "test"][usize::from(index >= 8) + usize::from(index >= 12)];
        let (answer, id) = (["red", "blue"][index % 2], format!("{split}{index}"));
        let question = format!("{a}{b}{c} or {c}{a}{index}?");
        let row = json!({"id": id, "question": question, "answers": [answer], "split": split, "where": split});
        rows.push_str(&format!("{row}\n"));
    }
    project.write("q.jsonl", rows);
    project.write("desk.jsonl", desk_answers(&project, 0));
    let run = project.run(&["compare", "s", "--setups", "base,few-shot"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let decision = project.run(&["decide", "s", "--check"]);
    assert_eq!(decision.code, 0, "{}", decision.out);
    project
}

/// Its answers to the test questions, with so many wrong ones.
fn desk_answers(project: &Project, wrong: usize) -> String {
    let rows = fs::read_to_string(project.path("q.jsonl")).unwrap();
    let test = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let test = test.filter(|row| row["split"] == "test").enumerate();
    let answers = test.map(|(index, row)| {
        let answer = if index < wrong { json!("green") } else { row["answers"][0].clone() };
        format!("{}\n", json!({"id": row["id"], "answer": answer}))
    });
    answers.collect()
}

#[test]
fn a_check_sees_whatever_answers_come_from() {
    let project = compared_with_desk();
    let told = |what: &str| {
        let told = project.run(&["check", "s", "--no-run"]);
        assert_eq!(told.code, 3, "{what}: {}{}", told.out, told.err);
        let line = format!("changed since the comparison: {what}\n");
        assert!(told.out.contains(&line), "{what}: {}", told.out);
    };
    assert_eq!(project.run(&["check", "s"]).code, 0);

    // Prompts and baselines are filled from training questions.
    let rows = fs::read_to_string(project.path("q.jsonl")).unwrap();
    project.write("q.jsonl", rows.replacen("\"red\"", "\"blue\"", 1));
    told("training questions");
    let run = project.run(&["check", "s"]);
    assert_eq!(run.code, 0, "the decision does not rest on them\n{}{}", run.out, run.err);
    project.write("q.jsonl", rows);

    // What answered right answers wrong by now.
    project.write("desk.jsonl", desk_answers(&project, 60));
    told("answers of other systems");
    let run = project.run(&["check", "s"]);
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    assert!(run.out.contains("s: the decision does not hold any longer"), "{}", run.out);
}

#[test]
fn a_check_starts_from_the_decision_that_was_made() {
    let project = compared_with_desk();
    project.write("desk.jsonl", desk_answers(&project, 12));
    let run = project.run(&["check", "s", "--json"]);
    let checked: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &checked[0]["holds"]), (3, &json!(false)));
    assert_eq!(checked[0]["before"]["outcome"], "existing", "it is shown above the target");
    project.write("desk.jsonl", desk_answers(&project, 0));

    // More is asked for than was decided on: what was decided is not decided again under it.
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", config.replace("target = 0.8", "target = 1.0"));
    let run = project.run(&["check", "s", "--json"]);
    let checked: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(checked[0]["changed"], json!(["settings"]));
    assert_eq!(checked[0]["before"]["rule"]["target"], json!(0.8));
    assert_eq!(checked[0]["after"]["rule"]["target"], json!(1.0));
}
