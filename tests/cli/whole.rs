//! The flows, end to end, with the real models.

use std::fs;

use serde_json::Value;

use crate::project::{Project, models_are_here};

const FERRIES: (&str, &str) = (
    "ferries.md",
    "# Ferries\n\n## Marrow line\n\nThe Marrow ferry leaves the north quay at seven in the morning. It carries 212 passengers.\n",
);
const LIGHTS: (&str, &str) = (
    "lights.md",
    "# Lighthouses\n\nThe lamp on Sallow Rock was lit by Edda Vane in 1871. It burns whale oil.\n",
);

fn paths(hits: &Value) -> Vec<&str> {
    hits["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}

#[test]
fn edited_and_deleted_documents_no_longer_answer() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[FERRIES, LIGHTS]);
    assert!(project.ok(&["ingest"]).starts_with("2 documents stored"));
    assert!(project.ok(&["ingest"]).contains("0 documents stored (0 chunks), 2 unchanged"));
    let found = project.json(&["search", "who lit the lamp on Sallow Rock", "--json"]);
    assert_eq!(paths(&found)[0], "documents/lights.md");
    assert!(found["hits"][0]["explain"]["cosine"].as_f64().unwrap() > 0.4);

    project.write("documents/lights.md", LIGHTS.1.replace("Edda Vane", "Brom Teal"));
    assert!(project.ok(&["ingest"]).contains("1 document stored (1 chunk), 1 unchanged"));
    let found = project.ok(&["search", "who lit the lamp on Sallow Rock"]);
    assert!(found.contains("Brom Teal") && !found.contains("Edda Vane"), "{found}");

    fs::remove_file(project.path("documents/lights.md")).unwrap();
    assert!(project.ok(&["ingest"]).contains("1 deleted"));
    let found = project.json(&["search", "who lit the lamp on Sallow Rock", "--json"]);
    assert_eq!(paths(&found), ["documents/ferries.md"]);
    let answer = project.json(&["ask", "Who lit the lamp on Sallow Rock?", "--json"]);
    assert!(!answer["text"].as_str().unwrap().contains("Brom Teal"), "{answer}");
}

#[test]
fn retrieval_is_measured_on_the_projects_own_questions() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[FERRIES, LIGHTS]);
    project.ok(&["ingest"]);
    let row = |split: &str, question: &str, document: &str, quote: &str| {
        serde_json::json!({"question": question, "answers": [quote], "split": split,
                           "evidence": [{"document": format!("documents/{document}"), "quote": quote}]})
    };
    let rows = [
        row("train", "How many passengers does the ferry carry?", FERRIES.0, "212 passengers"),
        row("dev", "What does the lamp burn?", LIGHTS.0, "whale oil"),
        row("test", "When does the Marrow ferry leave?", FERRIES.0, "seven in the morning"),
        row("test", "Who lit the lamp on Sallow Rock?", LIGHTS.0, "Edda Vane"),
        serde_json::json!({"question": "Why?", "answers": ["because"], "split": "test"}),
    ];
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    project.add_set("facts", "contains", &rows.join("\n"));
    let measured = |split| {
        let mut arguments = vec!["eval", "retrieval", "--set", "facts", "--lexical-weights", "0.5"];
        arguments.extend(split);
        project.json(&arguments)
    };
    assert_eq!(
        (&measured([].as_slice())["split"], &measured(&[])["questions"]),
        (&"dev".into(), &1.into())
    );
    let found = measured(&["--split", "test"]);
    assert_eq!(found["questions"], 2);
    let names: Vec<&Value> =
        found["runs"].as_array().unwrap().iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["bm25", "vectors", "fusion"]);
    assert!(
        found["runs"].as_array().unwrap().iter().all(|run| run["recall_at_1"] == 1.0),
        "{found}"
    );
    let run = project.run(&["eval", "retrieval", "--set", "facts", "--split", "valid"]);
    assert!(
        run.code != 0 && run.err.contains("expected train, dev or test, found \"valid\""),
        "{}",
        run.err
    );
}

