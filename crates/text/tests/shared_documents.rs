//! The project's collection of mixed, broken and hostile files, each with what must become of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tunesmith_text::{ChunkOptions, Error, Words, chunk, load, read};

#[derive(Deserialize)]
struct Expected {
    file: String,
    format: String,
    expect: String,
    must_contain: Vec<String>,
    must_not_contain: Vec<String>,
}

/// The collection beside the workspace; `None`, said aloud, where it is absent and not required.
fn collection() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/documents");
    let folder = match std::env::var_os("TUNESMITH_SHARED") {
        Some(shared) => Path::new(&shared).join("data/documents"),
        None => folder,
    };
    if folder.join("manifest.jsonl").exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("TUNESMITH_REQUIRE_SHARED").is_none(), "{} is missing", folder.display());
    eprintln!("skipped: {} is not there", folder.display());
    None
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_file_meets_its_expectation() {
    let Some(folder) = collection() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let mut failures = Vec::new();
    for line in manifest.lines() {
        let expected: Expected = serde_json::from_str(line).unwrap();
        let path = folder.join("files").join(&expected.file);
        let outcome = read(&path, &load(&path).unwrap());
        let said = match &outcome {
            Ok(document) => format!("{} with {} characters", document.format, document.receipt.characters),
            Err(error) => error.to_string(),
        };
        eprintln!("{:32} {:20} {said}", expected.file, expected.expect);
        let known = ["md", "txt", "html", "pdf", "csv", "jsonl"].contains(&expected.format.as_str());
        let met = match (&outcome, expected.expect.as_str()) {
            // Formats that are not read yet are refused by name, whatever may become of them later.
            (Err(Error::Unsupported { .. }), _) if !known => true,
            (Ok(document), "text" | "text_or_error") if known => {
                let text = fold(&document.text);
                let chunks = chunk(document, &ChunkOptions::default(), &Words);
                !chunks.is_empty()
                    && expected.must_contain.iter().all(|phrase| text.contains(&fold(phrase)))
                    && expected.must_not_contain.iter().all(|phrase| !document.text.contains(phrase))
            }
            (Err(_), "text_or_error") => known,
            (Err(Error::NoText { .. }), "no_text") => true,
            (Err(Error::Empty), "empty") => true,
            (Err(error), "error") => known && !matches!(error, Error::NoText { .. } | Error::Empty),
            _ => false,
        };
        if !met {
            failures.push(format!("{}: expected {}, got {said}", expected.file, expected.expect));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
