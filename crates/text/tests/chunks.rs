//! What holds for every document, however it is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use proptest::prelude::*;
use tunesmith_text::{BlockKind, Chunk, ChunkOptions, Document, Sizer, Words, chunk, read};

/// Pieces that make a page awkward when they are put together at random.
fn page() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("# Heading\n".to_string()),
        Just("\n## Ünder — heading #\n\n".to_string()),
        Just("Setext\n===\n".to_string()),
        Just("\n\n".to_string()),
        Just("| a | b |\n|---|---|\n| 1 | 2 |\n".to_string()),
        (1usize..60).prop_map(|n| format!(
            "\n| name | a longer value |\n|---|---|\n{}\n",
            "| row | naïve 東京 |\n".repeat(n)
        )),
        Just("```\ncode\n\n  more\n".to_string()),
        Just("- item\n  - nested. And more!\n".to_string()),
        Just("> quote\n".to_string()),
        Just("<div><table><tr><td>x</div>\n".to_string()),
        Just("[a]: http://b\n".to_string()),
        Just("\u{a0}\u{3000}\t ".to_string()),
        Just("---\n".to_string()),
        (1usize..80).prop_map(|n| "A sentence of some words, about e.g. Dr. No. ".repeat(n)),
        (1usize..300).prop_map(|n| "ä東".repeat(n)),
        "\\PC{0,40}",
        "[ -~\n]{0,80}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Everything that a reader of chunks relies on.
fn check(document: &Document, options: &ChunkOptions) -> Vec<Chunk> {
    let text = &document.text;
    let mut at = 0;
    for block in &document.blocks {
        assert!(
            block.span.start >= at && block.span.end > block.span.start,
            "blocks in order and apart"
        );
        assert!(
            blank(&text[at..block.span.start]),
            "text between blocks: {:?}",
            &text[at..block.span.start]
        );
        if let BlockKind::Table { header } = &block.kind {
            assert!(
                header.start >= block.span.start && header.end <= block.span.end,
                "header inside its table"
            );
        }
        at = block.span.end;
    }
    assert!(blank(&text[at..]), "text after the last block");

    let chunks = chunk(&document.text, &document.blocks, options, &Words);
    let mut at = 0;
    for chunk in &chunks {
        assert!(
            chunk.span.start >= at && chunk.span.end > chunk.span.start,
            "chunks in order and apart"
        );
        assert!(
            blank(&text[at..chunk.span.start]),
            "text between chunks: {:?}",
            &text[at..chunk.span.start]
        );
        assert!(
            chunk.tokens <= options.max_tokens.max(16),
            "{} tokens: {:?}",
            chunk.tokens,
            chunk.text(text)
        );
        assert_eq!(chunk.tokens, Words.tokens(&chunk.text(text)));
        if let Some(header) = &chunk.header {
            assert!(header.end <= chunk.span.start, "a repeated header stands before its rows");
        }
        at = chunk.span.end;
    }
    assert!(blank(&text[at..]), "text after the last chunk");
    chunks
}

fn blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == '\u{feff}')
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_cover_any_document(page in page(), max in 16usize..120, min in 0usize..60) {
        let options = ChunkOptions { max_tokens: max, min_tokens: min };
        for name in ["a.md", "a.txt", "a.html", "a.csv", "a.rst", "a.rs"] {
            if let Ok(document) = read(Path::new(name), page.as_bytes()) {
                check(&document, &options);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), head in 0usize..8) {
        let heads: [&[u8]; 8] = [b"", b"%PDF-1.4\n", b"<html>", b"PK\x03\x04", b"\xff\xfe", b"{\"a\":", b"a,b\n", b"---\n"];
        let bytes = [heads[head], &bytes].concat();
        for name in ["a.md", "a.txt", "a.html", "a.csv", "a.jsonl", "a.json", "a.rst", "a.py", "a.eml", "a.pdf"] {
            if let Ok(document) = read(Path::new(name), &bytes) {
                check(&document, &ChunkOptions::default());
            }
        }
    }
}

#[test]
fn a_header_begins_where_its_table_does() {
    for (name, page) in [
        ("a.md", "# Heading\n\u{a0}\u{3000}\t \\| a | b |\n|---|---|\n| 1 | 2 |\n"),
        ("a.rst", "Table\n=====\n\n  === ===\n  a   b\n  === ===\n  1   2\n  === ===\n"),
    ] {
        let document = read(Path::new(name), page.as_bytes()).unwrap();
        assert_eq!(document.receipt.tables, 1, "{name}");
        check(&document, &ChunkOptions::default());
    }
}

fn markdown(text: &str) -> Document {
    read(Path::new("page.md"), text.as_bytes()).unwrap()
}

#[test]
fn each_row_group_keeps_the_header() {
    let rows: String = (0..40).map(|n| format!("| town {n} | {} |\n", n * 1000)).collect();
    let document = markdown(&format!("# Towns\n\n| name | people |\n|---|---|\n{rows}\nAfter.\n"));
    let chunks = check(&document, &ChunkOptions { max_tokens: 80, min_tokens: 10 });
    assert!(chunks.len() > 3);
    for chunk in &chunks {
        let text = chunk.text(&document.text);
        assert!(text.contains("| name | people |\n|---|---|"), "{text}");
        assert_eq!(chunk.heading_path, ["Towns"]);
    }
    assert!(chunks[0].header.is_none() && chunks[1].header.is_some());
}

#[test]
fn sections_are_kept_apart_unless_they_are_small() {
    let long = "Words that fill a section well enough. ".repeat(8);
    let document = markdown(&format!(
        "# Guide\n\n## First\n\n{long}\n\n## Second\n\n{long}\n\n## Tiny\n\nYes.\n\n## Small\n\nNo.\n\n# Last\n"
    ));
    let chunks = check(&document, &ChunkOptions { max_tokens: 100, min_tokens: 20 });
    let seen: Vec<(String, &str)> = chunks
        .iter()
        .map(|c| {
            (c.heading_path.join(" > "), document.text[c.span.clone()].lines().next().unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("Guide > First".to_string(), "# Guide"),
            ("Guide > Second".to_string(), "## Second"),
            ("Guide".to_string(), "## Tiny")
        ]
    );
}

#[test]
fn a_heading_stays_with_a_text_too_large_for_one_chunk() {
    let document =
        markdown(&format!("# Title of it\n\n{}", "One sentence stands here. ".repeat(40)));
    let chunks = check(&document, &ChunkOptions { max_tokens: 50, min_tokens: 20 });
    assert!(chunks[0].text(&document.text).contains("# Title of it\n\nOne sentence stands here."));
    assert!(chunks.iter().all(|c| c.text(&document.text).ends_with('.')), "cut between sentences");
}

#[test]
fn pages_are_found_by_offset() {
    let mut document = markdown("text");
    assert_eq!(document.page_of(2), None);
    document.pages = vec![0, 10, 10, 20];
    assert_eq!(
        (document.page_of(0), document.page_of(9), document.page_of(10)),
        (Some(1), Some(1), Some(3))
    );
    assert_eq!(document.page_of(99), Some(4));
}
