//! The pages that people read: every relative link leads somewhere, paragraphs of the architecture
//! fit a glance, and lines fit a terminal.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest paragraph of ARCHITECTURE.md, in words.
const PARAGRAPH: usize = 100;

/// Longest line of prose, in characters.
const LINE: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages at the root and in docs/, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    for folder in [root().to_owned(), root().join("docs")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    assert!(pages.len() > 6, "{}", pages.len());
    pages
}

/// Lines outside of code blocks, with their numbers from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut code = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// The anchor that a heading gets: lower case, punctuation dropped, spaces as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter_map(|c| match c {
        ' ' | '-' => Some('-'),
        '_' => Some('_'),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            for target in links(line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                followed += 1;
                let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
                let to = match file {
                    "" => path.clone(),
                    file => path.parent().unwrap().join(file),
                };
                let there = fs::read_to_string(&to).ok();
                let found = match (&there, fragment) {
                    (_, "") => to.exists(),
                    (Some(text), fragment) => prose(text)
                        .iter()
                        .any(|(_, line)| line.starts_with('#') && anchor(line) == fragment),
                    (None, _) => false,
                };
                if !found {
                    broken.push(format!("{}:{number}: {target}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(followed > 100, "{followed} links found: are they still recognised?");
}

#[test]
fn paragraphs_of_the_architecture_fit_a_glance() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut long = Vec::new();
    let (mut start, mut words) = (0, 0);
    for (number, line) in prose(&text).into_iter().chain([(0, "")]) {
        let apart = line.trim().is_empty() || line.starts_with(['#', '|', '-', '*']);
        if apart {
            if words > PARAGRAPH {
                long.push(format!("ARCHITECTURE.md:{start}: {words} words"));
            }
            words = 0;
        }
        if !line.starts_with(['#', '|']) && !line.trim().is_empty() {
            start = if words == 0 { number } else { start };
            words += line.split_whitespace().count();
        }
    }
    assert!(long.is_empty(), "paragraphs over {PARAGRAPH} words:\n{}", long.join("\n"));
}

#[test]
fn lines_of_prose_fit_a_terminal() {
    let mut wide = Vec::new();
    for (path, text) in pages() {
        for (number, line) in prose(&text) {
            // A table's row, and a link that cannot be broken, may be longer.
            let unbreakable = line.trim_start().starts_with('|') || !line.trim().contains(' ');
            if !unbreakable && line.chars().count() > LINE {
                wide.push(format!("{}:{number}", path.display()));
            }
        }
    }
    assert!(wide.is_empty(), "lines over {LINE} characters:\n{}", wide.join("\n"));
}
