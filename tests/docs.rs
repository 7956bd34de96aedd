//! The Markdown pages of the repository: their links lead somewhere, and people can read them.
//!
//! Every fault is listed with its file and line, so that one run shows all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Columns at which lines end. Tables and code blocks may be wider.
const COLUMNS: usize = 100;

/// Words that a paragraph of ARCHITECTURE.md may have.
const WORDS: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages of the repository, by their paths from its root. What the example project ingests is
/// its documents, not pages of ours.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                if !["target", "documents", "shared"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The lines outside code blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The line without what stands between backticks, where brackets mean nothing.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of a line's links.
fn links(line: &str) -> Vec<String> {
    let line = without_code(line);
    let behind = line.split("](").skip(1);
    behind.filter_map(|rest| Some(rest.split_once(')')?.0.trim().to_owned())).collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
        let anchor: String = heading.trim().to_lowercase().chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|a| !anchors.contains(a));
        anchors.extend(free);
    }
    anchors
}

/// Links of a page that lead nowhere, each with its line.
fn broken_links(page: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (number, line) in prose(text) {
        for link in links(line) {
            if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() {
                root().join(page)
            } else {
                root().join(page).parent().unwrap().join(file)
            };
            let fault = if !target.exists() {
                "no such file"
            } else if !anchor.is_empty()
                && !fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor))
            {
                "no such heading"
            } else {
                continue;
            };
            broken.push(format!("{}:{number}: {link}: {fault}", page.display()));
        }
    }
    broken
}

/// Lines that are too wide, but for those that cannot be broken.
fn wide_lines(page: &Path, text: &str) -> Vec<String> {
    let too_wide = |line: &str| {
        line.chars().count() > COLUMNS && !line.starts_with('|') && line.trim().contains(' ')
    };
    let wide = prose(text).into_iter().filter(|(_, line)| too_wide(line));
    wide.map(|(number, _)| format!("{}:{number}: over {COLUMNS} columns", page.display())).collect()
}

/// Paragraphs with too many words, each with its first line. An item of a list is a paragraph.
fn long_paragraphs(page: &Path, text: &str) -> Vec<String> {
    let mut long = Vec::new();
    let (mut first, mut words, mut previous) = (0, 0, 0);
    // A blank line behind the last one ends the last paragraph.
    for (number, line) in prose(text).into_iter().chain([(usize::MAX, "")]) {
        let apart = line.trim().is_empty() || line.starts_with(['|', '#']);
        if apart || line.trim_start().starts_with("- ") || number > previous + 1 {
            if words > WORDS {
                long.push(format!("{}:{first}: a paragraph of {words} words", page.display()));
            }
            words = 0;
        }
        if !apart {
            if words == 0 {
                first = number;
            }
            words += line.split_whitespace().count();
        }
        previous = number;
    }
    long
}

/// Asserts that `check` finds no fault in these pages.
fn has_none(pages: &[PathBuf], check: impl Fn(&Path, &str) -> Vec<String>) {
    assert!(!pages.is_empty());
    let faults_of = |page: &PathBuf| check(page, &fs::read_to_string(root().join(page)).unwrap());
    let faults: Vec<String> = pages.iter().flat_map(faults_of).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let pages = pages();
    for page in ["README.md", "ARCHITECTURE.md", "docs/log.md", "benches/engine/README.md"] {
        assert!(pages.contains(&PathBuf::from(page)), "{page}");
    }
    has_none(&pages, broken_links);
}

#[test]
fn lines_end_at_a_hundred_columns() {
    has_none(&pages(), wide_lines);
}

#[test]
fn paragraphs_of_the_architecture_are_short() {
    has_none(&[PathBuf::from("ARCHITECTURE.md")], long_paragraphs);
}

#[test]
fn faults_are_found_and_named() {
    let page = Path::new("docs/page.md");
    let text = "# A page\n\n[log](log.md) [`gone`](gone.md)\n`[code](nowhere.md)`\n```\n[c](x)\n```\n\
                [top](../README.md#why) [bad](../README.md#why-not) [web](https://example.org)\n";
    let faults = broken_links(page, text);
    let expected = [
        "docs/page.md:3: gone.md: no such file",
        "docs/page.md:8: ../README.md#why-not: no such heading",
    ];
    assert_eq!(faults, expected);

    let wide = format!("{}\n| {} |\n", "word ".repeat(21), "cell ".repeat(21));
    assert_eq!(wide_lines(page, &wide), ["docs/page.md:1: over 100 columns"]);

    let lines = "twenty words of one line ".repeat(4).trim_end().to_owned();
    let long = format!("# A page\n\n{}\n\n{lines}\n", format!("{lines}\n").repeat(6).trim_end());
    assert_eq!(long_paragraphs(page, &long), ["docs/page.md:3: a paragraph of 120 words"]);
    assert_eq!(long_paragraphs(page, long.trim_end()).len(), 1);

    let twice = "# Why\n## The `make demo` run, 2nd\n## Why\n";
    let expected = ["why", "the-make-demo-run-2nd", "why-1"].map(str::to_owned);
    assert_eq!(anchors(twice), HashSet::from(expected));
}
