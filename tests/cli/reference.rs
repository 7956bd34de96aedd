//! The pages that the program writes about itself are those under `docs/`.
//!
//! `UPDATE_PAGES=1 cargo test --test cli reference` writes them anew.

use std::fs;
use std::path::Path;

use crate::project::Project;

fn is_up_to_date(page: &str) {
    let written = Project::new().ok(&["reference", page]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{page}.md"));
    if std::env::var_os("UPDATE_PAGES").is_some_and(|value| value == "1") {
        fs::write(&path, &written).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(kept.lines()).find(|(written, kept)| written != kept);
    assert!(
        written == kept,
        "docs/{page}.md is not what the program says: run `UPDATE_PAGES=1 cargo test --test cli \
         reference` and look at the difference, which begins with {differs:?}"
    );
    assert!(kept.lines().all(|line| line.len() <= 100 || line.starts_with("tunesmith ")), "{page}");
}

#[test]
fn the_page_of_the_command_line_is_up_to_date() {
    is_up_to_date("cli");
    let page = Project::new().ok(&["reference", "cli"]);
    for command in ["tunesmith init", "tunesmith index build", "tunesmith eval retrieval"] {
        assert!(page.contains(&format!("# `{command}`\n")), "{command}");
    }
}

#[test]
fn the_page_of_the_configuration_is_up_to_date() {
    is_up_to_date("configuration");
}

#[test]
fn every_key_of_the_reference_stands_in_a_new_file() {
    let project = Project::new();
    project.ok(&["init", "new"]);
    let file = fs::read_to_string(project.path("new/tunesmith.toml")).unwrap();
    let page = project.ok(&["reference", "configuration"]);
    let (tables, _keys_of_the_server) = page.split_once("## `[[key]]`").unwrap();
    let keys = tables.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    // Those of three files, which a set has instead of one, and those of other measures than the
    // one that is shown.
    let absent = ["train", "dev", "test", "tolerance", "schema", "command", "command_seconds"];
    for key in keys.filter(|key| !absent.contains(key)) {
        let setting = format!("{key} = ");
        let stands = |line: &str| line.trim_start_matches('#').starts_with(&setting);
        assert!(file.lines().any(stands), "{key}");
    }
}