#[test]
fn citing_and_abstaining_are_measured_and_calibrated() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[FERRIES, LIGHTS]);
    project.ok(&["ingest"]);
    let row = |split: &str, question: &str, document: &str, quote: &str| {
        serde_json::json!({"question": question, "answers": [quote], "split": split,
                           "evidence": [{"document": format!("documents/{document}"), "quote": quote}]})
    };
    let unanswerable = |split: &str, question: &str| serde_json::json!({"question": question, "answerable": false, "split": split});
    let rows = [
        row("train", "How many passengers does the ferry carry?", FERRIES.0, "212 passengers"),
        row("dev", "What does the lamp on Sallow Rock burn?", LIGHTS.0, "whale oil"),
        row("test", "When does the Marrow ferry leave?", FERRIES.0, "seven in the morning"),
        unanswerable("dev", "Which bank prints the coins of Peru?"),
        unanswerable("test", "How are violins varnished in Cremona?"),
    ];
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    project.add_set("facts", "contains", &rows.join("\n"));

    let found = project.json(&["eval", "citations", "--set", "facts", "--json"]);
    assert_eq!((&found["answerable"], &found["unanswerable"]), (&1.into(), &1.into()));
    assert_eq!((&found["refusal"], &found["calibrated_by"]), (&Value::Null, &Value::Null));
    assert_eq!(found["coverage"].as_array().unwrap().last().unwrap()["answered"], 2);
    let refused = |arguments: &[&str]| {
        project.json(&[&["ask", "--json", "--set", "facts"], arguments].concat())["abstained"]
            == true
    };
    let strange = "How are violins varnished in Cremona?";
    assert!(!refused(&[strange]), "a set's questions are answered as they were compared");

    let found = project.json(&["eval", "citations", "--set", "facts", "--calibrate", "--json"]);
    assert_eq!(found["calibrated_by"], "balance");
    assert_eq!(
        (&found["refusal"]["recall"]["count"], &found["refusal"]["answered"]["count"]),
        (&1.into(), &1.into())
    );
    assert!(refused(&[strange]) && !refused(&["What does the lamp on Sallow Rock burn?"]));
    let said = project.ok(&["eval", "citations", "--set", "facts", "--split", "test"]);
    assert!(said.contains("unanswerable questions refused") && said.contains("(1 of 1)"), "{said}");

    let on_test =
        project.fails(&["eval", "citations", "--set", "facts", "--split", "test", "--calibrate"]);
    assert!(on_test.contains("never on test"), "{on_test}");
    let none =
        project.fails(&["eval", "citations", "--set", "facts", "--split", "train", "--calibrate"]);
    assert!(none.contains("\"answerable\": false"), "{none}");

    // What stands in the configuration holds, whatever was calibrated.
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", format!("{config}abstain_below = 0.0\n"));
    let kept = project.fails(&["eval", "citations", "--set", "facts", "--calibrate"]);
    assert!(kept.contains("take it out first"), "{kept}");
    project.write("tunesmith.toml", format!("{config}abstain_below = 1.0\n"));
    assert!(refused(&["What does the lamp on Sallow Rock burn?"]));
}

#[test]
fn answers_cite_exact_quotes_or_abstain() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[FERRIES, LIGHTS]);
    project.ok(&["ingest"]);
    let answer = project.json(&["ask", "When does the Marrow ferry leave?", "--json"]);
    assert_eq!(answer["abstained"], false);
    for stage in ["embed", "search", "prefill", "decode", "total"] {
        assert!(answer["seconds"][stage].as_f64().unwrap() > 0.0, "{stage} in {answer}");
    }
    assert!(answer["tokens"]["prompt"].as_u64().unwrap() > 20);
    for citation in answer["citations"].as_array().unwrap() {
        let text =
            fs::read_to_string(project.path(citation["document"].as_str().unwrap())).unwrap();
        let offset = |end: &str| citation["span"][end].as_u64().unwrap() as usize;
        assert_eq!(&text[offset("start")..offset("end")], citation["quote"].as_str().unwrap());
    }
    let claims = answer["claims"].as_array().unwrap();
    let supported = claims.iter().all(|claim| !claim["citations"].as_array().unwrap().is_empty());
    assert_eq!(answer["supported"], supported, "an unsupported sentence is marked");

    let abstained = project.json(&["ask", "zxqv plorth wug?", "--json"]);
    assert_eq!(abstained["abstained"], true, "{abstained}");
    assert!(
        project.ok(&["ask", "When does the Marrow ferry leave?", "--explain"]).contains("prefill")
    );
}

