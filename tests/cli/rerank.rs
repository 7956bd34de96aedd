//! The reranker from configuration to report, with a tiny cross-encoder of random weights: it shows
//! that the stage works, not that it helps.

use serde_json::{Value, json};

use crate::project::{Project, models_are_here};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/lm/tests/fixtures/tiny-cross");
const EMBEDDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/lm/tests/fixtures/tiny-bert");

/// Five documents that all say something of ferries, a set on them, and perhaps a reranker.
fn project(reranker: Option<&str>) -> Project {
    let said = [
        "leaves at seven",
        "carries 212 passengers",
        "has a brass bell",
        "was built in 1871",
        "is painted green",
    ];
    let names: Vec<String> = (0..said.len()).map(|number| format!("ferry{number}.md")).collect();
    let texts: Vec<String> = (1..)
        .zip(said)
        .map(|(number, said)| format!("# Ferry {number}\n\nFerry number {number} {said}.\n"))
        .collect();
    let documents: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let project = Project::with_documents(&documents);
    if let Some(reranker) = reranker {
        let mut config = std::fs::read_to_string(project.path("tunesmith.toml")).unwrap();
        config
            .push_str(&format!("[retrieval]\nreranker = \"{reranker}\"\nrerank_candidates = 3\n"));
        project.write("tunesmith.toml", config);
    }
    // Each split asks something else about the same documents.
    let asked = [("train", "Price"), ("dev", "Captain"), ("test", "Colour")];
    let rows: Vec<String> = asked
        .iter()
        .flat_map(|(split, wanted)| {
            (1..).zip(&said).map(move |(number, said)| {
                json!({"question": format!("{wanted} of the ferry that {said}?"), "answers": [format!("{wanted} {number}")], "split": split,
                       "evidence": [{"document": format!("documents/ferry{}.md", number - 1), "quote": said}]})
                .to_string()
            })
        })
        .collect();
    project.add_set("facts", "contains", &rows.join("\n"));
    project.ok(&["ingest"]);
    project
}

#[test]
fn a_reranker_puts_the_first_hits_in_order() {
    if !models_are_here() {
        return;
    }
    let project = project(Some(TINY));
    let question = "Which ferry has a brass bell?";
    let found = project.json(&["search", question, "--json", "-k", "5"]);
    let hits = found["hits"].as_array().unwrap();
    let scores: Vec<Option<f64>> =
        hits.iter().map(|hit| hit["explain"]["reranked"].as_f64()).collect();
    assert!(
        scores.len() == 5 && scores[..3].is_sorted_by(|a, b| a >= b) && scores[2].is_some(),
        "{scores:?}"
    );
    assert_eq!(scores[3..], [None, None]);
    assert!(hits[3]["score"].as_f64() >= hits[4]["score"].as_f64());
    assert!(found["rerank_seconds"].as_f64().unwrap() > 0.0);
    let explained = project.ok(&["search", question, "--explain"]);
    assert!(explained.contains("   reranker ") && explained.contains("reranking "), "{explained}");
    let few = project.json(&["search", question, "--json", "-k", "1"]);
    assert_eq!(few["hits"][0]["chunk"], hits[0]["chunk"], "more are read than are shown");
}

#[test]
fn a_reranker_is_measured_beside_none() {
    if !models_are_here() {
        return;
    }
    let project = project(None);
    let arguments = ["eval", "retrieval", "--set", "facts", "--lexical-weights", "0.4"];
    let without = project.json(&arguments);
    assert!(without.get("reranker").is_none(), "{without}");
    let with = project.json(&[arguments.as_slice(), &["--reranker", TINY]].concat());
    let names: Vec<&Value> =
        with["runs"].as_array().unwrap().iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["bm25", "vectors", "fusion", "reranked"]);
    assert_eq!(with["runs"].as_array().unwrap()[..3], without["runs"].as_array().unwrap()[..]);
    let beside = &with["reranker"][0];
    assert_eq!(beside["without"], with["runs"][2]["mrr_at_10"]);
    assert_eq!(beside["with"], with["runs"][3]["mrr_at_10"]);
    let finding = beside["finding"].as_str().unwrap();
    let worse = beside["with"].as_f64() < beside["without"].as_f64();
    assert_eq!(worse, finding.contains("worse than none: leave it out"), "{finding}");

    project.write(
        "beir/corpus.jsonl",
        "{\"_id\":\"a\",\"text\":\"the word\"}\n{\"_id\":\"b\",\"text\":\"another thing\"}\n",
    );
    project.write("beir/queries.jsonl", "{\"_id\":\"q\",\"text\":\"which word\"}\n");
    project.write("beir/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\ta\t1\n");
    let folder = project.path("beir");
    let beir = [
        "eval",
        "retrieval",
        "--beir",
        folder.to_str().unwrap(),
        "--lexical-weights",
        "0.4",
        "--reranker",
        TINY,
    ];
    let report = project.json(&beir);
    assert_eq!(report["runs"][3]["name"], "reranked");
    assert_eq!(report["reranker"][0]["measure"], "nDCG@10");
}

#[test]
fn a_model_that_is_no_reranker_is_refused_with_the_reason() {
    if !models_are_here() {
        return;
    }
    let project = project(None);
    let arguments = ["eval", "retrieval", "--set", "facts", "--reranker"];
    let said = project.fails(&[arguments.as_slice(), &[EMBEDDER]].concat());
    assert!(said.contains("expected a cross-encoder"), "{said}");
    let said = project.fails(&[arguments.as_slice(), &["cross-encoder/none"]].concat());
    assert!(said.contains("unknown model \"cross-encoder/none\""), "{said}");
}

#[test]
fn a_comparison_uses_a_reranker_only_where_it_is_no_worse_on_dev() {
    if !models_are_here() {
        return;
    }
    let project = project(Some(TINY));
    let compared = project.run(&["compare", "facts", "--arms", "base,rag"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    let said = compared.err.lines().find(|line| line.contains("the reranker is")).unwrap();
    let decided = project.run(&["decide", "facts"]);
    let remark = said.split_once(": ").unwrap().1;
    assert!(
        decided.out.contains(remark) || decided.err.contains(remark),
        "{said}\n{}\n{}",
        decided.out,
        decided.err
    );
    let report = std::fs::read_to_string(project.path(".tunesmith/reports/facts.html")).unwrap();
    assert!(report.contains("the reranker is"), "the report says so");
}
