//! Where documents come from: folders, patterns, pages, and changes while somebody waits for them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use crate::project::{Project, models_are_here};

fn names(project: &Project) -> Vec<String> {
    let found = project.json(&["search", "ducks", "--json"]);
    let mut names: Vec<String> = found["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["path"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn patterns_and_ignore_files() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[
        ("a.md", "Ducks swim."),
        ("deep/b.md", "Ducks dive."),
        ("c.txt", "Ducks fly."),
        ("draft.md", "Ducks dream."),
        (".tunesmithignore", "draft*\n"),
    ]);
    project.ok(&["ingest", "documents/**/*.md"]);
    assert_eq!(names(&project), ["documents/a.md", "documents/deep/b.md"]);
    // What is ignored from now on is taken out; what was not asked about stays.
    project.write("documents/.tunesmithignore", "draft*\na.md\n");
    assert!(project.ok(&["ingest", "documents/*.md", "documents/c.txt"]).contains("1 deleted"));
    assert_eq!(names(&project), ["documents/c.txt", "documents/deep/b.md"]);
    project.ok(&["ingest", "--no-ignore"]);
    assert_eq!(names(&project).len(), 4);
    assert!(project.fails(&["ingest", "documents/*.pdf"]).contains("holds no files to ingest"));
    assert!(project.fails(&["ingest", "elsewhere"]).contains("does not exist"));
}

#[test]
fn a_folder_that_was_emptied_no_longer_answers() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[("a.md", "Ducks swim.")]);
    project.ok(&["ingest"]);
    fs::remove_file(project.path("documents/a.md")).unwrap();
    assert!(project.ok(&["ingest"]).contains("1 deleted"));
    assert!(project.fails(&["search", "ducks"]).contains("holds no documents"));
}

#[test]
fn pages_come_from_public_addresses_unless_allowed_otherwise() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/ducks", listener.local_addr().unwrap());
    let refused = project.run(&["ingest", &address]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("127.0.0.1, which is not a public address"), "{}", refused.err);

    let serving = std::thread::spawn(move || {
        for (status, body) in
            [("200 OK", "<html><h1>Pond</h1><p>Ducks swim there."), ("404 Not Found", "")]
        {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                .unwrap();
        }
    });
    project.ok(&["ingest", "--allow-private", &address]);
    let found = project.json(&["search", "ducks", "--json"]);
    assert_eq!(found["hits"][0]["path"], address.as_str());
    assert_eq!(found["hits"][0]["heading_path"][0], "Pond");
    // The page is gone, and so is what it said.
    let gone = project.run(&["ingest", "--allow-private", &address]);
    assert!(gone.err.contains("404") && gone.err.contains("no longer answers"), "{}", gone.err);
    assert!(project.fails(&["search", "ducks"]).contains("holds no documents"));
    serving.join().unwrap();
}

#[test]
fn changes_are_ingested_while_watching() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[("a.md", "Ducks swim.")]);
    let mut watching = project
        .command(&["ingest", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("1 document stored"));
    project.write("documents/b.md", "Ducks dive.");
    assert!(next().starts_with("1 document stored"));
    // Between two rounds the store is free for others.
    assert_eq!(names(&project), ["documents/a.md", "documents/b.md"]);
    fs::remove_file(project.path("documents/a.md")).unwrap();
    assert!(next().contains("1 deleted"));
    assert_eq!(names(&project), ["documents/b.md"]);
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn collections_are_searched_apart() {
    if !models_are_here() {
        return;
    }
    let project = Project::with_documents(&[
        ("a.md", "Ducks swim."),
        ("inner/b.md", "Ducks dive in secret."),
    ]);
    let config = fs::read_to_string(project.path("tunesmith.toml")).unwrap();
    let with = |tags: &str| {
        format!(
            "{config}\n[[collection]]\nname = \"inner\"\ndocuments = [\"documents/inner\"]\ntags = {tags}\n"
        )
    };
    project.ok(&["ingest"]);
    let found = |options: &[&str]| {
        let found = project.json(&[&["search", "ducks", "--json"], options].concat());
        let hits = found["hits"].as_array().unwrap().iter();
        hits.map(|hit| hit["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // What has been stored before the collection was there moves into it, and so do tags, without
    // being read again.
    project.write("tunesmith.toml", with("[\"closed\", \"birds\"]"));
    assert!(project.ok(&["ingest"]).contains("2 unchanged"));
    assert_eq!(found(&["--collection", "inner"]), ["documents/inner/b.md"]);
    assert_eq!(found(&["--collection", "documents"]), ["documents/a.md"]);
    assert_eq!(found(&["--tag", "closed", "--tag", "birds"]), ["documents/inner/b.md"]);
    assert_eq!(found(&["--path", "*/inner/*", "--type", "markdown"]), ["documents/inner/b.md"]);
    assert!(found(&["--until", "2000-01-01"]).is_empty());
    assert_eq!(found(&["--since", "2000-01-01"]).len(), 2);
    project.write("tunesmith.toml", with("[]"));
    project.ok(&["ingest"]);
    assert!(found(&["--tag", "closed"]).is_empty());
    assert!(project.ok(&["search", "ducks", "--tag", "closed"]).contains("nothing was found"));
    assert!(
        project
            .fails(&["search", "ducks", "--collection", "outer"])
            .contains("expected one of inner, documents")
    );
    assert!(
        project
            .fails(&["search", "ducks", "--since", "2026-02-30"])
            .contains("--since: expected a day")
    );
}
