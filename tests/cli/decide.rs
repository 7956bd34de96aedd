//! `tunesmith decide`: its JSON, its exit codes, where its report goes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::models_are_here;
use crate::schema::faults;
use crate::whole::project_with_set;

#[test]
fn the_json_is_what_the_schema_says_and_the_report_goes_where_it_is_told() {
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    project.ok(&["compare", "facts", "--setups", "base,few-shot,rag,oracle"]);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decision.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    for arguments in [&["decide", "facts", "--json"][..], &["decide", "--json"]] {
        let decisions = project.json(arguments);
        assert_eq!(decisions.as_array().map(Vec::len), Some(1));
        let faults = faults(&schema, &decisions);
        assert!(faults.is_empty(), "docs/decision.schema.json is out of date: {faults:#?}");
        // A schema that is too wide would pass everything.
        let reached = &decisions[0]["tree"][0];
        assert!(reached["reached"] == true && decisions[0]["advice"].is_string(), "{reached}");
    }

    let unsettled = project.run(&["decide", "facts", "--check"]);
    assert_eq!(unsettled.code, 3, "eight questions decide nothing: {}", unsettled.err);
    assert!(unsettled.err.contains("set \"facts\" is not settled"), "{}", unsettled.err);
    assert_eq!(project.run(&["decide", "facts"]).code, 0);

    let said = project.ok(&["decide", "facts", "--out", "for the board.html"]);
    assert!(said.contains("report for the board.html"), "{said}");
    assert!(fs::read_to_string(project.path("for the board.html")).unwrap().contains("advice"));
    let nowhere = project.fails(&["decide", "facts", "--out", "no/such/folder.html"]);
    assert!(nowhere.contains("no/such/folder"), "{nowhere}");
}

#[cfg(unix)]
#[test]
fn the_report_is_opened_in_the_browser_that_is_named() {
    use std::os::unix::fs::PermissionsExt;
    if !models_are_here() {
        return;
    }
    let project = project_with_set();
    project.ok(&["compare", "facts", "--setups", "base,rag", "--limit", "4"]);
    let browser = project.path("browser");
    project.write(
        "browser",
        "#!/bin/sh\nprintf %s \"$1\" > opened.partial\nmv opened.partial opened\n",
    );
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = project.command(&["decide", "facts", "--open"]);
    assert!(command.env("BROWSER", &browser).status().unwrap().success());
    let opened = project.path("opened");
    let start = Instant::now();
    while !opened.exists() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read_to_string(opened).unwrap().ends_with("facts.html"));
    let mut command = project.command(&["decide", "facts", "--open"]);
    let failed = command.env("BROWSER", "no-such-browser").output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(failed.status.code() == Some(1) && said.contains("no-such-browser"), "{said}");
}
