//! Source code, cut where definitions begin.
//!
//! This needs no grammar: in every language in common use, what belongs to a definition is indented
//! under it, and its first line names it. That line is the heading of what stands under it.

use crate::blocks::cover;
use crate::{Block, BlockKind, Document, Error, Format, Receipt};

/// Names that files of code end in.
const EXTENSIONS: &[&str] = &[
    "bash", "bat", "c", "cc", "clj", "cmake", "cpp", "cs", "css", "cu", "cxx", "dart", "el", "erl",
    "ex", "exs", "f90", "fs", "go", "gradle", "groovy", "h", "hh", "hpp", "hs", "java", "jl", "js",
    "jsx", "kt", "kts", "lisp", "lua", "m", "mjs", "ml", "mli", "mm", "nim", "nix", "php", "pl",
    "pm", "proto", "ps1", "py", "pyi", "r", "rb", "rs", "sass", "scala", "scm", "scss", "sh",
    "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx", "v", "vb", "vhd", "vim",
    "vue", "yaml", "yml", "zig", "zsh",
];
/// Names of files of code that have no extension.
const NAMES: &[&str] = &[
    "cmakelists.txt",
    "dockerfile",
    "gnumakefile",
    "jenkinsfile",
    "justfile",
    "makefile",
    "rakefile",
];
/// The most characters of a definition's first line that become its heading.
const MAX_HEADING: usize = 100;

/// Whether a file of this name and beginning is source code.
pub(crate) fn is_code(name: &str, text: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    NAMES.contains(&name.as_str()) || EXTENSIONS.contains(&extension) || text.starts_with("#!/")
}

/// Reads source code.
pub(crate) fn read(text: String) -> Result<Document, Error> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    // Where the comments and attributes began that stand above the next definition.
    let mut waiting: Option<usize> = None;
    let mut after_blank = true;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let content = line.trim_end();
        let is_outer = content.starts_with(|c: char| !c.is_whitespace());
        if content.is_empty() {
            after_blank = true;
            continue;
        }
        if is_outer && stands_above(content) {
            waiting.get_or_insert(start);
        } else if is_outer && !closes(content) {
            let begins = waiting.take();
            let names = definition(content);
            // Statements without a blank line between them belong together.
            if after_blank || begins.is_some() || names || blocks.is_empty() {
                let heading_path = if names { vec![heading(content)] } else { Vec::new() };
                let span = begins.unwrap_or(start)..start;
                blocks.push(Block { span, kind: BlockKind::Code, heading_path });
            }
        }
        after_blank = false;
        if waiting.is_none()
            && let Some(block) = blocks.last_mut()
        {
            block.span.end = at;
        }
    }
    let blocks = cover(&text, blocks);
    Ok(Document {
        format: Format::Code,
        title: None,
        language: None,
        text,
        blocks,
        pages: Vec::new(),
        receipt: Receipt::default(),
    })
}

/// Whether a line is a comment, an attribute or a decorator, which belongs to what comes next.
fn stands_above(line: &str) -> bool {
    const MARKS: [&str; 8] = ["//", "/*", " *", "#[", "@", "--", ";;", "# "];
    MARKS.iter().any(|mark| line.starts_with(mark)) || line == "#"
}

/// Whether a line ends or continues what stands above it.
fn closes(line: &str) -> bool {
    const WORDS: [&str; 10] =
        ["end", "else", "elif", "except", "finally", "catch", "then", "do", "fi", "done"];
    let word = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    line.starts_with(['}', ')', ']', '{']) || WORDS.contains(&word)
}

/// Whether a line begins something with a name: a function, a type, a module, a section of
/// settings.
fn definition(line: &str) -> bool {
    const WORDS: [&str; 37] = [
        "abstract",
        "actor",
        "async",
        "class",
        "contract",
        "data",
        "def",
        "defmodule",
        "defn",
        "defun",
        "enum",
        "export",
        "extension",
        "extern",
        "fn",
        "fun",
        "func",
        "function",
        "impl",
        "interface",
        "macro",
        "macro_rules",
        "message",
        "mod",
        "module",
        "namespace",
        "object",
        "package",
        "private",
        "procedure",
        "protected",
        "pub",
        "public",
        "struct",
        "sub",
        "trait",
        "type",
    ];
    let word = line
        .trim_start_matches('(')
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or("");
    let lower = word.to_ascii_lowercase();
    WORDS.contains(&lower.as_str())
        || (lower == "create" && line.len() > word.len())
        || (line.starts_with('[') && line.ends_with(']'))
        // `int main(void) {`, `foo() {` and, in settings, `name:`.
        || (line.ends_with('{') && (line.contains('(') || line.split_whitespace().count() <= 4))
        || (line.ends_with(':') && !line.contains(char::is_whitespace))
}

/// A definition's first line without the bracket that opens its body.
fn heading(line: &str) -> String {
    let line = line.trim_end_matches(['{', ':', ' ']).trim_end();
    line.chars().take(MAX_HEADING).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(String, String)> {
        let document = read(text.to_owned()).unwrap();
        let blocks = document.blocks.iter();
        blocks
            .map(|b| (b.heading_path.join(" > "), document.text[b.span.clone()].to_owned()))
            .collect()
    }

    #[test]
    fn definitions_are_kept_whole_with_what_stands_above_them() {
        let rust = "use std::fmt;\nuse std::io;\n\n/// A duck.\n#[derive(Debug)]\npub struct Duck {\n    kg: f32,\n\n    name: String,\n}\n\nfn quack() {\n    todo\n}\n";
        let found = cut(rust);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (String::new(), "use std::fmt;\nuse std::io;".to_owned()));
        assert_eq!(found[1].0, "pub struct Duck");
        assert!(found[1].1.starts_with("/// A duck.") && found[1].1.ends_with('}'));
        assert_eq!(found[2], ("fn quack()".to_owned(), "fn quack() {\n    todo\n}".to_owned()));

        let python = "import os\n\n@cached\ndef quack(n):\n    \"\"\"Loud.\"\"\"\n\n    return n\n\nif x:\n    y()\nelse:\n    z()\n# the end\n";
        let found = cut(python);
        assert_eq!(found[1].0, "def quack(n)");
        assert!(found[1].1.starts_with("@cached"));
        assert_eq!(found[2].1, "if x:\n    y()\nelse:\n    z()");
        assert_eq!(found[3].1, "# the end");
    }

    #[test]
    fn settings_are_cut_by_section() {
        let found = cut("a = 1\n\n[models]\nx = 2\n\n[chunks]\ny = 3\n");
        let headings: Vec<&str> = found.iter().map(|(heading, _)| heading.as_str()).collect();
        assert_eq!(headings, ["", "[models]", "[chunks]"]);
    }

    #[test]
    fn names_and_beginnings() {
        assert!(is_code("a.RS", "") && is_code("Makefile", "") && is_code("run", "#!/bin/sh\n"));
        assert!(!is_code("notes.txt", "x") && !is_code("rs", ""));
    }

    #[test]
    fn nothing_is_lost() {
        for text in ["", "// only\n// comments\n", "    indented\n", "}\n}\n", "x\n\n\n// y\n\nz"] {
            let covered: usize = cut(text).iter().map(|(_, t)| t.split_whitespace().count()).sum();
            assert_eq!(covered, text.split_whitespace().count(), "{text:?}");
        }
    }
}
