//! Another way of cutting beside the one in use, with a tiny embedder that needs no download.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::project::Project;

/// A project whose only document has two sections, one of many sentences, with a question to one of
/// them.
fn project(barge: usize) -> Project {
    let project = Project::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lm/tests/fixtures/tiny-bert");
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let models = format!("\n[models]\nembedder = {:?}\n", tiny.display().to_string());
    project.write("tunesmith.toml", format!("{config}{models}"));
    let sentences: String = (0..40)
        .map(|at| format!("Barge {at} carries {} crates of apples to the mill. ", at * 3))
        .collect();
    project.write(
        "documents/barges.md",
        format!("# Barges\n\n{sentences}\n\n# Mills\n\nThe mill is old.\n"),
    );
    let evidence = json!([{"document": "documents/barges.md", "quote": format!("Barge {barge} carries {} crates", barge * 3)}]);
    let rows: String = ["train", "dev", "test"]
        .iter()
        .map(|split| {
            let question = format!("what does barge {barge} carry, for {split}");
            let row = json!({"id": split, "question": question, "answers": [format!("{} crates", barge * 3)], "split": split, "evidence": evidence});
            format!("{row}\n")
        })
        .collect();
    project.add_set("barges", "contains", &rows);
    project.ok(&["ingest"]);
    project
}

fn chunks(project: &Project) -> Vec<(i64, bool, i64, i64)> {
    let listed = project.json(&["index", "--json"]);
    let number = |value: &Value| value.as_i64().unwrap();
    let rows = listed.as_array().unwrap().iter();
    rows.map(|row| {
        let in_use = row["in_use"].as_bool().unwrap();
        (number(&row["index"]), in_use, number(&row["chunks"]), number(&row["lacking"]))
    })
    .collect()
}

fn passages(project: &Project, words: &str) -> Vec<String> {
    let found = project.json(&["search", words, "--lexical-weight", "1", "--json"]);
    let hits = found["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_index_is_built_beside_taken_and_given_back() {
    let project = project(39);
    let nothing = project.ok(&["index", "build"]);
    assert!(nothing.contains("there is nothing to build"), "{nothing}");
    let before = passages(&project, "barge 39");
    let whole = chunks(&project)[0].2;

    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    project
        .write("tunesmith.toml", format!("{config}\n[chunks]\nmax_tokens = 40\nmin_tokens = 10\n"));
    // Nothing changes until the other index is there and wanted; documents still come in as they
    // did.
    assert_eq!(passages(&project, "barge 39"), before);
    project.write("documents/locks.md", "# Locks\n\nThe lock keeper sleeps.\n");
    let run = project.run(&["ingest"]);
    assert!(
        run.out.starts_with("1 document stored (1 chunk)") && run.err.contains("10 to 40 tokens"),
        "{}",
        run.err
    );

    let said = project.ok(&["index", "build"]);
    assert!(
        said.contains("barges, 1 dev question:")
            && said.contains("index 2: evidence in the first 5"),
        "{said}"
    );
    let [(1, true, first, 0), (2, false, second, 0)] = chunks(&project)[..] else {
        panic!("{:?}", chunks(&project))
    };
    assert!(first == whole + 1 && second > 2 * first);
    assert_eq!(passages(&project, "barge 39"), before);

    let said = project.ok(&["index", "use", "2"]);
    assert!(said.contains("index 2 is in use: 10 to 40 tokens"), "{said}");
    let after = passages(&project, "barge 39");
    assert!(after[0].contains("Barge 39") && after[0].len() < before[0].len() / 2);

    // The old one is brought up to date before it is used again: what was deleted and changed
    // meanwhile counts.
    project.write("documents/barges.md", "# Barges\n\nBarge 39 was sold.\n");
    fs::remove_file(project.path("documents/locks.md")).unwrap();
    project.ok(&["ingest"]);
    assert_eq!(chunks(&project), [(1, false, 0, 1), (2, true, 1, 0)]);
    let back = project.run(&["index", "use", "1"]);
    assert!(
        back.err.contains("1 document to cut and embed") && back.err.contains("note: "),
        "{}",
        back.err
    );
    assert_eq!(passages(&project, "barge 39"), ["# Barges\n\nBarge 39 was sold."]);

    assert!(project.fails(&["index", "drop", "1"]).contains("index 1 is in use"));
    project.ok(&["index", "drop", "2"]);
    assert!(project.fails(&["index", "use", "2"]).contains("there is no index 2"));
    assert_eq!(chunks(&project), [(1, true, 1, 0)]);
}

/// Adopts, if it is not worse, an index of single sentences instead of a whole section.
fn of_sentences(project: &Project) -> Value {
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let sentences =
        "[retrieval]\nlexical_weight = 1.0\n\n[chunks]\nmax_tokens = 24\nmin_tokens = 1\n";
    project.write("tunesmith.toml", format!("{config}\n{sentences}"));
    project.json(&["index", "build", "--adopt", "--json"])
}

#[test]
fn an_index_that_is_not_worse_is_adopted() {
    let project = project(38);
    let built = of_sentences(&project);
    assert_eq!((&built["not_worse"], &built["in_use"]), (&json!(true), &json!(true)), "{built}");
    let set = &built["sets"][0];
    assert!(set["after"]["characters"].as_f64() < set["before"]["characters"].as_f64(), "{built}");
    assert!(chunks(&project)[1].1);
}

#[test]
fn an_index_that_is_worse_is_not_adopted() {
    // Barge 13 carries 39 crates.
    let project = project(39);
    let built = of_sentences(&project);
    assert_eq!((&built["not_worse"], &built["in_use"]), (&json!(false), &json!(false)), "{built}");
    assert_eq!(built["sets"][0]["after"]["mrr_at_10"], 0.5);
    assert!(chunks(&project)[0].1);
    assert!(project.run(&["search", "barge"]).err.contains("note: "));
}
