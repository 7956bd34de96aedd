//! The project's collection of mixed, broken and hostile files, each with what must become of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tunesmith_text::{ChunkOptions, Error, Words, chunk, load, read};

#[derive(Deserialize)]
struct Expected {
    file: String,
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
    assert!(
        std::env::var_os("TUNESMITH_REQUIRE_SHARED").is_none(),
        "{} is missing",
        folder.display()
    );
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
            Ok(document) => {
                format!("{} with {} characters", document.format, document.receipt.characters)
            }
            Err(error) => error.to_string(),
        };
        eprintln!("{:32} {:20} {said}", expected.file, expected.expect);
        let met = match (&outcome, expected.expect.as_str()) {
            (Ok(document), "text" | "text_or_error" | "text_or_unsupported") => {
                let text = fold(&document.text);
                let chunks =
                    chunk(&document.text, &document.blocks, &ChunkOptions::default(), &Words);
                !chunks.is_empty()
                    && expected.must_contain.iter().all(|phrase| text.contains(&fold(phrase)))
                    && expected
                        .must_not_contain
                        .iter()
                        .all(|phrase| !document.text.contains(phrase))
            }
            (Err(_), "text_or_error") => true,
            (Err(Error::NoText { .. }), "no_text") => true,
            (Err(Error::Empty), "empty") => true,
            (Err(error), "error") => !matches!(error, Error::NoText { .. } | Error::Empty),
            _ => false,
        };
        if !met {
            failures.push(format!("{}: expected {}, got {said}", expected.file, expected.expect));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    // Linux tells the peak of the whole process, which read one file after the other.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        let kilobytes: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 1 << 20, "reading took {kilobytes} KiB at its peak");
    }
}
