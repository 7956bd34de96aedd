//! The server as clients see it: a real process, the official `openai` Python client, real models.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::project::{Project, models_are_here};

/// A server process, ended when the value goes away.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
}

impl Server {
    fn start(project: &Project) -> Self {
        Self::start_with(project, &[]).0
    }

    /// A server with these options, and what it says before it listens.
    pub(crate) fn start_with(project: &Project, options: &[&str]) -> (Self, Vec<String>) {
        Self::start_at(project, "127.0.0.1:0", options)
    }

    /// The same at another address.
    pub(crate) fn start_at(project: &Project, address: &str, options: &[&str]) -> (Self, Vec<String>) {
        let arguments = [&["serve", "--address", address], options].concat();
        let process = project.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut server = Self { process, url: String::new() };
        let mut said = Vec::new();
        for line in BufReader::new(server.process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("listening on ") {
                server.url = url.to_owned();
                return (server, said);
            }
            said.push(line);
        }
        panic!("the server says where it listens: {said:?}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_openai_client_holds_a_conversation() {
    if !models_are_here() {
        return;
    }
    let Some(python) = env::var_os("TUNESMITH_PYTHON") else {
        assert!(
            env::var_os("TUNESMITH_REQUIRE_MODELS").is_none_or(|value| value != "1"),
            "TUNESMITH_PYTHON must name a Python with the openai package"
        );
        eprintln!("skipped: TUNESMITH_PYTHON names no Python with the openai package");
        return;
    };
    let project = Project::with_documents(&[(
        "ferries.md",
        "# Ferries\n\nThe Marrow ferry leaves the north quay at seven in the morning. It carries 212 passengers.\n",
    )]);
    project.ok(&["ingest"]);
    let server = Server::start(&project);
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/openai_client.py");
    let talk = Command::new(python).args([client, &server.url]).output().unwrap();
    assert!(talk.status.success(), "{}", String::from_utf8_lossy(&talk.stderr));
}

#[test]
fn the_server_computes_on_as_many_threads_as_it_is_told() {
    if !models_are_here() {
        return;
    }
    let project = Project::new();
    let (_server, said) = Server::start_with(&project, &["--threads", "3"]);
    assert!(said.contains(&"computing on 3 threads".to_owned()), "{said:?}");
}

#[test]
fn other_machines_are_refused() {
    if !models_are_here() {
        return;
    }
    let project = Project::new();
    let said = project.fails(&["serve", "--address", "0.0.0.0:0"]);
    assert!(said.contains("not a loopback address"), "{said}");
}