const HARBOUR: (&str, &str) = (
    "harbour.md",
    "# Harbour\n\nThe Heron sails to Gull Bay. The Petrel was painted green. The tender is steered by \
     Ida Moss. A ticket costs four shillings.\n\nThe quay bell rings at noon. The chandler sells \
     tarred rope. The pilot lives on Finch Lane. The old crane lifts nine tonnes.\n\nThe fog horn was \
     cast in Delph. Mail is carried by the Osprey. The ice house was dug by monks. The nets are \
     mended on Mondays.\n",
);
/// Split, document, quote, answer, question.
const FACTS: [[&str; 5]; 16] = [
    ["train", HARBOUR.0, "sails to Gull Bay", "Gull Bay", "Where does the Heron sail?"],
    ["train", HARBOUR.0, "was painted green", "green", "What colour was the Petrel painted?"],
    ["train", HARBOUR.0, "is steered by Ida Moss", "Ida Moss", "Who steers the tender?"],
    ["train", HARBOUR.0, "costs four shillings", "four shillings", "What does a ticket cost?"],
    ["dev", HARBOUR.0, "bell rings at noon", "noon", "When does the quay bell ring?"],
    ["dev", HARBOUR.0, "sells tarred rope", "tarred rope", "What does the chandler sell?"],
    ["dev", HARBOUR.0, "lives on Finch Lane", "Finch Lane", "Where does the pilot live?"],
    ["dev", HARBOUR.0, "lifts nine tonnes", "nine tonnes", "How much does the old crane lift?"],
    [
        "test",
        FERRIES.0,
        "leaves the north quay at seven",
        "seven",
        "When does the Marrow ferry leave?",
    ],
    ["test", FERRIES.0, "It carries 212 passengers", "212", "How many may board the Marrow ferry?"],
    ["test", LIGHTS.0, "lit by Edda Vane in 1871", "Edda Vane", "Who lit the lamp on Sallow Rock?"],
    [
        "test",
        LIGHTS.0,
        "It burns whale oil",
        "whale oil",
        "What does the lamp on Sallow Rock burn?",
    ],
    ["test", HARBOUR.0, "cast in Delph", "Delph", "Where was the fog horn cast?"],
    ["test", HARBOUR.0, "carried by the Osprey", "the Osprey", "Which boat carries the mail?"],
    ["test", HARBOUR.0, "dug by monks", "monks", "Who dug the ice house?"],
    ["test", HARBOUR.0, "mended on Mondays", "Mondays", "On which day are the nets mended?"],
];

/// A project with a set of eight test questions on three documents.
fn project_with_set() -> Project {
    let project = Project::with_documents(&[FERRIES, LIGHTS, HARBOUR]);
    let rows: Vec<String> = FACTS
        .iter()
        .map(|[split, document, quote, answer, question]| {
            let evidence = [serde_json::json!({"document": format!("documents/{document}"), "quote": quote})];
            let row = serde_json::json!({"question": question, "answers": [answer], "split": split, "evidence": evidence});
            format!("{row}\n")
        })
        .collect();
    project.add_set("facts", "contains", &rows.concat());
    project.ok(&["ingest"]);
    project
}

#[test]
fn comparisons_reuse_trials_and_lead_to_a_decision() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    let first = project.run(&["compare", "facts", "--arms", "base,rag,oracle"]);
    assert_eq!(first.code, 0, "{}\n{}", first.out, first.err);
    assert!(first.err.contains("has RAG hit its ceiling?"), "{}", first.err);
    assert!(
        first.out.contains("rag") && first.out.contains("score (95 % interval)"),
        "{}",
        first.out
    );

    let again = project.run(&["compare", "facts", "--arms", "base,rag,oracle"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.err.contains("test: 0 trials to run, "), "{}", again.err);
    assert_eq!(
        again.out.lines().take(5).collect::<Vec<_>>(),
        first.out.lines().take(5).collect::<Vec<_>>()
    );

    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    assert_eq!(decision["set"], "facts");
    assert_eq!(decision["outcome"], "undetermined", "eight questions decide nothing");
    assert_eq!(decision["exploratory"], true);
    for field in [
        "systems",
        "contrasts",
        "tree",
        "flips",
        "attribution",
        "gate",
        "rule",
        "openings",
        "sentence",
    ] {
        assert!(!decision[field].is_null(), "{field} in the decision");
    }
    // Three arms and the two baselines.
    assert_eq!(decision["systems"].as_array().unwrap().len(), 5);
    assert_eq!(
        decision["openings"].as_array().unwrap().len(),
        2,
        "every opening of test is logged"
    );

    assert_eq!(
        decision["looks"],
        serde_json::json!({"openings": 1, "changed": [], "passed_over": []}),
        "the same trials seen again are no further look"
    );

    let said = project.ok(&["decide"]);
    assert!(said.contains("\ndecision facts: undetermined\n"), "{said}");
    let report = said.lines().find_map(|line| line.strip_prefix("report ")).unwrap();
    assert!(fs::read_to_string(report).unwrap().starts_with("<!DOCTYPE html>"));
}

