//! Tuning the embedder, with a tiny one that needs no download.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::project::Project;

/// A project of twenty documents whose embedder is the tiny one, and a question to each of them.
fn project(evidence: bool) -> Project {
    let project = Project::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lm/tests/fixtures/tiny-bert");
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project.write(
        "tunesmith.toml",
        format!("{config}\n[models]\nembedder = {:?}\n", tiny.display().to_string()),
    );
    let mut rows = String::new();
    for (number, name) in NAMES.iter().enumerate() {
        let quote = format!("The {name} ferry leaves at {} past {}.", number + 3, number + 1);
        project.write(&format!("documents/{name}.md"), format!("# The {name} ferry\n\n{quote}\n"));
        let split = ["train", "train", "train", "dev", "test"][number % 5];
        let mut row = json!({
            "id": format!("q{number}"),
            "question": format!("when does the boat of {name} go"),
            "answers": [format!("{} past {}", number + 3, number + 1)],
            "split": split,
        });
        if evidence {
            row["evidence"] = json!([{"document": format!("documents/{name}.md"), "quote": quote}]);
        }
        rows.push_str(&format!("{row}\n"));
    }
    project.add_set("ferries", "contains", &rows);
    project.ok(&["ingest"]);
    project
}

const NAMES: [&str; 20] = [
    "Alder", "Birch", "Cedar", "Dogwood", "Elder", "Fir", "Gorse", "Hazel", "Ivy", "Juniper",
    "Kelp", "Larch", "Maple", "Nettle", "Oak", "Pine", "Quince", "Rowan", "Spruce", "Thorn",
];

fn embedders(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.path(".tunesmith/embedders")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_tuned_embedder_is_measured_kept_and_never_adopted_by_itself() {
    let project = project(true);
    let hits = || project.json(&["search", "boat", "--json"])["hits"].take();
    let before = hits();
    let tune = [
        "tune",
        "ferries",
        "--embedder",
        "--epochs",
        "3",
        "--batch",
        "4",
        "--learning-rate",
        "2e-3",
    ];
    let tuned = project.json(&[&tune[..], &["--json"]].concat());
    assert_eq!(
        (&tuned["train"], &tuned["dev"], &tuned["pairs"]),
        (&json!(12), &json!(4), &json!(12))
    );
    assert!(["better", "undetermined", "not-better"].contains(&tuned["verdict"].as_str().unwrap()));
    for measured in [&tuned["before"], &tuned["after"]] {
        let ndcg = measured["fused"]["ndcg_at_10"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&ndcg), "{tuned}");
    }
    let names = embedders(&project);
    let [name] = &names[..] else { panic!("one folder, no leftovers: {names:?}") };
    assert!(name.starts_with("ferries-"), "{name}");
    let report =
        fs::read_to_string(project.path(&format!(".tunesmith/embedders/{name}/tuning.json")))
            .unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["identity"], tuned["identity"]);
    assert_ne!(report["identity"], report["base"]);
    assert_eq!(hits(), before, "the index was changed");

    // The same run gives the same weights, and says what to do.
    let said = project.ok(&tune);
    assert!(said.contains("nDCG@10") && said.contains(name.as_str()), "{said}");
    assert_eq!(embedders(&project), names);

    // Asked for in the configuration, it answers only once an index is made by it and taken into
    // use.
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let adopted = format!("embedder = \".tunesmith/embedders/{name}\"");
    let others = config
        .lines()
        .map(|line| if line.starts_with("embedder") { adopted.as_str() } else { line });
    project.write("tunesmith.toml", others.collect::<Vec<_>>().join("\n"));
    assert!(project.run(&["search", "boat"]).err.contains("`tunesmith index build`"));
    assert_eq!(hits(), before);
    let built = project.json(&["index", "build", "--json"]);
    assert_eq!((&built["index"], &built["sets"][0]["questions"]), (&json!(2), &json!(4)));
    assert_eq!(hits(), before);
    project.ok(&["index", "use", "2"]);
    let cosines = |hits: &Value| {
        hits.as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["explain"]["cosine"].clone())
            .collect::<Vec<_>>()
    };
    assert_ne!(cosines(&hits()), cosines(&before));
}

#[test]
fn questions_without_evidence_cannot_teach_an_embedder() {
    let said = project(false).fails(&["tune", "ferries", "--embedder"]);
    assert!(said.contains("has no train question that names its evidence"), "{said}");
}

#[test]
fn a_collection_is_measured_before_and_after() {
    let project = Project::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lm/tests/fixtures/tiny-bert");
    let (mut corpus, mut queries) = (String::new(), String::new());
    let mut qrels = [
        String::from("query-id\tcorpus-id\tscore\n"),
        String::from("query-id\tcorpus-id\tscore\n"),
    ];
    for number in 0..60 {
        let name = NAMES[number % 20];
        let text = format!("{name} has {number} berths and {} masts", number * 7);
        corpus.push_str(&format!(
            "{}\n",
            json!({"_id": format!("d{number}"), "title": name, "text": text})
        ));
        let asked = format!("which ship of {name} has {number} berths");
        queries.push_str(&format!("{}\n", json!({"_id": format!("q{number}"), "text": asked})));
        qrels[usize::from(number % 4 == 0)].push_str(&format!("q{number}\td{number}\t1\n"));
    }
    project.write("ships/corpus.jsonl", corpus);
    project.write("ships/queries.jsonl", queries);
    project.write("ships/qrels/train.tsv", &qrels[0]);
    project.write("ships/qrels/test.tsv", &qrels[1]);
    let tiny = tiny.display().to_string();
    let report = project.json(&[
        "eval",
        "retrieval",
        "--beir",
        "ships",
        "--embedder",
        &tiny,
        "--tune",
        "tuned",
        "--epochs",
        "2",
        "--batch",
        "8",
        "--lexical-weights",
        "0.5",
    ]);
    let tuning = &report["tuning"];
    let (train, dev) = (tuning["train"].as_u64().unwrap(), tuning["dev"].as_u64().unwrap());
    assert_eq!(train + dev + tuning["left_out"].as_u64().unwrap(), 45);
    assert!((1..=15).contains(&dev), "{dev}");
    for part in ["untuned", "tuned"] {
        assert_eq!(report[part]["queries"], 15);
        assert_eq!(report[part]["runs"][1]["name"], "vectors");
    }
    // BM25 does not depend on the embedder.
    assert_eq!(report["untuned"]["runs"][0], report["tuned"]["runs"][0]);
    let compared = report["compared"].as_array().unwrap();
    assert_eq!(compared.len(), 2);
    assert_eq!(compared[0]["documents_unseen"]["queries"], 15);
    assert!(project.path("tuned").is_dir());

    let said = project.fails(&[
        "eval",
        "retrieval",
        "--beir",
        "ships",
        "--embedder",
        &tiny,
        "--tune",
        "tuned",
        "--epochs",
        "0",
    ]);
    assert!(said.contains("epochs: is 0"), "{said}");
}