#[test]
fn what_was_frozen_at_the_first_opening_and_larger_evidence_stay() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    let first = project.run(&["compare", "facts", "--arms", "base,rag"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let few = "dev: 4 questions choose the settings and read the gate, too few for halves";
    assert!(first.err.contains(few), "{}", first.err);
    let table = first.out.lines().filter(|line| line.contains("baseline"));
    assert_eq!(table.count(), 2, "{}", first.out);

    let smaller = project.run(&["compare", "facts", "--arms", "base,rag", "--limit", "4"]);
    let left_out =
        "the comparison of 8 questions before stays the evidence; left out: 4 of 8 test questions";
    assert!(smaller.err.contains(left_out), "{}", smaller.err);
    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    assert_eq!((&decision["questions"], &decision["looks"]["openings"]), (&8.into(), &1.into()));
    assert_eq!(decision["looks"]["passed_over"].as_array().unwrap().len(), 1);
    let of = |arm: &str| {
        let arms = decision["systems"].as_array().unwrap();
        arms.iter().find(|summary| summary["system"] == arm).unwrap().clone()
    };
    let seconds = |arm| of(arm)["seconds_per_query"].as_f64().unwrap();
    assert!(seconds("base") < seconds("rag") && seconds("nearest-answer") == 0.0, "{decision}");
    assert_eq!(of("most-frequent")["prompt_tokens"], 0.0);

    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", config + "margin = 0.2\n");
    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    assert_eq!(decision["looks"]["changed"], serde_json::json!(["margin"]));
    assert_eq!(decision["exploratory"], true);
    project.ok(&["compare", "facts", "--arms", "base,rag"]);
    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    assert_eq!(
        decision["looks"]["openings"], 3,
        "the whole, a part of it, and with another margin"
    );
}

#[test]
fn a_system_that_is_there_takes_part_by_its_answers() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    project.ok(&["compare", "facts", "--arms", "base"]);
    let asked = project.ok(&["questions", "export", "facts"]);
    assert!(!asked.contains("answers"), "{asked}");
    let rows: Vec<serde_json::Value> =
        asked.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 8);

    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let table =
        "\n[[system]]\nname = \"helpdesk\"\nanswers = \"helpdesk.jsonl\"\nset = \"facts\"\n";
    project.write("tunesmith.toml", config + table);
    project.write("helpdesk.jsonl", "{\"id\": \"nobody\", \"answer\": 1}\n{\"answer\": \"x\"}\n");
    let refused = project.run(&["compare", "facts", "--arms", "base"]);
    assert_ne!(refused.code, 0);
    for fault in [
        "helpdesk.jsonl:1: id: expected the id of a question of set \"facts\"",
        "helpdesk.jsonl:2: id:",
    ] {
        assert!(refused.err.contains(fault), "{}", refused.err);
    }
    assert!(!refused.err.contains("opened"), "{}", refused.err);

    // It answers all but one question.
    let line = |row: &serde_json::Value| serde_json::json!({"id": row["id"], "answer": "Harbour House", "latency_seconds": 0.25});
    let answers: Vec<String> = rows[1..].iter().map(|row| line(row).to_string()).collect();
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let stranger = "\n[[system]]\nname = \"stranger\"\nanswers = \"stranger.jsonl\"\n";
    project.write("tunesmith.toml", config + stranger);
    project.write("stranger.jsonl", "{\"id\": \"nobody\", \"answer\": 1}\n");
    project.write("helpdesk.jsonl", answers.join("\n"));
    let compared = project.run(&["compare", "facts", "--arms", "base"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    let said = "helpdesk takes part by its answers to all but 1 of the test questions";
    assert!(compared.err.contains(said), "{}", compared.err);
    let nothing = "stranger takes part by its answers to none of the test questions, and so not at all; \
                   not used: 1 other answer";
    assert!(compared.err.contains(nothing), "{}", compared.err);
    assert!(compared.err.contains("test: 0 trials to run, "), "{}", compared.err);
    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    let systems = decision["systems"].as_array().unwrap();
    let foreign = systems.iter().find(|one| one["system"] == "helpdesk").unwrap();
    assert_eq!((&foreign["questions"], &foreign["seconds_per_query"]), (&7.into(), &0.25.into()));
    assert_eq!((&decision["questions"], &decision["unshared"]), (&7.into(), &1.into()));
    assert_eq!(decision["looks"]["openings"], 1, "no other trial has changed");

    project.write("helpdesk.jsonl", answers[1..].join("\n"));
    project.ok(&["compare", "facts", "--arms", "base"]);
    let decision = project.json(&["decide", "facts", "--json"])[0].clone();
    assert_eq!(decision["looks"]["changed"], serde_json::json!(["answers"]));
}

#[test]
fn a_set_without_documents_is_trained_on_and_compared() {
    if !models_are_here() {
        return;
    }
    let project = Project::new();
    project.write(
        "tunesmith.toml",
        "[project]\nname = \"test\"\ndocuments = []\n[training]\nepochs = 1\nrank = 2\n",
    );
    let row = |split: &str, i: usize| {
        let (what, tray) = [("lost my hat", "red"), ("found a glove", "blue")][i % 2];
        format!(
            "{{\"question\":\"{split} {i}: I {what}\",\"answers\":[\"{tray}\"],\"split\":\"{split}\"}}\n"
        )
    };
    let rows =
        ["train", "dev", "test"].map(|split| (0..4).map(|i| row(split, i)).collect::<String>());
    project.add_set("trays", "label", &rows.concat());
    let run = project.run(&["compare", "trays"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("plain: with all 3 seeds at most about"), "{}", run.err);
    assert!(run.err.contains("on dev with the first adapters: base: "), "{}", run.err);
    let again = project.json(&["compare", "trays", "--seeds", "1", "--json"]);
    assert_eq!(again[0]["training"].as_array().unwrap().len(), 1);
    project.ok(&["compare", "trays"]);
    let decision = project.json(&["decide", "trays", "--json"])[0].clone();
    let arms =
        decision["systems"].as_array().unwrap().iter().map(|arm| arm["system"].as_str().unwrap());
    assert_eq!(
        arms.collect::<Vec<_>>(),
        ["base", "few-shot", "tuned", "most-frequent", "nearest-answer"]
    );
}

#[test]
fn a_changed_document_runs_again_what_read_it() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    project.ok(&["compare", "facts", "--arms", "base,oracle", "--limit", "4"]);
    project.write(
        "documents/lights.md",
        LIGHTS.1.replace("It burns", "They say it burns").replace("# Light", "# All light"),
    );
    let said = project.run(&["ingest"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let rows = fs::read_to_string(project.path("questions/facts.jsonl")).unwrap();
    project
        .write("questions/facts.jsonl", rows.replace("It burns whale oil", "it burns whale oil"));
    let note = project.run(&["decide", "facts"]);
    assert!(
        note.err.contains("documents have changed since set \"facts\" was compared"),
        "{}",
        note.err
    );
    let again = project.run(&["compare", "facts", "--arms", "base,oracle", "--limit", "4"]);
    let line =
        again.err.lines().find(|line| line.contains("test: ") && line.contains("to run")).unwrap();
    assert!(
        line.contains("are there already") && !line.contains(" 0 trials"),
        "base is reused, oracle is not: {line}"
    );
}

#[test]
fn adapters_are_trained_shown_reused_and_flagged() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", config + "\n[training]\nepochs = 1\nrank = 2\n");
    let shown = project.ok(&["tune", "facts", "--recipe", "raft", "--show"]);
    assert!(shown.contains("Question: Where does the Heron sail?"), "{shown}");
    let first = project.run(&["tune", "facts", "--json"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.err.contains("about ") && first.err.contains("4 examples to learn from"),
        "{}",
        first.err
    );
    let manifest: Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!(
        (&manifest["recipe"], &manifest["examples"]),
        (&Value::from("plain"), &Value::from(4))
    );
    let folder = project.path(".tunesmith/adapters/facts/plain/seed-1");
    assert!(
        folder.join("adapter_config.json").is_file()
            && folder.join("adapter_model.safetensors").is_file()
    );
    let again = project.run(&["tune", "facts"]);
    assert!(again.err.contains("is up to date: nothing to train"), "{}", again.err);
    let answer = project.json(&[
        "ask",
        "When does the Marrow ferry leave?",
        "--set",
        "facts",
        "--arm",
        "tuned",
        "--json",
    ]);
    assert_eq!(answer["arm"], "tuned");
    assert!(
        project
            .fails(&["ask", "When?", "--set", "facts", "--arm", "raft"])
            .contains("has no raft adapter")
    );
}

#[test]
fn an_interrupted_training_is_resumed() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write(
        "tunesmith.toml",
        config + "\n[training]\nepochs = 16\nrank = 2\npatience = 1000\nbatch_tokens = 64\n",
    );
    let mut running =
        project.command(&["tune", "facts"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let said = std::io::BufReader::new(running.stderr.take().unwrap());
    // Interrupted as soon as it trains: the first evaluation is printed.
    let mut lines = std::io::BufRead::lines(said);
    let evaluated = lines.by_ref().map_while(Result::ok).any(|line| line.contains("dev loss"));
    assert!(evaluated, "it trains");
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(
        rest.iter().any(|line| line.contains("tunesmith tune facts --recipe plain --resume")),
        "{rest:?}"
    );

    // Another run's checkpoint is refused by name, not silently continued.
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write("tunesmith.toml", config.replace("epochs = 16", "epochs = 1"));
    assert!(project.fails(&["tune", "facts", "--resume"]).contains("another run"));

    // Its own is continued to the very weights of a run that nobody interrupted.
    project.write("tunesmith.toml", config);
    let weights = project.path(".tunesmith/adapters/facts/plain/seed-1/adapter_model.safetensors");
    project.ok(&["tune", "facts", "--resume"]);
    let resumed = fs::read(&weights).unwrap();
    project.ok(&["tune", "facts", "--again"]);
    assert_eq!(fs::read(&weights).unwrap(), resumed);
}

#[test]
fn questions_that_a_model_wrote_stand_apart() {
    if !models_are_here() {
        return;
    }
    let long = "The harbour of Lund opened in 1904. Its first crane, built by Nilsson, could lift four tonnes of timber or coal at a time.";
    let project = Project::with_documents(&[("lund.md", long), ("short.md", "Ducks swim.")]);
    assert!(project.fails(&["questions", "write"]).contains("run `tunesmith ingest`"));
    project.ok(&["ingest"]);
    assert!(
        project
            .fails(&["eval", "retrieval", "--synthetic"])
            .contains("`tunesmith questions write`")
    );
    let written = project.json(&["questions", "write", "--count", "3", "--json"]);
    assert_eq!(
        (written["questions"].as_i64(), written["passed_over"].as_i64()),
        (Some(1), Some(0)),
        "{written}"
    );
    let listed = project.json(&["questions", "list", "--json"]);
    // Its evidence is one of the sentences.
    let (path, span) = (listed[0]["path"].as_str(), &listed[0]["span"]);
    let at = |end: &str| span[end].as_u64().unwrap() as usize;
    assert_eq!(path, Some("documents/lund.md"));
    assert!(
        long.split_inclusive(". ").any(|sentence| sentence.trim() == &long[at("start")..at("end")]),
        "{span}"
    );
    let again = project.json(&["questions", "write", "--count", "3", "--json"]);
    assert_eq!((again["written"].as_i64(), again["questions"].as_i64()), (Some(0), Some(1)));
    let report = project.json(&["eval", "retrieval", "--synthetic"]);
    assert_eq!(
        (report["set"].as_str(), report["synthetic"].as_bool()),
        (Some("(synthetic)"), Some(true))
    );
    assert_eq!(report["runs"][2]["recall_at_1"].as_f64(), Some(1.0));
    // They go with the version they are about.
    project.write("documents/lund.md", "The harbour of Lund was closed.");
    project.ok(&["ingest"]);
    assert!(project.json(&["questions", "list", "--json"]).as_array().unwrap().is_empty());
}
